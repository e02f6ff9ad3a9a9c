package vendorapi

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// allowance is how many dead tasks a run may have: a count from 0, or a percentage.
type allowance struct {
	n       int
	percent float64
	at      place
}

var percentage = regexp.MustCompile(`^([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%$`)

func (a *allowance) decode(d *decoder, n *yaml.Node) {
	a.at = placeOf(n)
	if m := percentage.FindStringSubmatch(n.Value); n.Kind == yaml.ScalarNode && m != nil {
		if p, err := strconv.ParseFloat(m[1], 64); err == nil && p > 0 && p <= 100 {
			a.percent = p
			return
		}
	}
	x, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || x < 0 || x > 1_000_000_000 {
		d.errorf(a.at, `a number of tasks from 0, such as 5, or a percentage above 0 and up to 100, such as "1%%", is expected, not %s`, kindName(n))
		return
	}
	a.n = x
}

// columns are the declared types of fields, by name.
type columns dict[text]

func (c *columns) decode(d *decoder, n *yaml.Node) {
	for i := 1; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		// Within braces YAML takes the comma of a decimal for the end of the field.
		if begin, rest := n.Content[i], n.Content[i+1]; strings.HasPrefix(begin.Value, "decimal(") && !strings.HasSuffix(begin.Value, ")") && strings.HasSuffix(rest.Value, ")") {
			whole := clip(begin.Value, 20) + "," + clip(rest.Value, 20)
			d.errorf(placeOf(begin), "a type is expected, and YAML takes %s for two fields: quote it: %q", whole, whole)
			return
		}
	}
	d.value(n, reflect.ValueOf((*dict[text])(c)).Elem())
}

// lake checks the spec's section of that name. The tables' own queries are compiled
// with those of their tiers.
func (d *decoder) lake(doc *document, tiers []*tier) Lake {
	out := Lake{Path: defaultLakePath}
	f := doc.Lake
	if f == nil {
		f = &lakeField{}
	}
	out.Dead, out.DeadPercent = f.Dead.n, f.Dead.percent
	if f.Path.given() {
		out.Path = f.Path.s
		d.lakePath(f)
	}
	var named []string // by tiers
	for _, t := range tiers {
		named = append(named, t.tables...)
	}
	slices.Sort(named)
	named = slices.Compact(named)
	for _, name := range named {
		if !slices.ContainsFunc(f.Tables, func(e entry[lakeTableField]) bool { return e.name.s == name }) {
			out.Tables = append(out.Tables, LakeTable{Name: name, Contract: "evolve"})
		}
	}
	for i := range f.Tables {
		e := &f.Tables[i]
		d.lakeFrom(f, e, named)
		out.Tables = append(out.Tables, d.lakeTable(e))
	}
	slices.SortFunc(out.Tables, func(a, b LakeTable) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

var (
	lakePlaceholder = regexp.MustCompile(`\{([^{}]*)\}`)
	lakeSegment     = regexp.MustCompile(`^(?:[A-Za-z0-9_.=-]|\{[a-z]+\})+$`)
	lakeNames       = []string{"table", "source", "date", "year", "month", "day", "run"}
)

// lakePath checks the template of the place of tables' files.
func (d *decoder) lakePath(f *lakeField) {
	at, path := f.Path.at, f.Path.s
	has := make(map[string]bool)
	for _, m := range lakePlaceholder.FindAllStringSubmatch(path, -1) {
		if !slices.Contains(lakeNames, m[1]) {
			d.errorf(at, "path: unknown placeholder {%s}%s", clip(m[1], 40), didYouMean(m[1], lakeNames))
			return
		}
		has[m[1]] = true
	}
	keys := make(map[string]bool)
	for _, segment := range strings.Split(path, "/") {
		key, _, partition := strings.Cut(segment, "=")
		switch {
		case !lakeSegment.MatchString(segment) || strings.Trim(segment, ".") == "":
			d.errorf(at, "path: %q is no part of a path: write letters, digits, _ . = - and placeholders, and no / at either end", clip(segment, 60))
			return
		case partition && (!tableName.MatchString(key) || keys[key]):
			d.errorf(at, "path: %q: a partition is a name of its own, =, and its value, such as date={date}", clip(segment, 60))
			return
		}
		keys[key] = keys[key] || partition
	}
	switch {
	case !has["table"] || !has["run"]:
		d.errorf(at, "path: without {table} and {run} the files of several tables or runs would be one: write %s", defaultLakePath)
	case !strings.HasPrefix(path, "table={table}/"):
		d.errorf(at, "path must begin with table={table}/: readers find a table by it")
	case !has["source"] && slices.ContainsFunc(f.Tables, func(e entry[lakeTableField]) bool { return e.val.Common.on }):
		d.errorf(at, "path: there is a common table, which several vendors feed: it needs {source}, as in %s", commonLakePath)
	}
}

// lakeFrom checks where a table of the section comes from.
func (d *decoder) lakeFrom(f *lakeField, e *entry[lakeTableField], named []string) {
	own := slices.Contains(named, e.name.s)
	from := e.val.From
	switch {
	case !from.given() && !own:
		d.errorf(e.name.at, "lake: no tier has a table %q%s; or say from and row: what it is made from", clip(e.name.s, 70), didYouMean(e.name.s, named))
	case from.given() && own:
		d.errorf(from.at, "lake: a tier has a table %q: what is made from another needs a name of its own", e.name.s)
	case from.given() && !tableName.MatchString(e.name.s):
		d.errorf(e.name.at, "a table's name must be like metrics (%s), not %q", tableName, clip(e.name.s, 70))
	case from.given() && !slices.Contains(named, from.s):
		if slices.ContainsFunc(f.Tables, func(o entry[lakeTableField]) bool { return o.name.s == from.s && o.val.From.given() }) {
			d.errorf(from.at, "from: table %q is itself made from another: from names a table of a tier", from.s)
			return
		}
		d.errorf(from.at, "from: no tier has a table %q%s", clip(from.s, 70), didYouMean(from.s, named))
	}
	switch {
	case from.given() && !e.val.Row.given():
		d.errorf(e.name.at, "table %s: from without row: say by row what is made of each row of %s (row: . takes it as it is)", e.name.s, from.s)
	case !from.given() && e.val.Row.given():
		d.errorf(e.val.Row.at, "table %s: row goes with from; a tier's own rows are made by the tier's rows", e.name.s)
	}
}

// lakeTable checks what is said of one table.
func (d *decoder) lakeTable(e *entry[lakeTableField]) LakeTable {
	f := &e.val
	t := LakeTable{Name: e.name.s, From: f.From.s, Common: f.Common.on, Contract: cmp.Or(f.Contract.s, "evolve")}
	if c := f.Contract; c.given() && !slices.Contains([]string{"evolve", "freeze", "variant"}, c.s) {
		d.errorf(c.at, "contract is evolve, freeze or variant, not %q", clip(c.s, 40))
	}
	var names []string
	for _, c := range f.Columns {
		if err := columnName(c.name.s); err != nil {
			d.errorf(c.name.at, "table %s: %v", t.Name, err)
		}
		if err := columnType(c.val.s); c.val.given() && err != nil {
			d.errorf(c.val.at, "column %s: %v", clip(c.name.s, 70), err)
		}
		names = append(names, c.name.s)
		t.Columns = append(t.Columns, LakeColumn{c.name.s, c.val.s})
	}
	if t.Common && len(names) == 0 {
		d.errorf(f.Common.at, "table %s is common: other vendors must know its columns: declare them by columns", t.Name)
	}
	if f.Key != nil && len(f.Key) == 0 {
		d.errorf(e.name.at, "table %s: key names no column: name one or more, or leave it out", t.Name)
	}
	for _, k := range f.Key {
		switch {
		case slices.Contains(t.Key, k.s):
			d.errorf(k.at, "table %s: key names %q twice", t.Name, clip(k.s, 70))
		case len(names) > 0 && !slices.Contains(names, k.s):
			d.errorf(k.at, "table %s: key: column %q is not declared%s", t.Name, clip(k.s, 70), didYouMean(k.s, names))
		}
		t.Key = append(t.Key, k.s)
	}
	return t
}

const mostColumnName = 255 // bytes; the catalogs of warehouses hold no more

func columnName(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("a column without a name")
	case len(s) > mostColumnName:
		return fmt.Errorf("a column's name has %d bytes at most: %s", mostColumnName, clip(s, 40))
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7F }):
		return fmt.Errorf("a column's name has no control characters: %q", clip(s, 40))
	}
	return nil
}

var (
	plainTypes  = []string{"text", "int", "double", "bool", "json", "date", "timestamp", "timestamp(s)", "timestamp(ms)", "timestamp(us)"}
	decimalType = regexp.MustCompile(`^decimal\(([1-9]|1[0-8]),([0-9]|1[0-8])\)$`)
)

const decimalExample = `"decimal(12,2)"`

func columnType(s string) error {
	if slices.Contains(plainTypes, s) {
		return nil
	}
	m := decimalType.FindStringSubmatch(s)
	switch {
	case m != nil && len(m[1]) >= len(m[2]) && (len(m[1]) > len(m[2]) || m[1] >= m[2]):
		return nil
	case strings.HasPrefix(s, "decimal"):
		return fmt.Errorf("%q: a decimal is like %s, in quotes: of 18 digits at most, and no more behind the point than in all", clip(s, 40), decimalExample)
	}
	return fmt.Errorf("unknown type %q%s", clip(s, 40), didYouMean(s, append(slices.Clone(plainTypes), "decimal(p,s)")))
}
