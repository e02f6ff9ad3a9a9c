package vendorapi

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"
)

// text is a scalar as it is written.
type text struct {
	s  string
	at place
}

func (t *text) decode(d *decoder, n *yaml.Node) {
	t.at = placeOf(n)
	variable, bare := unquoted(n)
	switch {
	case bare:
		d.errorf(t.at, "a text is expected, and YAML takes %s for fields: quote it: %q", variable, variable)
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
		*t = texts{}
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

// duration is a length of time such as 200ms, 15s, 2h or 7d; a day is 24 hours.
type duration struct {
	d  time.Duration
	at place
}

func (x *duration) decode(d *decoder, n *yaml.Node) {
	x.at = placeOf(n)
	v, err := parseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || v <= 0 {
		d.errorf(x.at, "a duration such as 200ms, 15s, 2h or 7d is expected, not %s", kindName(n))
		return
	}
	x.d = v
}

var someDays = regexp.MustCompile(`^([0-9]{1,5})d`)

// parseDuration is [time.ParseDuration] that knows days, as its first unit.
func parseDuration(s string) (time.Duration, error) {
	m := someDays.FindStringSubmatch(s)
	if m == nil {
		return time.ParseDuration(s)
	}
	n, _ := strconv.Atoi(m[1])
	days := time.Duration(n) * 24 * time.Hour
	if s = s[len(m[0]):]; s == "" {
		return days, nil
	}
	rest, err := time.ParseDuration(s)
	if rest < 0 {
		return 0, fmt.Errorf("%q goes back", s)
	}
	return days + rest, err
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
