package vendorapi

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// tier is one compiled tier of a spec.
type tier struct {
	name    string
	tables  []string // where its rows go: mostly one; or those of its branches
	unique  bool
	path    []string // tiers whose keys a task's path holds, outermost first
	method  string   // GET or POST
	request string   // the path's template as written

	get     pathTemplate
	query   []queryTemplate
	body    body
	headers []headerTemplate
	with    map[string]plainTemplate

	items *query   // nil: nothing is counted or found
	key   *nodeKey // nil in the last tier
	carry []carried
	hand  []string // fields carried to this tier's tasks that its children still need
	rows  []*query // one for each of its own tables; nil: the items are the rows
	pages pager

	derived map[string][]derived // by its own tables: what is made from their rows

	below   *tier             // nil: this is the last
	fan     *fan              // what its tasks are multiplied by; nil: nothing
	slicer  *slicePages       // of the slice in its tasks' path; nil: there is none
	batch   *batch            // nil: each node has a task of its own
	batches map[string]*batch // keys in its tasks' path that are those of a group

	maxPages int      // 0: the bound of all lists
	expired  *expired // nil: the vendor says no such thing

	branches []string         // of a tier that makes several requests, in their order
	of       map[string]*tier // these requests

	judges []*query // what looks at an answer before it is taken apart
}

type queryTemplate struct {
	name string
	vals []plainTemplate
}

type carried struct {
	name string
	q    *query
}

var (
	tierName  = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	carryName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,31}$`)
	tableName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
)

// tiers compiles the spec's tiers, top first.
func (d *decoder) tiers(doc *document, top *scope) []*tier {
	if len(doc.Tiers) == 0 {
		d.errorf(doc.At, "tiers are missing: a vendor's tree has at least one")
		return nil
	}
	d.tierNames(doc)
	var out []*tier
	uses := make([]map[string]bool, len(doc.Tiers))
	sc := &scope{settings: top.settings, window: true, hidden: make(map[string]string)}
	for i := range doc.Tiers {
		uses[i] = make(map[string]bool)
		f := &doc.Tiers[i]
		group, fan, inner := d.within(doc, i, sc)
		last := i == len(doc.Tiers)-1
		var t *tier
		if sc := inner.recording(uses[i]); len(f.Branches) > 0 {
			t = d.branches(f, doc.Defaults, sc)
		} else {
			t = d.tier(f, doc.Defaults, sc, last)
		}
		if len(f.Branches) > 0 && !last {
			d.errorf(f.At, "tier %s: branches are for the last tier", f.Name.s)
		}
		t.fan, t.batch, t.slicer, t.batches = fan, group, inner.slicer, inner.batches
		maps.Copy(top.used, uses[i])
		out = append(out, t)
		sc = below(inner, f)
	}
	for i, t := range out[1:] {
		out[i].below = t
	}
	d.fanUse(doc, out, uses)
	d.limitUses(doc, uses)
	d.carryUse(doc, out, uses)
	return out
}

// within is the scope of a tier, given that of what is above it: with what its
// tasks are for, and without what differs between the nodes of a batch.
func (d *decoder) within(doc *document, i int, sc *scope) (*batch, *fan, *scope) {
	above := (*tierField)(nil)
	if i > 0 {
		above = &doc.Tiers[i-1]
	}
	group, inner := d.batch(&doc.Tiers[i], above, sc)
	fan, inner := d.fan(&doc.Tiers[i], inner)
	fan, inner = branched(&doc.Tiers[i], fan, inner)
	return group, fan, inner
}

// recording is the scope for one more tier, with its own record of uses.
func (s *scope) recording(used map[string]bool) *scope {
	c := *s
	c.used = used
	return &c
}

// below is the scope of the tier below f. Under a unique tier, whose nodes are
// known by their own key alone, nothing from above it may be used: a node's
// request would depend on where it happened to be found first.
func below(sc *scope, f *tierField) *scope {
	c := *sc
	c.keys, c.parts, c.carries = slices.Clone(sc.keys), slices.Clone(sc.parts), slices.Clone(sc.carries)
	c.hidden = maps.Clone(sc.hidden)
	c.batch = false
	if f.Unique.on {
		c.slicer, c.slice, c.batches = nil, false, nil
		for _, n := range slices.Concat(c.keys, c.parts, c.carries) {
			c.hidden[n] = fmt.Sprintf("it comes from above the unique tier %s, whose nodes are known by their own key alone", f.Name.s)
		}
		c.keys, c.parts, c.carries = nil, nil, nil
	}
	c.keys = append(c.keys, f.Name.s)
	for _, e := range f.Key.parts {
		c.parts = append(c.parts, f.Name.s+"."+e.name.s)
	}
	for _, e := range f.Carry {
		c.carries = append(c.carries, e.name.s)
	}
	return &c
}

// tierNames checks that each name stands for one thing: tiers, carried fields
// and settings share their names' space, and so do their names in jq.
func (d *decoder) tierNames(doc *document) {
	taken := make(map[string]string)
	for _, e := range doc.Settings {
		taken[e.name.s] = "a setting"
	}
	claim := func(t text, what string) {
		n := jqName(t.s)
		if other, ok := taken[n]; ok {
			d.errorf(t.at, "the name %q is %s already", t.s, other)
		}
		taken[n] = what
	}
	for i := range doc.Tiers {
		f := &doc.Tiers[i]
		if d.named(f.Name, f.At, "a tier", "devices", tierName) {
			claim(f.Name, "a tier's")
		}
	}
	d.forNames(doc, claim)
	for i := range doc.Tiers {
		for _, e := range doc.Tiers[i].Carry {
			if d.named(e.name, doc.At, "a carried field", "source", carryName) {
				claim(e.name, "a carried field's")
			}
		}
	}
}

func (d *decoder) tier(f *tierField, def defaultsField, sc *scope, last bool) *tier {
	t := &tier{name: f.Name.s, unique: f.Unique.on, method: "GET", request: f.Get.s, path: slices.Clone(sc.keys)}
	if f.Post.given() {
		t.method, t.request = "POST", f.Post.s
	}
	pages := f.Pages
	if pages == nil {
		pages = def.Pages
	}
	if sliced := pages != nil && !pages.none && pages.Slices != nil; sliced && sc.slicer != nil {
		d.errorf(pages.At, "tier %s: pages: slices, but its tasks are for slices already", t.name)
	} else {
		sc.slice = sliced || sc.slicer != nil
	}
	d.request(f, t, sc)

	find := sc
	if t.unique {
		// What is found must not depend on the node it was found under either.
		find = below(sc, f).recording(sc.used)
		find.keys, find.parts, find.carries = nil, nil, nil
	}
	d.nodesOf(f, t, find, last)
	d.tablesOf(f, t, sc)
	d.reads(f, def, t, last, pages, find)
	d.paging(pages, f, t, sc)
	if sc.slice && sc.slicer == nil && !usesSlice(sc.used) {
		d.errorf(pages.At, "tier %s: pages: slices, but nothing uses {slice.from...}: every call would be the same", t.name)
	}
	d.optional(f, t)
	return t
}

func usesSlice(used map[string]bool) bool {
	for n := range used {
		if n == "slice" || strings.HasPrefix(n, "slice.") {
			return true
		}
	}
	return false
}

// request compiles what makes the request: get, query, headers and with.
func (d *decoder) request(f *tierField, t *tier, sc *scope) {
	t.with = make(map[string]plainTemplate)
	plain := sc.recording(sc.used)
	for _, e := range f.With {
		if slices.Contains(sc.names(), e.name.s) {
			d.errorf(e.name.at, "with: the name %q is taken", e.name.s)
			continue
		}
		if !d.named(e.name, f.At, "a variable", "start", carryName) {
			continue
		}
		t.with[e.name.s] = d.plain(e.val, sc)
		plain.with = append(plain.with, e.name.s)
	}
	d.path(f, t, plain)
	t.query = d.params(f.Query, plain)
	d.body(f, t, plain)
	secret := plain.recording(sc.used)
	secret.secrets = true
	t.headers = d.headers(f.Headers, secret, true)
	for _, e := range f.With {
		if !sc.used[e.name.s] {
			d.errorf(e.name.at, "with: %q is used by nothing in this tier", e.name.s)
		}
	}
}

// path compiles the template of get or post.
func (d *decoder) path(f *tierField, t *tier, plain *scope) {
	field, at := "get", f.Get.at
	if f.Post.given() {
		field, at = "post", f.Post.at
	}
	switch {
	case f.Get.given() && f.Post.given():
		d.errorf(f.Post.at, "tier %s: a tier is one request: get or post", f.Name.s)
		return
	case t.request == "":
		d.errorf(f.At, "tier %s: get is missing, or post", f.Name.s)
		return
	}
	p, err := parsePath(t.request)
	if err != nil {
		d.errorf(at, "%s: %v", field, err)
		return
	}
	t.get = p
	for _, n := range p.names {
		if err := plain.check(n); err != nil {
			d.errorf(at, "%s: %v", field, err)
		}
	}
}

// nodesOf compiles what makes nodes: key, carry, unique. The last tier finds none.
func (d *decoder) nodesOf(f *tierField, t *tier, find *scope, last bool) {
	if last {
		for _, x := range []struct {
			name string
			on   bool
			at   place
		}{{"key", f.Key.given(), f.Key.at}, {"unique", f.Unique.on, f.Unique.at}} {
			if x.on {
				d.errorf(x.at, "tier %s is the last: %s is for tiers that have one below", f.Name.s, x.name)
			}
		}
		for _, e := range f.Carry {
			d.errorf(e.name.at, "tier %s is the last: there is no tier below to carry %s to", f.Name.s, e.name.s)
		}
		return
	}
	if !f.Key.given() {
		d.errorf(f.At, "tier %s: key is missing: it names the nodes for the tier below", f.Name.s)
	}
	t.key = d.key(f.Key, find)
	for _, e := range f.Carry {
		t.carry = append(t.carry, carried{e.name.s, d.jq("carry "+e.name.s, e.val, find)})
	}
}

// carryUse finds what each tier must hand on, and carried fields of no use. A
// field is of use where a request or a query names it, and where a table is
// made: it says where the rows come from.
func (d *decoder) carryUse(doc *document, tiers []*tier, uses []map[string]bool) {
	usedBelow := func(i int, name string) bool {
		for j := i + 1; j < len(tiers); j++ {
			if uses[j][name] || len(tiers[j].tables) > 0 || j == i+1 && tiers[j].batch != nil && uses[j]["batch"] {
				return true
			}
			if tiers[j].unique {
				return false // what is below does not see it
			}
		}
		return false
	}
	var held []string
	for i := range doc.Tiers {
		f, t := &doc.Tiers[i], tiers[i]
		if !t.unique {
			for _, n := range held {
				if usedBelow(i, n) {
					t.hand = append(t.hand, n)
				}
			}
		}
		held = slices.Clone(t.hand)
		grouped := i < len(tiers)-1 && tiers[i+1].batch != nil
		for _, e := range f.Carry {
			if !grouped { // else the batch has it
				held = append(held, e.name.s)
			}
			if i < len(tiers)-1 && !usedBelow(i, e.name.s) {
				d.errorf(e.name.at, "carried field %q is of no use: no tier below names it or has a table", e.name.s)
			}
		}
	}
}
