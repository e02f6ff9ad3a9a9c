package columns_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/columns/columnstest"
)

// read reads the data columns of a published file, and _variant.
func read(file []byte) (cols map[string][]any, err error) {
	cols = map[string][]any{}
	err = columns.Each(context.Background(), bytes.NewReader(file), int64(len(file)), func(names []string, values []any) error {
		for i, name := range names {
			cols[name] = append(cols[name], values[i])
		}
		return nil
	})
	return cols, err
}

// same compares values; NaN is NaN, and -0 is not 0.
func same(a, b any) bool {
	x, ok := a.(float64)
	if y, ok2 := b.(float64); ok && ok2 {
		return math.Float64bits(x) == math.Float64bits(y) || math.IsNaN(x) && math.IsNaN(y)
	}
	if x, ok := a.(time.Time); ok {
		y, ok := b.(time.Time)
		return ok && x.Equal(y)
	}
	return reflect.DeepEqual(a, b)
}

func short(v any) string {
	s := fmt.Sprintf("%T %v", v, v)
	return s[:min(len(s), 200)]
}

// hold says in what a published file differs from what a case wants.
func hold(c columnstest.Case, file []byte) error {
	cols, err := read(file)
	if err != nil {
		return err
	}
	want := append([]columnstest.Column(nil), c.Want...)
	if c.Misfits != nil {
		want = append(want, columnstest.Column{Name: "_variant", Values: c.Misfits})
	}
	const lineage = 6
	if len(cols) != lineage+len(want) {
		return fmt.Errorf("%d columns, want %d beside the lineage", len(cols), len(want))
	}
	for _, w := range want {
		have := cols[w.Name]
		if len(have) != len(w.Values) {
			return fmt.Errorf("column %q has %d values, want %d", w.Name, len(have), len(w.Values))
		}
		for i, v := range w.Values {
			if !same(v, have[i]) {
				return fmt.Errorf("row %d: column %q is %s, want %s", i, w.Name, short(have[i]), short(v))
			}
		}
	}
	return nil
}

// TestCases: what comes in is read back exactly, by each way through.
func TestCases(t *testing.T) {
	cases := columnstest.Cases()
	if len(cases) < 25 {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			ways := map[string][][]int{"as they came": columnstest.Batches(c), "in one file": {nil}, "each in a file, backwards": nil}
			n := 0
			for _, file := range c.Files {
				for range file {
					ways["in one file"][0] = append(ways["in one file"][0], n)
					ways["each in a file, backwards"] = append([][]int{{n}}, ways["each in a file, backwards"]...)
					n++
				}
			}
			for way, batches := range ways {
				if err := caseBy(c, batches); err != nil {
					t.Errorf("%s: %v", way, err)
				}
			}
		})
	}
}

func caseBy(c columnstest.Case, batches [][]int) error {
	in, seen, err := columnstest.Stage(c, batches)
	if err != nil {
		return err
	}
	s, err := columnstest.Schema(c, seen)
	if err != nil {
		return err
	}
	if len(s.Columns) != len(c.Want) {
		return fmt.Errorf("%d columns, want %d", len(s.Columns), len(c.Want))
	}
	for i, w := range c.Want {
		if have := s.Columns[i]; have.Name != w.Name || have.Type.String() != w.Type {
			return fmt.Errorf("column %d is %q %s, want %q %s", i, have.Name, have.Type, w.Name, w.Type)
		}
	}
	file, made, err := columnstest.Publish(c, batches)
	if err != nil {
		return err
	}
	if c.Misfits == nil && len(made.Misfits) > 0 {
		return fmt.Errorf("misfits: %v", made.Misfits)
	}
	if err := hold(c, file); err != nil {
		return err
	}
	// Through gathering, twice, to the same bytes.
	gathered, err := gatherAll(in, columnstest.Path, 2)
	if err != nil {
		return fmt.Errorf("gather: %w", err)
	}
	var again memory
	if _, err := columns.Cast(context.Background(), gathered, s, 128<<20, again.next); err != nil {
		return err
	}
	if !bytes.Equal(again.files[0].Bytes(), file) {
		return fmt.Errorf("a gathered file is published as other bytes")
	}
	return nil
}

// memory holds published files.
type memory struct{ files []*memoryFile }

type memoryFile struct {
	bytes.Buffer
	closed bool
}

func (f *memoryFile) Close() error { f.closed = true; return nil }

func (m *memory) next() (columns.File, error) {
	f := &memoryFile{}
	m.files = append(m.files, f)
	return f, nil
}

// gatherAll merges inputs by so many until one is left.
func gatherAll(in []columns.Input, path []string, by int) ([]columns.Input, error) {
	for pass := 0; len(in) > 1 || pass == 0; pass++ {
		var out []columns.Input
		for len(in) > 0 {
			n := min(by, len(in))
			var file bytes.Buffer
			if _, err := columns.Gather(context.Background(), &file, path, in[:n]); err != nil {
				return nil, err
			}
			out = append(out, columns.Input{File: bytes.NewReader(file.Bytes()), Size: int64(file.Len())})
			in = in[n:]
		}
		in = out
	}
	return in, nil
}
