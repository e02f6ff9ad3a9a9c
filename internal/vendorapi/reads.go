package vendorapi

import (
	"slices"
	"strings"
)

// tablesOf compiles rows and table, or tables.
func (d *decoder) tablesOf(f *tierField, t *tier, sc *scope) {
	one := dict[text]{{f.Table, f.Rows}}
	all := f.Tables
	switch {
	case len(all) > 0 && (f.Table.given() || f.Rows.given()):
		d.errorf(all[0].name.at, "tier %s: tables stand in the place of table and rows", f.Name.s)
	case len(all) == 0 && f.Table.given():
		all = one
	case f.Rows.given():
		d.errorf(f.Rows.at, "tier %s: rows without table: say where they go", f.Name.s)
		t.rows = []*query{d.jq("rows", f.Rows, sc)}
	}
	for _, e := range all {
		if !tableName.MatchString(e.name.s) {
			d.errorf(e.name.at, "a table's name must be like metrics (%s), not %q", tableName, e.name.s)
		}
		what := "rows"
		if len(f.Tables) > 0 {
			what = "tables " + e.name.s
		}
		t.tables, t.rows = append(t.tables, e.name.s), append(t.rows, d.jq(what, e.val, sc))
		d.derivedFrom(e.name.s, t, sc)
	}
}

// derivedFrom compiles what the lake makes from the rows of a table of the tier. It
// sees what the tier's rows see.
func (d *decoder) derivedFrom(table string, t *tier, sc *scope) {
	for _, e := range d.made {
		if e.val.From.s != table || !e.val.Row.given() {
			continue
		}
		if t.derived == nil {
			t.derived = make(map[string][]derived)
		}
		t.derived[table] = append(t.derived[table], derived{e.name.s, d.jq("row of "+e.name.s, e.val.Row, sc)})
	}
}

// optional says that a missing list is an empty one.
func (d *decoder) optional(f *tierField, t *tier) {
	if !f.Optional.on {
		return
	}
	some := false
	for _, q := range given(append(slices.Clone(t.rows), t.items)...) {
		q.optional = q.each != nil
		some = some || q.optional
	}
	if !some {
		d.errorf(f.Optional.at, "tier %s: optional is for items or rows that begin with a list's path, such as .data.items[]: anything else is for jq to say", t.name)
	}
}

// reads compiles items if anything in the tier needs them.
func (d *decoder) reads(f *tierField, def defaultsField, t *tier, last bool, pages *pagesField, find *scope) {
	counts := pages != nil && !pages.none && (pages.Offset != nil || pages.Page != nil)
	needed := !last || counts || f.Table.given() && !f.Rows.given()
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
	if head := t.head(); !items.given() && last && head != nil {
		items = text{s: "." + strings.Join(head, ".") + "[]", at: f.Rows.at}
	}
	if !items.given() {
		why := "the jq that lists the answer's items, such as .data[]"
		if last && len(t.tables) > 0 && counts {
			why = "pages of this kind count them, and rows do not begin with a list's path: " + why
		}
		d.errorf(f.At, "tier %s: items is missing: %s", f.Name.s, why)
		return
	}
	t.items = d.jq("items", items, find)
}

// head is the list that all rows are made from; nil: there is none.
func (t *tier) head() (path []string) {
	for i, q := range t.rows {
		if q == nil || q.each == nil || i > 0 && !slices.Equal(path, q.each.path) {
			return nil
		}
		path = q.each.path
	}
	return path
}
