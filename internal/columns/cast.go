package columns

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
)

// Cast merges sorted staged inputs into typed files. next is asked for a file
// whenever one is needed; a file ends when it has about target bytes. It
// returns what was made, also with an error: those files are whole and closed.
// The file that an error met is left as it is, half written and not closed:
// whoever gave it knows how to be rid of it.
func Cast(ctx context.Context, in []Input, s Schema, target int64, next func() (File, error)) ([]Made, error) {
	return CastOn(ctx, in, s, 0, target, next)
}

// CastOn goes on where a Cast of the same inputs has ended early: done is how
// many rows its files have. It makes the files that would have followed.
func CastOn(ctx context.Context, in []Input, s Schema, done int, target int64, next func() (File, error)) (made []Made, err error) {
	meta, err := metadataOf(&s)
	if err != nil {
		return nil, fmt.Errorf("cast: %w", err)
	}
	m, err := openMerge(ctx, in, s.Path)
	if err != nil {
		return nil, fmt.Errorf("cast: %w", err)
	}
	defer m.close()
	meta.encode(m.all)
	k := newCasting(meta)
	for _, c := range m.all {
		c.plan = k.plan(c)
	}
	c, err := m.next()
	for ; done > 0 && c != nil && err == nil; done-- {
		c, err = m.next()
	}
	for c != nil && err == nil {
		var one Made
		if one, c, err = k.file(m, c, target, next); err == nil {
			made = append(made, one)
		}
	}
	if err != nil {
		return made, fmt.Errorf("cast: %w", err)
	}
	return made, nil
}

// file writes one file, beginning with the row that c stands on, and says
// where the next begins.
func (k *casting) file(m *merge, c *cursor, target int64, next func() (File, error)) (made Made, on *cursor, err error) {
	f, err := next()
	if err != nil {
		return made, nil, err
	}
	if k.making, err = k.meta.make(f, int(min(target, 1<<30))); err != nil {
		return made, nil, err
	}
	k.keys = nil
	groups := int64(0)
	for c != nil {
		if err := k.row(c); err != nil {
			return made, nil, err
		}
		full, err := k.end()
		if err != nil {
			return made, nil, fmt.Errorf("write a published file: %w", err)
		}
		if c, err = m.next(); err != nil {
			return made, nil, err
		}
		if full {
			if groups++; k.out.n+k.out.n/groups/2 >= target { // as near as another group comes
				break
			}
		}
	}
	if made, err = k.finish(); err != nil {
		return made, nil, err
	}
	if err := f.Close(); err != nil {
		return made, nil, fmt.Errorf("close a published file: %w", err)
	}
	return made, c, nil
}

// casting casts rows.
type casting struct {
	meta   *publishedMetadata
	places places
	casts  []func(*fitter, cell) (parquet.Value, bool)
	byName map[string]int // the column that takes a field
	keyed  []int          // the columns of the natural key
	fitter fitter
	*making
	keys    []string // the path of the record
	shown   [][]byte // the same, as Unicode text
	scanner scanner
	others  []cell // of the row, by column: those found in the rest
	misfits []misfit

	constants           [][]byte
	token, name, object []byte // scratch
}

// misfit is a value for _variant.
type misfit struct {
	name []byte // quoted
	cell cell
}

// plan is where an input has the fields of the columns, and what it has beside
// them.
type plan struct {
	columns []*parts
	extra   []int
}

func newCasting(m *publishedMetadata) *casting {
	k := &casting{meta: m, places: m.places(), byName: map[string]int{}, others: make([]cell, len(m.Columns)),
		constants: [][]byte{[]byte(m.Run), []byte(m.Generation), []byte(m.Source)}}
	for i, c := range m.Columns {
		k.byName[c.Field] = i
		k.casts = append(k.casts, fitterOf(c.Type))
	}
	for _, field := range m.Key {
		k.keyed = append(k.keyed, k.byName[field])
	}
	return k
}

func (k *casting) plan(c *cursor) (p plan) {
	p.columns = make([]*parts, len(k.meta.Columns))
	for i, s := range c.meta.Fields {
		if at, ok := k.byName[s.Name]; ok {
			p.columns[at] = &c.fields[i]
		} else {
			p.extra = append(p.extra, i)
		}
	}
	return p
}

// row casts the row that a cursor stands on.
func (k *casting) row(c *cursor) (err error) {
	defer guard(c.name, &err)
	if !c.goes || k.keys == nil {
		k.record(c)
	}
	k.path(k.keys)
	for i, b := range k.constants {
		k.bytes(i, b, 0)
	}
	k.copied(len(k.constants), c.line.upload, 0)
	for i, key := range k.shown {
		k.bytes(k.places.tiers+i, key, 0)
	}
	k.set(k.places.at, parquet.Int64Value(c.line.at), 0)
	k.misfits = k.misfits[:0]
	if c.rest >= 0 {
		if v := c.value(c.rest); !v.IsNull() {
			if err := k.rest(v.ByteArray()); err != nil {
				return err
			}
		}
	}
	k.data(c)
	for _, i := range c.plan.extra {
		if v := c.cell(&c.fields[i]); v.form > formNull {
			k.misfit(quote(nil, c.meta.Fields[i].Name), v)
		}
	}
	k.variant(c)
	k.key()
	return nil
}

// record takes the path of a record.
func (k *casting) record(c *cursor) {
	k.keys, k.shown = make([]string, len(c.line.path)), make([][]byte, len(c.line.path))
	for i, key := range c.line.path {
		k.keys[i] = string(key)
		k.shown[i] = clean(nil, key)
	}
}

// data casts the values that have columns.
func (k *casting) data(c *cursor) {
	for i, p := range c.plan.columns {
		v := k.others[i]
		k.others[i] = cell{}
		if p != nil && v.form == formNone {
			v = c.cell(p)
		}
		col := k.places.data + i
		if v.form <= formNull {
			k.null(col)
			continue
		}
		fitted, ok := k.casts[i](&k.fitter, v)
		switch {
		case !ok:
			k.null(col)
			k.misfit(quote(nil, k.meta.Columns[i].Field), v)
		case fitted.Kind() == parquet.ByteArray:
			k.copied(col, fitted.ByteArray(), 1)
		default:
			k.set(col, fitted, 1)
		}
	}
}

// rest looks through the fields of the row that have no column in its file:
// here they may.
func (k *casting) rest(object []byte) error {
	for i := 1; i < len(object); {
		end, escaped, err := scanString(object, i)
		if err != nil || end >= len(object) {
			return fmt.Errorf("_rest: %w", cmp.Or(err, errCut))
		}
		raw := object[i:end]
		var c cell
		if i, c, _, err = k.scanner.value(object, end+1); err != nil {
			return fmt.Errorf("_rest: %w", err)
		}
		i++ // a comma or the end
		name, ok := raw[1:len(raw)-1], utf8.Valid(raw)
		if escaped {
			k.name, ok = unescape(k.name[:0], name)
			name = k.name
		}
		at, known := k.byName[string(name)]
		switch {
		case ok && known:
			k.others[at] = c
		case ok:
			k.misfit(quote(nil, name), c)
		default:
			k.misfit(clean(nil, raw), c)
		}
	}
	return nil
}

// misfit notes a value for _variant.
func (k *casting) misfit(name []byte, c cell) {
	k.misfits = append(k.misfits, misfit{name, c})
}

// variant writes the row's misfits, in the order of their names, and counts
// them. The last of a name counts.
func (k *casting) variant(c *cursor) {
	slices.SortStableFunc(k.misfits, func(a, b misfit) int { return bytes.Compare(a.name, b.name) })
	object := append(k.object[:0], '{')
	for i, m := range k.misfits {
		if m.cell.form == formNull || i+1 < len(k.misfits) && bytes.Equal(m.name, k.misfits[i+1].name) {
			continue
		}
		if len(object) > 1 {
			object = append(object, ',')
		}
		k.token = m.cell.token(k.token[:0])
		object = append(append(object, m.name...), ':')
		object = clean(object, k.token)
		k.count(m, c)
	}
	k.object = append(object, '}')
	switch {
	case k.places.variant < 0:
	case len(object) == 1:
		k.null(k.places.variant)
	default:
		k.copied(k.places.variant, k.object, 1)
	}
}

func (k *casting) count(m misfit, c *cursor) {
	inner := m.name[1 : len(m.name)-1]
	field := string(inner)
	if name, ok := unescape(nil, inner); ok {
		field = string(name)
	}
	if k.made.Misfits == nil {
		k.made.Misfits = map[string]Misfit{}
	}
	seen, ok := k.made.Misfits[field]
	if !ok && len(k.made.Misfits) >= MaxFields {
		field = "" // more fields than anyone reads the names of
		seen, ok = k.made.Misfits[field]
	}
	if !ok {
		seen.Example, seen.Upload = example(k.token), string(c.line.upload)
	}
	seen.Rows++
	seen.Kinds |= m.cell.kind()
	k.made.Misfits[field] = seen
}

// key writes the natural key from the values as they were cast.
func (k *casting) key() {
	if k.places.key < 0 {
		return
	}
	k.token = append(k.token[:0], '[')
	for i, at := range k.keyed {
		if i > 0 {
			k.token = append(k.token, ',')
		}
		values := k.values[k.places.data+at]
		k.token = appendValue(k.token, k.meta.Columns[at].Type, &values[len(values)-1])
	}
	k.copied(k.places.key, append(k.token, ']'), 0)
}
