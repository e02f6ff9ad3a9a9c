package vendorapi

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a vendor's zone is known on machines without a zone database, too

	"github.com/sluicehq/sluice/internal/fanout"
)

// A Plan is a spec with the operator's settings: what a fleet works by. It is
// immutable and safe for concurrent use.
type Plan struct {
	Name     string
	BaseURL  string
	Zone     *time.Location // "yesterday" is in it
	Limits   []Limit
	Tiers    []Tier // top first
	Timeouts Timeouts
	Bounds   Bounds
	Drift    Drift
	Budget   Budget
	Lake     Lake     // how its rows become tables
	Secrets  []string // names that a client will ask for
	Session  bool     // calls need what a login yields
	Hash     string   // hex SHA-256 of the spec and the settings
	RowsHash string   // the same of what decides which rows an answer has

	spec     *Spec
	auth     auth
	base     *url.URL
	settings map[string]string
	tiers    map[string]*tier
}

// A Tier is what others need to know of one tier.
type Tier struct {
	Name    string
	Tables  []string // where its rows go: mostly one; none: it has none
	Batch   bool     // its tasks are about several nodes
	Unique  bool     // its nodes are known by their own key alone
	Key     bool     // it finds nodes for a tier below
	Path    []string // tiers whose keys stand in Node.Path of its tasks, outermost first
	Request string   // the request's template, for people
}

// Bind adds the operator's settings. An unknown one, a missing one, and a
// base_url that is no origin are errors.
func (s *Spec) Bind(settings map[string]string) (*Plan, error) {
	p := &Plan{
		Name: s.Name, Zone: s.Zone, Limits: slices.Clone(s.limits), Timeouts: s.timeouts, Bounds: s.bounds, Drift: s.drift, Budget: s.budget, Lake: s.lake.clone(),
		spec: s, settings: make(map[string]string), tiers: make(map[string]*tier),
	}
	if err := p.bindSettings(settings); err != nil {
		return nil, fmt.Errorf("vendor %s: %w", s.Name, err)
	}
	auth, others, err := s.auths.chosen(p.setting)
	if err != nil {
		return nil, fmt.Errorf("vendor %s: %w", s.Name, err)
	}
	p.auth, p.Session = auth, auth.session()
	p.Secrets = slices.DeleteFunc(slices.Clone(s.Secrets), func(n string) bool { return slices.Contains(others, n) })
	base, err := s.baseURL.expand(p.setting)
	if err == nil {
		p.base, err = originOf(base)
	}
	if err != nil {
		return nil, fmt.Errorf("vendor %s: %w", s.Name, err)
	}
	p.BaseURL = p.base.String()
	for _, t := range s.tiers {
		p.tiers[t.name] = t
		p.Tiers = append(p.Tiers, Tier{t.name, slices.Clone(t.tables), t.batch != nil, t.unique, t.key != nil, slices.Clone(t.path), t.asked()})
	}
	p.Hash = p.hash()
	p.RowsHash = p.rowsHash()
	return p, nil
}

func (p *Plan) bindSettings(given map[string]string) error {
	var names []string
	var errs []error
	for _, set := range p.spec.Settings {
		names = append(names, set.Name)
		v, ok := given[set.Name]
		switch {
		case ok && v != "":
			p.settings[set.Name] = v
		case set.Required:
			errs = append(errs, fmt.Errorf("setting %q is missing (%s)", set.Name, set.About))
		default:
			p.settings[set.Name] = set.Default
		}
	}
	for _, n := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(names, n) {
			errs = append(errs, fmt.Errorf("unknown setting %q%s", n, didYouMean(n, names)))
		}
	}
	return errors.Join(errs...)
}

func (p *Plan) setting(name string) (string, error) {
	v, ok := p.settings[name]
	if !ok {
		return "", fmt.Errorf("setting %q %w", name, errNoValue)
	}
	return v, nil
}

// originOf reads a base URL: http or https, a host, perhaps a path.
func originOf(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.ContainsAny(u.Host, " {}"):
		return nil, fmt.Errorf("base_url %q is no URL like https://api.example.com/v1", s)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, fmt.Errorf("base_url of host %q may have a path, but no user, query or fragment", u.Host)
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// hash covers all that decides what is asked and how it is read.
func (p *Plan) hash() string {
	h := sha256.New()
	part := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	part(p.spec.source)
	for _, n := range slices.Sorted(maps.Keys(p.settings)) {
		part([]byte(n))
		part([]byte(p.settings[n]))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// mostRoots is more than any run begins with: beyond it Root is cut, and so refused.
const mostRoots = 10_000

// Root is the tasks that start a run over w: the root list, or one for each of
// what the first tier is for.
func (p *Plan) Root(run string, w fanout.Window) (out []fanout.Task) {
	paths := [][]string{nil}
	if f := p.spec.tiers[0].fan; f != nil {
		paths = f.paths(nil, w, mostRoots)
	}
	for _, path := range paths {
		out = append(out, fanout.Task{Run: run, Window: w}.Child(p.Tiers[0].Name, fanout.Node{Path: path}))
	}
	return out
}

// Below is the tier below, or "" for the last and for unknown ones.
func (p *Plan) Below(tier string) string {
	i := slices.IndexFunc(p.Tiers, func(t Tier) bool { return t.Name == tier })
	if i < 0 || i == len(p.Tiers)-1 {
		return ""
	}
	return p.Tiers[i+1].Name
}

// Rows yields the rows of t's tables in body, which is the answer to the call
// of t with that cursor: compact JSON objects with the vendor's own digits. It
// stops at the first error. A tier without a table has no rows. Of several tables
// those may be named whose rows are wanted; else they follow each other.
func (p *Plan) Rows(ctx context.Context, t fanout.Task, cursor string, body []byte, tables ...string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		c, err := p.call(t, cursor)
		if err != nil {
			yield(nil, err)
			return
		}
		if len(c.tier.tables) == 0 || string(body) == "null" { // the spec took the answer for empty
			return
		}
		p, err := c.tier.ready(body)
		if err != nil {
			yield(nil, err)
			return
		}
		for i, table := range c.tier.tables {
			if len(tables) > 0 && !slices.Contains(tables, table) {
				continue
			}
			for row, err := range c.rows(ctx, p, i) {
				if err != nil {
					yield(nil, err)
					return
				}
				if !yield(json.RawMessage(exactJSON(row)), nil) {
					return
				}
			}
		}
	}
}

// TablesOf is where a task's rows go; nil: it has none.
func (p *Plan) TablesOf(t fanout.Task) []string {
	c, err := p.call(t, "")
	if err != nil {
		return nil
	}
	return slices.Clone(c.tier.tables)
}
