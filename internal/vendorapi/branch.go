package vendorapi

import (
	"maps"
	"slices"
	"strings"
)

// branchName is what a branch's place in a task's path is called: its last.
const branchName = "branch"

// branches compiles the requests of a last tier that asks several things about each
// node: each has a task of its own, with the branch's name as the last of its path.
func (d *decoder) branches(f *tierField, def defaultsField, sc *scope) *tier {
	t := &tier{name: f.Name.s, path: slices.Clone(sc.keys), pages: onePage{}, of: make(map[string]*tier)}
	if f.Get.given() || f.Post.given() || f.Table.given() || len(f.Tables) > 0 || f.Rows.given() || f.Items.given() || f.Key.given() || f.Pages != nil || len(f.With)+len(f.Query)+len(f.Headers)+len(f.Carry) > 0 {
		d.errorf(f.At, "tier %s: a tier with branches has no request of its own: what it says stands in each of them", f.Name.s)
	}
	for i := range f.Branches {
		b := f.Branches[i]
		name := b.Name.s
		switch {
		case !tierName.MatchString(name):
			d.errorf(b.Name.or(b.At), "a branch's name must be like sales (%s), not %q", tierName, name)
		case t.of[name] != nil:
			d.errorf(b.Name.at, "tier %s has a branch %q already", f.Name.s, name)
		case b.For != nil || b.Batch != nil || b.Branches != nil:
			d.errorf(b.At, "branch %s: for and batch stand in the tier, and a branch has no branches", name)
		}
		b.Name.s = f.Name.s
		used := make(map[string]bool)
		one := d.tier(&b, def, sc.recording(used), true)
		maps.Copy(sc.used, used)
		one.slicer, one.batches = sc.slicer, sc.batches
		t.of[name], t.branches = one, append(t.branches, name)
		t.tables = append(t.tables, one.tables...)
	}
	return t
}

// asked is the tier's request for people: those of its branches with their names.
func (t *tier) asked() string {
	if t.of == nil {
		return t.method + " " + t.request
	}
	var out []string
	for _, name := range t.branches {
		out = append(out, name+": "+t.of[name].asked())
	}
	return strings.Join(out, " | ")
}

// branched adds the branches to what a tier's tasks are multiplied by.
func branched(f *tierField, fn *fan, sc *scope) (*fan, *scope) {
	if len(f.Branches) == 0 {
		return fn, sc
	}
	out := &fan{}
	if fn != nil {
		*out = *fn
	}
	inner := *sc
	inner.keys = append(slices.Clone(sc.keys), branchName)
	for i := range f.Branches {
		out.branches = append(out.branches, f.Branches[i].Name.s)
	}
	return out, &inner
}
