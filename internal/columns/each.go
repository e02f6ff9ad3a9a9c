package columns

import (
	"context"
	"io"
	"time"

	"github.com/parquet-go/parquet-go"
)

// Each reads a published file row by row: the names of its columns, and of
// each the value as bool, int64, float64, time.Time (UTC), string (text, json,
// a date as 2006-01-02, a decimal with all its digits) or nil. Both slices are
// good until each returns.
func Each(ctx context.Context, f io.ReaderAt, size int64, each func(names []string, values []any) error) error {
	r, m, err := openPublished(f, size)
	if err != nil {
		return err
	}
	defer r.close()
	var names []string
	for _, c := range m.root().columns {
		names = append(names, c.Name())
	}
	p := m.places()
	types := make([]Type, p.all)
	for i := range types {
		types[i] = TypeText
	}
	types[p.at] = TypeTimestamp
	for i, c := range m.Columns {
		types[p.data+i] = c.Type
	}
	values := make([]any, p.all)
	for rows := 0; ; rows++ {
		if rows&1023 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ok, err := r.next(); !ok || err != nil {
			return err
		}
		for i := range values {
			values[i] = goValue(types[i], r.value(i))
		}
		if err := each(names, values); err != nil {
			return err
		}
	}
}

// goValue is a value of a published file for Go.
func goValue(t Type, v *parquet.Value) any {
	if v.IsNull() {
		return nil
	}
	switch {
	case t == TypeBool:
		return v.Boolean()
	case t == TypeInt:
		return v.Int64()
	case t == TypeDouble:
		return v.Double()
	case t == TypeDate:
		return string(appendDate(nil, v.Int32()))
	case t.IsTime():
		return time.UnixMicro(v.Int64()).UTC()
	case t.Name == "decimal":
		return string(appendScaled(nil, v.Int64(), t.Scale))
	}
	return string(v.ByteArray())
}
