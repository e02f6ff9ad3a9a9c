package vendorapi

import (
	"cmp"
	"reflect"
	"regexp"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"
)

// The types below are the spec language: one struct for each mapping, one
// yaml tag for each field. docs/vendor-spec.md explains them and
// vendors/schema.json repeats them for editors; a test holds them together.

type document struct {
	At        place
	Name      text               `yaml:"name"`
	About     text               `yaml:"about"`
	BaseURL   text               `yaml:"base_url"`
	Zone      text               `yaml:"zone"`
	Settings  dict[settingField] `yaml:"settings"`
	Auth      *authField         `yaml:"auth"`
	TLS       *tlsField          `yaml:"tls"`
	Origins   []text             `yaml:"origins"`
	Headers   dict[text]         `yaml:"headers"`
	Limits    *limitsField       `yaml:"limits"`
	Throttled *throttledField    `yaml:"throttled"`
	Answers   []ruleField        `yaml:"answers"`
	Proof     text               `yaml:"proof"`
	Timeouts  timeoutsField      `yaml:"timeouts"`
	Bounds    boundsField        `yaml:"bounds"`
	Drift     *driftField        `yaml:"drift"`
	Budget    *budgetField       `yaml:"budget"`
	Defaults  defaultsField      `yaml:"defaults"`
	Tiers     []tierField        `yaml:"tiers"`
}

type settingField struct {
	At       place
	About    text `yaml:"about"`
	Required flag `yaml:"required"`
	Default  text `yaml:"default"`
}

type authField struct {
	At     place
	By     text         `yaml:"by"`
	Bearer text         `yaml:"bearer"`
	Basic  *basicField  `yaml:"basic"`
	APIKey *apiKeyField `yaml:"api_key"`
	LMv1   *lmv1Field   `yaml:"lmv1"`
	OAuth2 *oauth2Field `yaml:"oauth2"`
	Login  *loginField  `yaml:"login"`
}

type apiKeyField struct {
	At     place
	Value  text `yaml:"value"`
	Header text `yaml:"header"`
	Query  text `yaml:"query"`
	Cookie text `yaml:"cookie"`
	Body   text `yaml:"body"`
}

type lmv1Field struct {
	At        place
	AccessID  text `yaml:"access_id"`
	AccessKey text `yaml:"access_key"`
}

type oauth2Field struct {
	At           place
	TokenURL     text       `yaml:"token_url"`
	ClientID     text       `yaml:"client_id"`
	ClientSecret text       `yaml:"client_secret"`
	RefreshToken text       `yaml:"refresh_token"`
	Scopes       texts      `yaml:"scopes"`
	Params       dict[text] `yaml:"params"`
	Style        text       `yaml:"style"`
}

type loginField struct {
	At      place
	Get     text         `yaml:"get"`
	Post    text         `yaml:"post"`
	Form    dict[text]   `yaml:"form"`
	JSON    *jsonField   `yaml:"json"`
	Headers dict[text]   `yaml:"headers"`
	Token   text         `yaml:"token"`
	Cookies flag         `yaml:"cookies"`
	Lasts   duration     `yaml:"lasts"`
	Expires text         `yaml:"expires"`
	Send    *apiKeyField `yaml:"send"`
}

type tlsField struct {
	At         place
	CA         text `yaml:"ca"`
	Cert       text `yaml:"cert"`
	Key        text `yaml:"key"`
	ServerName text `yaml:"server_name"`
}

type ruleField struct {
	At     place
	Status []count    `yaml:"status"`
	Header dict[text] `yaml:"header"`
	When   text       `yaml:"when"`
	Means  text       `yaml:"means"`
	Says   text       `yaml:"says"`
}

type basicField struct {
	At       place
	User     text `yaml:"user"`
	Password text `yaml:"password"`
}

type limitField struct {
	At       place
	Name     text     `yaml:"name"`
	Bucket   rate     `yaml:"bucket"`
	Burst    count    `yaml:"burst"`
	Window   rate     `yaml:"window"`
	Spacing  duration `yaml:"spacing"`
	InFlight count    `yaml:"in_flight"`
	Jitter   duration `yaml:"jitter"`
	Recover  duration `yaml:"recover"`
	Header   text     `yaml:"header"`

	Calendar   calendarRate      `yaml:"calendar"`
	Zone       text              `yaml:"zone"`
	Tiers      []text            `yaml:"tiers"`
	Method     text              `yaml:"method"`
	Path       text              `yaml:"path"`
	Each       text              `yaml:"per"`
	Weight     dict[count]       `yaml:"weight"`
	WeightFrom *weightFromField  `yaml:"weight_from"`
	AtMost     count             `yaml:"at_most"`
	Headers    *saidHeadersField `yaml:"headers"`
}

type weightFromField struct {
	At     place
	Header text `yaml:"header"`
	JQ     text `yaml:"jq"`
}

type throttledField struct {
	At     place
	Status []count `yaml:"status"`
}

type timeoutsField struct {
	Connect   duration `yaml:"connect"`
	FirstByte duration `yaml:"first_byte"`
	Idle      duration `yaml:"idle"`
	Total     duration `yaml:"total"`
}

type boundsField struct {
	Bytes     size  `yaml:"bytes"`
	Pages     count `yaml:"pages"`
	Children  count `yaml:"children"`
	Excerpt   size  `yaml:"excerpt"`
	Depth     count `yaml:"depth"`
	Headers   size  `yaml:"headers"`
	Redirects count `yaml:"redirects"`
}

type driftField struct {
	At      place
	Percent count `yaml:"percent"`
	Then    text  `yaml:"then"`
}

type budgetField struct {
	At    place
	Calls count `yaml:"calls"`
	Until text  `yaml:"until"`
}

type defaultsField struct {
	Pages *pagesField `yaml:"pages"`
	Items text        `yaml:"items"`
}

type tierField struct {
	At       place
	Name     text        `yaml:"name"`
	About    text        `yaml:"about"`
	Get      text        `yaml:"get"`
	Post     text        `yaml:"post"`
	Query    dict[texts] `yaml:"query"`
	JSON     *jsonField  `yaml:"json"`
	Form     dict[texts] `yaml:"form"`
	Headers  dict[text]  `yaml:"headers"`
	For      *forField   `yaml:"for"`
	Batch    *batchField `yaml:"batch"`
	Branches []tierField `yaml:"branches"`
	With     dict[text]  `yaml:"with"`
	Pages    *pagesField `yaml:"pages"`
	MaxPages count       `yaml:"max_pages"`
	Items    text        `yaml:"items"`
	Optional flag        `yaml:"optional"`
	Key      keyField    `yaml:"key"`
	Unique   flag        `yaml:"unique"`
	Carry    dict[text]  `yaml:"carry"`
	Rows     text        `yaml:"rows"`
	Table    text        `yaml:"table"`
}

type pagesKinds struct {
	At        place
	Offset    *offsetField  `yaml:"offset"`
	Page      *pageField    `yaml:"page"`
	Cursor    *cursorField  `yaml:"cursor"`
	NextQuery text          `yaml:"next_query"`
	NextURL   text          `yaml:"next_url"`
	Link      flag          `yaml:"link"`
	Slices    *slicesField  `yaml:"slices"`
	Expired   *expiredField `yaml:"expired"`
}

type offsetField struct {
	At        place
	Param     text  `yaml:"param"`
	SizeParam text  `yaml:"size_param"`
	Size      count `yaml:"size"`
	In        text  `yaml:"in"`
	Total     text  `yaml:"total"`
	More      text  `yaml:"more"`
	ShortEnds flag  `yaml:"short_ends"`
}

type pageField struct {
	At        place
	Param     text    `yaml:"param"`
	First     ordinal `yaml:"first"`
	SizeParam text    `yaml:"size_param"`
	Size      count   `yaml:"size"`
	In        text    `yaml:"in"`
	Pages     text    `yaml:"pages"`
	Total     text    `yaml:"total"`
	More      text    `yaml:"more"`
	ShortEnds flag    `yaml:"short_ends"`
}

type cursorField struct {
	At    place
	From  text `yaml:"from"`
	Param text `yaml:"param"`
	In    text `yaml:"in"`
}

type expiredField struct {
	At     place
	Status []count `yaml:"status"`
	When   text    `yaml:"when"`
}

type slicesField struct {
	At         place
	Step       duration `yaml:"step"`
	Resolution duration `yaml:"resolution"`
}

// text is a scalar as it is written.
type text struct {
	s  string
	at place
}

func (t *text) decode(d *decoder, n *yaml.Node) {
	t.at = placeOf(n)
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag == "!!null":
		d.errorf(t.at, "a text is expected, not %s", kindName(n))
	case n.Value == "":
		d.errorf(t.at, "an empty text: leave the field out")
	default:
		t.s = n.Value
	}
}

func (t text) given() bool { return t.s != "" }

// texts is one text or a list of them.
type texts []text

func (t *texts) decode(d *decoder, n *yaml.Node) {
	if n.Kind == yaml.SequenceNode {
		d.value(n, reflect.ValueOf((*[]text)(t)).Elem())
		return
	}
	var one text
	one.decode(d, n)
	*t = texts{one}
}

// dict is a mapping with names of the spec author's choice, in their order.
type dict[T any] []entry[T]

type entry[T any] struct {
	name text
	val  T
}

func (m *dict[T]) decode(d *decoder, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		d.errorf(placeOf(n), "names with their values are expected, not %s", kindName(n))
		return
	}
	d.pairs(n, func(name text, val *yaml.Node) {
		e := entry[T]{name: name}
		d.value(val, reflect.ValueOf(&e.val).Elem())
		*m = append(*m, e)
	})
}

type flag struct {
	on bool
	at place
}

func (f *flag) decode(d *decoder, n *yaml.Node) {
	f.at = placeOf(n)
	if n.Tag != "!!bool" || n.Value != "true" && n.Value != "false" {
		d.errorf(f.at, "true or false is expected, not %s", kindName(n))
	}
	f.on = n.Value == "true"
}

// count is a whole number from 1.
type count struct {
	n  int
	at place
}

func (c *count) decode(d *decoder, n *yaml.Node) {
	c.at = placeOf(n)
	x, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || x < 1 || x > 1_000_000_000 {
		d.errorf(c.at, "a whole number from 1 is expected, not %s", kindName(n))
		return
	}
	c.n = x
}

// ordinal is the number of a list's first page: 0 or 1.
type ordinal struct {
	n  int
	at place
}

func (o *ordinal) decode(d *decoder, n *yaml.Node) {
	o.at = placeOf(n)
	if n.Kind != yaml.ScalarNode || n.Value != "0" && n.Value != "1" {
		d.errorf(o.at, "0 or 1 is expected, not %s", kindName(n))
		return
	}
	o.n = int(n.Value[0] - '0')
}

// or is the ordinal, or a default where none is given.
func (o ordinal) or(def int) int {
	if o.at == (place{}) {
		return def
	}
	return o.n
}

// or is the count, or a default where none is given.
func (c count) or(def int) int {
	if c.n == 0 {
		return def
	}
	return c.n
}

// duration is a length of time such as 200ms, 15s or 2h.
type duration struct {
	d  time.Duration
	at place
}

func (x *duration) decode(d *decoder, n *yaml.Node) {
	x.at = placeOf(n)
	v, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || v <= 0 {
		d.errorf(x.at, "a duration such as 200ms, 15s or 2h is expected, not %s", kindName(n))
		return
	}
	x.d = v
}

func (x duration) or(def time.Duration) time.Duration {
	if x.d == 0 {
		return def
	}
	return x.d
}

// size is a number of bytes such as 65536, 64KiB or 8MiB.
type size struct {
	n  int
	at place
}

var sizePattern = regexp.MustCompile(`^([1-9][0-9]{0,9}) ?(|KiB|MiB)$`)

func (s *size) decode(d *decoder, n *yaml.Node) {
	s.at = placeOf(n)
	m := sizePattern.FindStringSubmatch(n.Value)
	if n.Kind != yaml.ScalarNode || m == nil {
		d.errorf(s.at, "a number of bytes such as 65536, 64KiB or 8MiB is expected, not %s", kindName(n))
		return
	}
	x, _ := strconv.Atoi(m[1])
	x *= map[string]int{"": 1, "KiB": 1 << 10, "MiB": 1 << 20}[m[2]]
	if x > 1<<30 {
		d.errorf(s.at, "%s is more than 1024MiB", n.Value)
		return
	}
	s.n = x
}

func (s size) or(def int) int {
	if s.n == 0 {
		return def
	}
	return s.n
}

// rate is so many calls in so much time: 200/s, 500/m, 10/60s.
type rate struct {
	n   int
	per time.Duration
	at  place
}

var ratePattern = regexp.MustCompile(`^([1-9][0-9]{0,6})/([1-9][0-9]{0,5})?(ms|s|m|h)$`)

func (r *rate) decode(d *decoder, n *yaml.Node) {
	r.at = placeOf(n)
	m := ratePattern.FindStringSubmatch(n.Value)
	if n.Kind != yaml.ScalarNode || m == nil {
		d.errorf(r.at, "a rate such as 200/s, 500/m or 10/60s is expected, not %s", kindName(n))
		return
	}
	unit, err := time.ParseDuration(cmp.Or(m[2], "1") + m[3])
	if err != nil || unit > mostPer {
		d.errorf(r.at, "%q is no rate that can be kept: its time is at most 400 days (%v)", n.Value, mostPer)
		return
	}
	r.n, _ = strconv.Atoi(m[1])
	r.per = unit
}

func (r rate) given() bool { return r.n > 0 }

// limitsField is a list of limits, or the word unknown.
type limitsField struct {
	at      place
	unknown bool
	list    []limitField
}

func (l *limitsField) decode(d *decoder, n *yaml.Node) {
	l.at = placeOf(n)
	if n.Kind == yaml.ScalarNode && n.Value == "unknown" {
		l.unknown = true
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.errorf(l.at, "a list of limits or the word unknown is expected, not %s", kindName(n))
		return
	}
	d.value(n, reflect.ValueOf(&l.list).Elem())
}

// pagesField is one kind of paging, or the word none.
type pagesField struct {
	none bool
	pagesKinds
}

func (p *pagesField) decode(d *decoder, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Value == "none" {
		p.none, p.At = true, placeOf(n)
		return
	}
	d.value(n, reflect.ValueOf(&p.pagesKinds).Elem())
}
