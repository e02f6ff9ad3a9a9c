package vendorapi

import "slices"

// A Lake is how a vendor's rows become tables.
type Lake struct {
	Dead        int     // dead tasks that a run may have and be published all the same
	DeadPercent float64 // or so many percent of its tasks; 0: Dead counts
	Path        string  // where a table's files stand: see PathOf
	Tables      []LakeTable
}

// A LakeTable is one table: one that a tier names, or one made from the rows of
// such a one. Every table of a spec has its entry, in the order of the names.
type LakeTable struct {
	Name     string
	From     string // the table that it is made from; empty: a tier names it
	Common   bool   // it is one with those of other vendors
	Contract string // evolve, freeze or variant
	Key      []string
	Columns  []LakeColumn // what is declared, in the order of the spec
}

// A LakeColumn is a field of a table's rows, and the type that is declared for it.
type LakeColumn struct{ Name, Type string }

// sharedOwner stands in the lake where the name of a vendor does, for common tables.
const sharedOwner = "common"

const (
	defaultLakePath = "table={table}/date={date}/run={run}"
	commonLakePath  = "table={table}/source={source}/date={date}/run={run}"
)

// PathOf is the template of the place of a table's files. One that several vendors
// feed says whose they are, for it is read by source.
func (l Lake) PathOf(t LakeTable) string {
	if t.Common && l.Path == defaultLakePath {
		return commonLakePath
	}
	return l.Path
}

// clone keeps a plan apart from its spec.
func (l Lake) clone() Lake {
	l.Tables = slices.Clone(l.Tables)
	for i := range l.Tables {
		t := &l.Tables[i]
		t.Key, t.Columns = slices.Clone(t.Key), slices.Clone(t.Columns)
	}
	return l
}

// Table is the table of that name.
func (l Lake) Table(name string) (LakeTable, bool) {
	i := slices.IndexFunc(l.Tables, func(t LakeTable) bool { return t.Name == name })
	if i < 0 {
		return LakeTable{}, false
	}
	return l.Tables[i], true
}
