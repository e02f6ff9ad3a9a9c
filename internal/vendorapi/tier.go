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
	table   string
	unique  bool
	path    []string // tiers whose keys a task's path holds, outermost first
	request string   // the get template as written

	get     pathTemplate
	query   []queryTemplate
	headers []headerTemplate
	with    map[string]plainTemplate

	items *query // nil: nothing is counted or found
	key   *query // nil in the last tier
	carry []carried
	hand  []string // fields carried to this tier's tasks that its children still need
	rows  *query   // nil: the items are the rows
	pages pager
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
		t := d.tier(f, doc.Defaults, sc.recording(uses[i]), i == len(doc.Tiers)-1)
		maps.Copy(top.used, uses[i])
		out = append(out, t)
		sc = below(sc, f)
	}
	d.carryUse(doc, out, uses)
	return out
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
	c.keys, c.carries = slices.Clone(sc.keys), slices.Clone(sc.carries)
	c.hidden = maps.Clone(sc.hidden)
	if f.Unique.on {
		for _, n := range slices.Concat(c.keys, c.carries) {
			c.hidden[n] = fmt.Sprintf("it comes from above the unique tier %s, whose nodes are known by their own key alone", f.Name.s)
		}
		c.keys, c.carries = nil, nil
	}
	c.keys = append(c.keys, f.Name.s)
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
		if !tierName.MatchString(f.Name.s) || reserved(f.Name.s) {
			d.errorf(f.Name.or(f.At), "a tier's name must be like devices (%s) and no reserved word, not %q: queues are named by it", tierName, f.Name.s)
			continue
		}
		claim(f.Name, "a tier's")
	}
	for i := range doc.Tiers {
		for _, e := range doc.Tiers[i].Carry {
			if !carryName.MatchString(e.name.s) || reserved(e.name.s) {
				d.errorf(e.name.at, "a carried field's name must be like source (%s) and no reserved word, not %q", carryName, e.name.s)
				continue
			}
			claim(e.name, "a carried field's")
		}
	}
}

func (d *decoder) tier(f *tierField, def defaultsField, sc *scope, last bool) *tier {
	t := &tier{name: f.Name.s, table: f.Table.s, unique: f.Unique.on, request: f.Get.s, path: slices.Clone(sc.keys)}
	pages := f.Pages
	if pages == nil {
		pages = def.Pages
	}
	sc.slice = pages != nil && !pages.none && pages.Slices != nil
	d.request(f, t, sc)

	find := sc
	if t.unique {
		// What is found must not depend on the node it was found under either.
		find = below(sc, f).recording(sc.used)
		find.keys, find.carries = nil, nil
	}
	d.nodesOf(f, t, find, last)
	t.rows = d.jq("rows", f.Rows, sc)
	d.reads(f, def, t, last, pages, find)
	t.pages = d.pages(pages, f, sc)
	if sc.slice && !usesSlice(sc.used) {
		d.errorf(pages.At, "tier %s: pages: slices, but nothing uses {slice.from...}: every call would be the same", t.name)
	}
	if t.table != "" && !tableName.MatchString(t.table) {
		d.errorf(f.Table.at, "a table's name must be like metrics (%s), not %q", tableName, t.table)
	}
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
		if slices.Contains(sc.names(), e.name.s) || reserved(e.name.s) || !carryName.MatchString(e.name.s) {
			d.errorf(e.name.at, "with: the name %q is taken, or not like start (%s)", e.name.s, carryName)
			continue
		}
		t.with[e.name.s] = d.plain(e.val, sc)
		plain.with = append(plain.with, e.name.s)
	}
	if !f.Get.given() {
		d.errorf(f.At, "tier %s: get is missing", f.Name.s)
	} else if p, err := parsePath(f.Get.s); err != nil {
		d.errorf(f.Get.at, "get: %v", err)
	} else {
		t.get = p
		for _, n := range p.names {
			if err := plain.check(n); err != nil {
				d.errorf(f.Get.at, "get: %v", err)
			}
		}
	}
	for _, e := range f.Query {
		q := queryTemplate{name: e.name.s}
		for _, v := range e.val {
			q.vals = append(q.vals, d.plain(v, plain))
		}
		t.query = append(t.query, q)
	}
	secret := plain.recording(sc.used)
	secret.secrets = true
	t.headers = d.headers(f.Headers, secret, true)
	for _, e := range f.With {
		if !sc.used[e.name.s] {
			d.errorf(e.name.at, "with: %q is used by nothing in this tier", e.name.s)
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
	t.key = d.jq("key", f.Key, find)
	for _, e := range f.Carry {
		t.carry = append(t.carry, carried{e.name.s, d.jq("carry "+e.name.s, e.val, find)})
	}
}

// reads compiles items if anything in the tier needs them.
func (d *decoder) reads(f *tierField, def defaultsField, t *tier, last bool, pages *pagesField, find *scope) {
	if f.Rows.given() && !f.Table.given() {
		d.errorf(f.Rows.at, "tier %s: rows without table: say where they go", f.Name.s)
	}
	offset := pages != nil && !pages.none && pages.Offset != nil
	needed := !last || offset || f.Table.given() && !f.Rows.given()
	if !needed {
		if f.Items.given() {
			d.errorf(f.Items.at, "tier %s: items are used by nothing: rows reads the whole answer", f.Name.s)
		}
		return
	}
	items := f.Items
	if !items.given() {
		items = def.Items
	}
	if !items.given() {
		d.errorf(f.At, "tier %s: items is missing: the jq that lists the answer's items, such as .data[]", f.Name.s)
		return
	}
	t.items = d.jq("items", items, find)
}

// carryUse finds what each tier must hand on, and carried fields of no use. A
// field is of use where a request or a query names it, and where a table is
// made: it says where the rows come from.
func (d *decoder) carryUse(doc *document, tiers []*tier, uses []map[string]bool) {
	usedBelow := func(i int, name string) bool {
		for j := i + 1; j < len(tiers); j++ {
			if uses[j][name] || tiers[j].table != "" {
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
		for _, e := range f.Carry {
			held = append(held, e.name.s)
			if i < len(tiers)-1 && !usedBelow(i, e.name.s) {
				d.errorf(e.name.at, "carried field %q is of no use: no tier below names it or has a table", e.name.s)
			}
		}
	}
}
