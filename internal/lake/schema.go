package lake

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// Change is what a publication changed about a table's columns.
type Change struct {
	New      []string `json:"new,omitempty"`      // columns that the table did not have
	Vanished []string `json:"vanished,omitempty"` // columns without a single value this time
	Widened  []string `json:"widened,omitempty"`  // columns of another type than before: "x: int -> double"
	Empty    []string `json:"empty,omitempty"`    // fields that were null wherever they were: no columns yet
	Left     []string `json:"left,omitempty"`     // fields that the contract sends to _variant
}

// mostNames bounds the names that a change lists: fields may be named by IDs.
const mostNames = 100

func (c *Change) bound() {
	for _, names := range []*[]string{&c.New, &c.Vanished, &c.Widened, &c.Empty, &c.Left} {
		if n := len(*names); n > mostNames {
			*names = append((*names)[:mostNames:mostNames], fmt.Sprintf("and %d more", n-mostNames))
		}
	}
}

// mostColumns bounds a table's columns: what a vendor makes of IDs as field names
// goes to _variant beyond it.
const mostColumns = 1000

// merged is a table's schema once rows with these fields are in it. had is the
// schema that is published; its types hold, or are widened, by the contract. The
// result depends on the set of fields and not on their order.
func (l *Lake) merged(table string, had Schema, was bool, seen map[string]columns.FieldSeen) (Schema, Change, error) {
	spec := l.table(table)
	m := merging{
		spec: spec,
		s: Schema{
			Table: table, Owner: l.owner(table), Path: l.paths(table), Columns: slices.Clone(had.Columns), Key: spec.Key,
			Contract: spec.Contract, Template: l.Plan.Lake.PathOf(spec),
		},
		open: !spec.Common && (spec.Contract == "evolve" || !was && len(spec.Columns) == 0),
	}
	if was {
		if err := m.same(had); err != nil {
			return m.s, m.change, fmt.Errorf("%w: `sluice lake rebuild --all %s` makes all runs anew", err, l.Plan.Name)
		}
	}
	m.taken = takenNames(m.s.Path, m.s.Template)
	for _, c := range m.s.Columns {
		m.taken[strings.ToLower(c.Name)] = true
	}
	for _, c := range spec.Columns {
		if err := m.declare(c); err != nil {
			return m.s, m.change, fmt.Errorf("%w: `sluice lake rebuild --all %s` makes all runs anew", err, l.Plan.Name)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(seen)) {
		if err := m.field(field, seen[field]); err != nil {
			return m.s, m.change, err
		}
	}
	for _, c := range m.s.Columns {
		if seen[c.Field].Kinds&^columns.Null == 0 {
			m.change.Vanished = append(m.change.Vanished, c.Name)
		}
	}
	if !was {
		m.change.New, m.change.Widened, m.change.Vanished = nil, nil, nil
	}
	m.change.bound()
	m.s.Epoch = had.Epoch
	if len(m.change.Widened) > 0 {
		m.s.Epoch++
	}
	if !m.keyed() {
		m.s.Key = nil // nobody has had a value for it yet
	}
	return m.s, m.change, nil
}

// merging is a schema on its way.
type merging struct {
	spec   vendorapi.LakeTable
	s      Schema
	open   bool // new fields become columns, and types widen
	taken  map[string]bool
	change Change
}

// same makes sure that what all files of a table have in common has not changed.
func (m *merging) same(had Schema) error {
	switch {
	case !slices.Equal(had.Path, m.s.Path):
		return fmt.Errorf("its task keys are %s in the lake and %s in the spec", list(had.Path), list(m.s.Path))
	case had.Template != m.s.Template:
		return fmt.Errorf("its files stand at %s, and lake.path says %s", had.Template, m.s.Template)
	case len(had.Key) > 0 && !slices.Equal(had.Key, m.s.Key):
		return fmt.Errorf("its natural key is %s in the lake and %s in the spec", list(had.Key), list(m.s.Key))
	}
	return nil
}

// keyed tells whether all fields of the natural key are columns.
func (m *merging) keyed() bool {
	for _, field := range m.s.Key {
		if !slices.ContainsFunc(m.s.Columns, func(c columns.Column) bool { return c.Field == field }) {
			return false
		}
	}
	return true
}

// declare puts a declared column in its place.
func (m *merging) declare(c vendorapi.LakeColumn) error {
	t, err := columns.ParseType(c.Type)
	if err != nil {
		return fmt.Errorf("column %s: %w", c.Name, err)
	}
	for i, have := range m.s.Columns {
		if have.Field != c.Name {
			continue
		}
		if have.Type != t {
			return fmt.Errorf("column %s is published as %s, and declared as %s", c.Name, have.Type, t)
		}
		m.s.Columns[i].Declared = true
		return nil
	}
	m.add(columns.Column{Field: c.Name, Type: t, Declared: true})
	return nil
}

func (m *merging) add(c columns.Column) {
	c.Name = columnName(c.Field, m.taken)
	m.taken[strings.ToLower(c.Name)] = true
	m.s.Columns = append(m.s.Columns, c)
	m.change.New = append(m.change.New, c.Name)
}

// field takes a field that rows have into account.
func (m *merging) field(field string, seen columns.FieldSeen) error {
	at := slices.IndexFunc(m.s.Columns, func(c columns.Column) bool { return c.Field == field })
	switch {
	case at >= 0 && m.s.Columns[at].Declared:
		m.s.Columns[at].Kinds |= seen.Kinds
		return nil
	case at >= 0:
		return m.widen(&m.s.Columns[at], seen)
	case seen.Kinds&^columns.Null == 0:
		m.change.Empty = append(m.change.Empty, field)
		return nil
	case m.open && len(m.s.Columns) < mostColumns:
		m.add(columns.Column{Field: field, Type: seen.Kinds.Type(), Kinds: seen.Kinds})
		return nil
	case m.spec.Contract == "freeze":
		return fmt.Errorf("field %q is new (%s, such as %s), and the contract is freeze: declare it, or take another contract", field, seen.Kinds, example(seen))
	}
	m.change.Left = append(m.change.Left, field)
	return nil
}

// widen unites the kinds of a column whose type was inferred.
func (m *merging) widen(c *columns.Column, seen columns.FieldSeen) error {
	kinds := c.Kinds | seen.Kinds
	t := kinds.Type()
	switch {
	case t == c.Type:
		c.Kinds = kinds
	case m.open:
		m.change.Widened = append(m.change.Widened, fmt.Sprintf("%s: %s -> %s", c.Name, c.Type, t))
		c.Kinds, c.Type = kinds, t
	case m.spec.Contract == "freeze":
		return fmt.Errorf("column %s is %s, and now there are other values (%s, such as %s), and the contract is freeze: declare it as %s, or take another contract", c.Name, c.Type, seen.Kinds, example(seen), t)
	}
	return nil // variant: what does not fit goes to _variant
}

// example is a value that says why, for people.
func example(seen columns.FieldSeen) string {
	for _, kind := range slices.Backward(sortedKeys(seen.Examples)) {
		if kind != "null" {
			return seen.Examples[kind]
		}
	}
	return "null"
}

// takenNames are the columns that every row of a table has, and those that
// engines make of its directories, in lower case.
func takenNames(path []string, template string) map[string]bool {
	taken := map[string]bool{"_run": true, "_generation": true, "_source": true, "_upload": true, "_fetched_at": true, "_key": true, "_variant": true}
	for _, tier := range path {
		taken["_"+tier] = true
	}
	for place := range strings.SplitSeq(template, "/") {
		if name, _, ok := strings.Cut(place, "="); ok {
			taken[strings.ToLower(name)] = true
		}
	}
	return taken
}

// columnName is what a field's column is called: as the field, if engines can
// live with that. They do not tell capitals from small letters, want no control
// characters and at most 255 bytes. A name that is taken gets an underscore.
func columnName(field string, taken map[string]bool) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return '_'
		}
		return r
	}, field)
	if name == "" {
		name = "unnamed"
	}
	if len(name) > 200 {
		sum := sha256.Sum256([]byte(name))
		name = strings.ToValidUTF8(name[:190], "") + "_" + hex.EncodeToString(sum[:4])
	}
	for taken[strings.ToLower(name)] {
		name += "_"
	}
	return name
}

func list(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
