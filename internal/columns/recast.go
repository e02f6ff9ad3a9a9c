package columns

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// Recast rewrites a published file with a wider schema and the schema's
// generation: bool, int, double and json become text, int becomes double, new
// columns are null. Run and source stay what they were. What would lose
// something is refused.
func Recast(ctx context.Context, in io.ReaderAt, size int64, s Schema, w io.Writer) (Made, error) {
	r, old, err := openPublished(in, size)
	if err != nil {
		return Made{}, fmt.Errorf("recast: %w", err)
	}
	defer r.close()
	s.Variant = s.Variant || old.Variant
	s.Run, s.Source = old.Run, old.Source
	meta, err := metadataOf(&s)
	if err != nil {
		return Made{}, fmt.Errorf("recast: %w", err)
	}
	meta.Plain = old.Plain
	k, err := newRecasting(r, old, meta)
	if err != nil {
		return Made{}, fmt.Errorf("recast: %w", err)
	}
	if k.making, err = meta.make(w, publishedLayout.group); err != nil {
		return Made{}, err
	}
	for rows := 0; ; rows++ {
		if rows&1023 == 0 && ctx.Err() != nil {
			return Made{}, context.Cause(ctx)
		}
		ok, err := r.next()
		if err != nil {
			return Made{}, fmt.Errorf("recast: %w", err)
		}
		if !ok {
			return k.finish()
		}
		if err := k.row(); err != nil {
			return Made{}, fmt.Errorf("recast row %d: %w", rows, err)
		}
		if _, err := k.end(); err != nil {
			return Made{}, fmt.Errorf("write a published file: %w", err)
		}
	}
}

// recasting rewrites rows.
type recasting struct {
	*making
	from     *reader
	old, new *publishedMetadata
	was, now places
	column   []int // of each new column: the old one, or -1
	keyed    []int
	keys     []string
	token    []byte
}

func newRecasting(r *reader, old, meta *publishedMetadata) (*recasting, error) {
	if !slices.Equal(old.Path, meta.Path) {
		return nil, fmt.Errorf("its tiers are %q, not %q", old.Path, meta.Path)
	}
	k := &recasting{from: r, old: old, new: meta, was: old.places(), now: meta.places()}
	byField := map[string]int{}
	for i, c := range old.Columns {
		byField[c.Field] = i
	}
	for _, c := range meta.Columns {
		at, ok := byField[c.Field]
		if !ok {
			k.column = append(k.column, -1)
			continue
		}
		if was := old.Columns[at].Type; !widens(was, c.Type) {
			return nil, fmt.Errorf("column %s is %s and cannot become %s", c.Name, was, c.Type)
		}
		k.column = append(k.column, at)
		delete(byField, c.Field)
	}
	for _, c := range old.Columns {
		if _, ok := byField[c.Field]; ok {
			return nil, fmt.Errorf("the schema has no column for the field %q", c.Field)
		}
	}
	for _, field := range meta.Key {
		k.keyed = append(k.keyed, slices.IndexFunc(meta.Columns, func(c Column) bool { return c.Field == field }))
	}
	return k, nil
}

// widens says whether every value of a type is one of the other.
func widens(from, to Type) bool {
	if from == to {
		return true
	}
	switch from {
	case TypeInt:
		return to == TypeDouble || to == TypeText
	case TypeBool, TypeDouble, TypeJSON:
		return to == TypeText
	}
	return from.IsTime() && to.IsTime()
}

func (k *recasting) row() error {
	for i := range k.was.at {
		k.copied(i, k.from.value(i).ByteArray(), 0)
	}
	generation := k.values[1]
	generation[len(generation)-1] = parquet.ByteArrayValue([]byte(k.new.Generation)).Level(0, 0, 1)
	k.record()
	k.set(k.now.at, *k.from.value(k.was.at), 0)
	for i, at := range k.column {
		col := k.now.data + i
		if at < 0 || k.from.value(k.was.data+at).IsNull() {
			k.null(col)
			continue
		}
		if err := k.value(col, k.old.Columns[at].Type, k.new.Columns[i], k.from.value(k.was.data+at)); err != nil {
			return err
		}
	}
	if k.now.variant >= 0 {
		if k.was.variant >= 0 && !k.from.value(k.was.variant).IsNull() {
			k.copied(k.now.variant, k.from.value(k.was.variant).ByteArray(), 1)
		} else {
			k.null(k.now.variant)
		}
	}
	if k.now.key >= 0 {
		k.key()
	}
	return nil
}

// record counts the row by its path.
func (k *recasting) record() {
	same := k.keys != nil
	for i := range k.old.Path {
		same = same && k.keys[i] == string(k.from.value(k.was.tiers+i).ByteArray())
	}
	if !same {
		k.keys = make([]string, len(k.old.Path))
		for i := range k.keys {
			k.keys[i] = string(k.from.value(k.was.tiers + i).ByteArray())
		}
	}
	k.path(k.keys)
}

func (k *recasting) value(col int, from Type, to Column, v *parquet.Value) error {
	switch {
	case from == TypeInt && to.Type == TypeDouble:
		n := v.Int64()
		if n < -maxExact || n > maxExact {
			return fmt.Errorf("column %s: %d is not exact as a double", to.Name, n)
		}
		k.set(col, parquet.DoubleValue(float64(n)), 1)
	case v.Kind() == parquet.ByteArray:
		k.copied(col, v.ByteArray(), 1)
	case from != to.Type && to.Type == TypeText:
		k.copied(col, textOf(from, v), 1)
	default:
		k.set(col, *v, 1)
	}
	return nil
}

// textOf is a bool, an int or a double as text.
func textOf(t Type, v *parquet.Value) []byte {
	text := appendValue(nil, t, v)
	if text[0] == '"' { // NaN and the infinities
		text = text[1 : len(text)-1]
	}
	return text
}

func (k *recasting) key() {
	k.token = append(k.token[:0], '[')
	for i, at := range k.keyed {
		if i > 0 {
			k.token = append(k.token, ',')
		}
		values := k.values[k.now.data+at]
		k.token = appendValue(k.token, k.new.Columns[at].Type, &values[len(values)-1])
	}
	k.copied(k.now.key, append(k.token, ']'), 0)
}
