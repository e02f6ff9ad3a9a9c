package vendorapi

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a worker's image may have no zone files
)

// A Spec is a vendor's file, read and checked: everything but the operator's
// settings and secrets. It is immutable.
type Spec struct {
	Name     string
	About    string
	Settings []Setting
	Secrets  []string // names that auth and headers use, sorted
	Zone     *time.Location

	source    []byte
	dir       string // of its file; empty: it is not from a file
	baseURL   plainTemplate
	auths     auths
	tls       *tlsTemplates
	origins   []string
	rules     []rule
	says      *query // the vendor's own message in an answer that no rule is about
	proof     *query
	inTLS     map[string]bool // secrets that may have several lines
	headers   []headerTemplate
	limits    []Limit
	throttled []int
	timeouts  Timeouts
	bounds    Bounds
	tiers     []*tier
	drift     Drift
	budget    Budget
	lake      Lake
}

// A Setting is something that the operator says about his vendor.
type Setting struct {
	Name     string
	About    string
	Required bool
	Default  string // empty: no default
}

// Timeouts bound one call. They run from the call's start, but for Idle.
type Timeouts struct {
	Connect   time.Duration // until a new connection stands
	FirstByte time.Duration // until the answer's headers are there
	Idle      time.Duration // between two reads of the body
	Total     time.Duration // for all of it
}

// Bounds are what an answer may not exceed.
type Bounds struct {
	Bytes     int // of one body, decompressed
	Pages     int // of one list
	Children  int // of one list
	Excerpt   int // bytes of an answer that an error quotes
	Depth     int // of an answer's nesting
	Headers   int // bytes of an answer's headers
	Redirects int // that one call follows
}

type headerTemplate struct {
	name string
	val  plainTemplate
}

// Load reads the spec in a file. The error of a spec with mistakes is a
// *SpecError, with a line for each.
func Load(path string) (*Spec, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	s, err := Parse(path, src)
	if err != nil {
		return nil, err
	}
	s.dir, err = filepath.Abs(filepath.Dir(path))
	return s, err
}

var (
	vendorName  = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	settingName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	secretName  = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	headerName  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
)

// Parse reads a spec. name stands for the file in errors.
func Parse(name string, src []byte) (*Spec, error) {
	d := &decoder{file: name}
	var doc document
	d.parse(src, &doc)
	if err := d.err(); err != nil {
		return nil, err // what does not even decode is not worth checking
	}
	s := d.spec(&doc)
	if err := d.err(); err != nil {
		return nil, err
	}
	s.source = slices.Clone(src)
	return s, nil
}

// spec checks a decoded document and compiles what is in it.
func (d *decoder) spec(doc *document) *Spec {
	s := &Spec{Name: doc.Name.s, About: doc.About.s, Zone: time.UTC}
	switch {
	case !vendorName.MatchString(s.Name):
		d.errorf(doc.Name.or(doc.At), "name must be like logicmonitor or my-vendor2 (%s), not %q", vendorName, s.Name)
	case s.Name == sharedOwner:
		d.errorf(doc.Name.at, "name %q is taken: in the lake it owns the tables that several vendors feed", s.Name)
	}
	if doc.Zone.given() {
		zone, err := time.LoadLocation(doc.Zone.s)
		if err != nil || doc.Zone.s == "Local" {
			d.errorf(doc.Zone.at, "zone %q is no IANA time zone such as UTC or Europe/Berlin", doc.Zone.s)
		} else {
			s.Zone = zone
		}
	}
	top := &scope{secrets: true, used: make(map[string]bool)}
	d.settings(doc, s, top)
	d.base(doc, s, top)
	d.auth(doc, s, top)
	s.tls = d.tls(doc.TLS, top)
	s.origins = d.origins(doc.Origins)
	s.headers = d.headers(doc.Headers, top, len(s.auths.kinds) > 0)
	s.limits = d.limits(doc, s.Zone)
	s.throttled = d.throttledStatus(doc)
	s.timeouts = Timeouts{
		Connect: doc.Timeouts.Connect.or(5 * time.Second), FirstByte: doc.Timeouts.FirstByte.or(15 * time.Second),
		Idle: doc.Timeouts.Idle.or(15 * time.Second), Total: doc.Timeouts.Total.or(60 * time.Second),
	}
	s.bounds = Bounds{
		Bytes: doc.Bounds.Bytes.or(8 << 20), Pages: doc.Bounds.Pages.or(10_000),
		Children: doc.Bounds.Children.or(1_000_000), Excerpt: min(doc.Bounds.Excerpt.or(2<<10), 64<<10),
		Depth: d.atMost(doc.Bounds.Depth, 500, 10_000), Headers: min(doc.Bounds.Headers.or(64<<10), 1<<20), Redirects: d.atMost(doc.Bounds.Redirects, 3, 20),
	}
	s.drift, s.budget = d.drift(doc.Drift), d.budget(doc.Budget)
	d.answers(doc, s, top)
	if doc.Lake != nil {
		d.made = doc.Lake.Tables
	}
	s.tiers = d.tiers(doc, top)
	s.lake = d.lake(doc, s.tiers)
	for i, t := range s.tiers {
		t.judges = append(s.judges(i == 0), costs(s.limits, t.name)...)
		for _, b := range t.of {
			b.judges = t.judges
		}
	}
	s.inTLS = s.tls.multiline()
	for _, set := range doc.Settings {
		if !top.used[set.name.s] {
			d.errorf(set.name.at, "setting %q is used nowhere", set.name.s)
		}
	}
	for name := range top.used {
		if secret, ok := strings.CutPrefix(name, "secret."); ok {
			s.Secrets = append(s.Secrets, secret)
		}
	}
	s.auths.elsewhere = slices.Clone(s.Secrets)
	for _, names := range s.auths.secrets {
		s.Secrets = append(s.Secrets, names...)
	}
	slices.Sort(s.Secrets)
	s.Secrets = slices.Compact(s.Secrets)
	return s
}

// or is where t stands, or where its parent does when it is not given.
func (t text) or(parent place) place {
	if t.at == (place{}) {
		return parent
	}
	return t.at
}

func (d *decoder) settings(doc *document, s *Spec, top *scope) {
	for _, e := range doc.Settings {
		if !d.named(e.name, doc.At, "a setting", "account", settingName) {
			continue
		}
		if e.val.Required.on && e.val.Default.given() {
			d.errorf(e.val.Default.at, "setting %q is required: a default is of no use", e.name.s)
		}
		if !e.val.Required.on && !e.val.Default.given() {
			d.errorf(e.name.at, "setting %q needs required: true or a default", e.name.s)
		}
		top.settings = append(top.settings, e.name.s)
		s.Settings = append(s.Settings, Setting{e.name.s, e.val.About.s, e.val.Required.on, e.val.Default.s})
	}
}

func (d *decoder) base(doc *document, s *Spec, top *scope) {
	if !doc.BaseURL.given() {
		d.errorf(doc.At, "base_url is missing")
		return
	}
	plain := *top
	plain.secrets = false
	s.baseURL = d.plain(doc.BaseURL, &plain)
	if len(s.baseURL.names()) == 0 {
		if _, err := originOf(doc.BaseURL.s); err != nil {
			d.errorf(doc.BaseURL.at, "%v", err)
		}
	}
}

func (d *decoder) headers(f dict[text], sc *scope, auth bool) []headerTemplate {
	var out []headerTemplate
	for _, e := range f {
		switch name := strings.ToLower(e.name.s); {
		case !headerName.MatchString(name):
			d.errorf(e.name.at, "%q is no header's name", e.name.s)
		case name == "authorization" && auth:
			d.errorf(e.name.at, "auth sets the Authorization header already")
		case clientsOwn(name):
			d.errorf(e.name.at, "the header %s is the client's own", e.name.s)
		}
		out = append(out, headerTemplate{e.name.s, d.plain(e.val, sc)})
	}
	return out
}

func (d *decoder) throttledStatus(doc *document) []int {
	if doc.Throttled == nil {
		return []int{429}
	}
	var out []int
	for _, c := range doc.Throttled.Status {
		if c.n < 400 || c.n > 599 {
			d.errorf(c.at, "throttled.status lists statuses from 400 to 599, not %d", c.n)
		}
		out = append(out, c.n)
	}
	if len(out) == 0 {
		d.errorf(doc.Throttled.At, "throttled needs status: the list of statuses that mean slow down")
	}
	return out
}

// atMost is a count, or a default where none is given.
func (d *decoder) atMost(c count, def, most int) int {
	if c.n > most {
		d.errorf(c.at, "at most %d can be allowed", most)
	}
	return c.or(def)
}

// clientsOwn tells whether a header, in lower case, is for the client alone to set. The
// last two would have net/http repeat a POST by itself.
func clientsOwn(name string) bool {
	return slices.Contains([]string{"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "te", "trailer", "upgrade",
		"idempotency-key", "x-idempotency-key"}, name)
}
