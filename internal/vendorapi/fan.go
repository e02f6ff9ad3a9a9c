package vendorapi

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"go.yaml.in/yaml/v4"
)

// forField is what a tier's tasks are multiplied by: lists of constants by name,
// the slices of the window, or both.
type forField struct {
	at     place
	slices *slicesField
	lists  dict[[]text]
}

func (f *forField) decode(d *decoder, n *yaml.Node) {
	f.at = placeOf(n)
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		d.errorf(f.at, "lists of constants by name, or slices, are expected: {market: [us, de]} or {slices: {step: 6h}}, not %s", kindName(n))
		return
	}
	d.pairs(n, func(name text, val *yaml.Node) {
		if name.s == "slices" {
			d.value(val, reflect.ValueOf(&f.slices).Elem())
			return
		}
		e := entry[[]text]{name: name}
		d.value(val, reflect.ValueOf(&e.val).Elem())
		f.lists = append(f.lists, e)
	})
}

// fan multiplies a tier's tasks: each has a value for each name in its path, behind
// the keys of the tiers above.
type fan struct {
	names  []string
	lists  [][]string  // of constants, one for each name but that of the slices
	slices *slicePages // nil: none; else the last name is theirs

	branches []string // of the tier; behind all that has a name
}

// sliceName is what a slice's place in a task's path is called.
const sliceName = "slice"

// mostFan bounds what constants multiply a tier's tasks by.
const mostFan = 1000

// fan compiles for, and adds its names to the scope of the tier.
func (d *decoder) fan(f *tierField, sc *scope) (*fan, *scope) {
	if f.For == nil {
		return nil, sc
	}
	inner := *sc
	inner.keys = slices.Clone(sc.keys)
	out, product := &fan{}, 1
	for _, e := range f.For.lists {
		if len(e.val) == 0 {
			d.errorf(e.name.at, "for: %q has no values: the tier would have no tasks", e.name.s)
			continue
		}
		var list []string
		for _, v := range e.val {
			if slices.Contains(list, v.s) {
				d.errorf(v.at, "for: %q is in %s twice", v.s, e.name.s)
			}
			list = append(list, v.s)
		}
		if product *= len(list); product > mostFan {
			d.errorf(e.name.at, "for: more than %d combinations: make a tier of them", mostFan)
			product = 1
		}
		out.names, out.lists = append(out.names, e.name.s), append(out.lists, list)
		inner.keys = append(inner.keys, e.name.s)
	}
	if f.For.slices != nil {
		if sc.slicer != nil {
			d.errorf(f.For.slices.At, "for: a tier above is by slices already")
		}
		out.slices = d.slices(f.For.slices)
		out.names = append(out.names, sliceName)
		inner.keys = append(inner.keys, sliceName)
		inner.slicer, inner.slice = out.slices, true
	}
	return out, &inner
}

// forNames checks the names of constants.
func (d *decoder) forNames(doc *document, claim func(text, string)) {
	for i := range doc.Tiers {
		if f := doc.Tiers[i].For; f != nil {
			for _, e := range f.lists {
				if d.named(e.name, f.at, "a list of constants", "market", carryName) {
					claim(e.name, "a list's of constants")
				}
			}
		}
	}
}

// fanUse finds what multiplies tasks and makes no difference to any call.
func (d *decoder) fanUse(doc *document, tiers []*tier, uses []map[string]bool) {
	for i, t := range tiers {
		if t.fan == nil {
			continue
		}
		used := func(name string) bool {
			for _, u := range uses[i:] {
				if u[name] || name == sliceName && usesSlice(u) {
					return true
				}
			}
			return false
		}
		for _, name := range t.fan.names {
			if !used(name) {
				d.errorf(doc.Tiers[i].For.at, "for: nothing uses %s in tier %s or below: every call would be the same", forName(name), t.name)
			}
		}
	}
}

func forName(name string) string {
	if name == sliceName {
		return "{slice.from...}"
	}
	return "{" + name + "}"
}

// paths are the paths of the tasks of one node, whose own path is prefix. If there
// are more than most, they are cut after one more: a step may be a nanosecond.
func (f *fan) paths(prefix []string, w fanout.Window, most int) [][]string {
	out := [][]string{prefix}
	lists := f.lists
	if f.slices != nil {
		lists = append(slices.Clone(lists), f.slices.keys(w, most))
	}
	if f.branches != nil {
		lists = append(slices.Clone(lists), f.branches)
	}
	for _, values := range lists {
		var next [][]string
		for _, p := range out {
			for _, v := range values {
				if len(next) <= most {
					next = append(next, append(slices.Clone(p), v))
				}
			}
		}
		out = next
	}
	return out
}

// keys name the slices of w, by where they begin in it: so that a slice has the
// same name in the next run. If there are more than most, they are cut after one
// more.
func (p *slicePages) keys(w fanout.Window, most int) (out []string) {
	for at := time.Duration(0); at == 0 || w.From.Add(at).Before(w.To) && len(out) <= most; at += p.step {
		out = append(out, shortDuration(at))
	}
	return out
}

// named is the slice of that name.
func (p *slicePages) named(w fanout.Window, key string) (fanout.Window, error) {
	at, err := time.ParseDuration(key)
	if err != nil || at < 0 || at%p.step != 0 {
		return fanout.Window{}, fmt.Errorf("%q is no slice of %s: was the spec changed?", clip(key, 50), p.step)
	}
	out, _, err := p.slice(w, int(at/p.step))
	return out, err
}

// shortDuration writes 6h for 6h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// spread makes the nodes of the tier below of what a page found: grouped, and
// multiplied, as that tier says.
func (c *call) spread(t *taken) error {
	below := c.tier.below
	if below == nil {
		return nil
	}
	if below.batch != nil {
		t.children = c.group(t.children)
	}
	if below.fan == nil || len(t.children) == 0 {
		return nil
	}
	var out []fanout.Node
	most := c.plan.Bounds.Children
	for _, n := range t.children {
		for _, path := range below.fan.paths(n.Path, c.task.Window, most) {
			out = append(out, fanout.Node{Path: path, Carry: n.Carry})
		}
		if len(out) > most {
			return fmt.Errorf("the page has %w of %d children, each for each of what tier %s is for", errTooMany, most, below.name)
		}
	}
	t.children = out
	return nil
}
