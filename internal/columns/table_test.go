package columns_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
	"github.com/sluicehq/sluice/internal/columns"
)

// object is a landed object of records, one for each path.
func object(t *testing.T, id string, rows int, paths ...[]string) columns.Input {
	t.Helper()
	s := columns.NewStaging("vendor", "run-1", id, []string{"groups", "devices"})
	for rec, path := range paths {
		s.Begin(rec, columns.Record{Path: path, Task: "t-" + path[1], Fetch: "f", Chunk: rec % 2, Page: rec % 3, At: time.Unix(1_772_359_200, int64(rec)*1000).UTC()})
		for i := range rows {
			if err := s.Add(fmt.Appendf(nil, `{"n":%d,"name":"name %d","ratio":%d.5}`, i, i%10, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	var file bytes.Buffer
	if _, err := s.Write(&file); err != nil {
		t.Fatal(err)
	}
	return columns.Input{Name: id, File: bytes.NewReader(file.Bytes()), Size: int64(file.Len())}
}

func tableOf() columns.Schema {
	return columns.Schema{Path: []string{"groups", "devices"}, Run: "run-1", Generation: "gen-1", Source: "vendor", Key: []string{"name", "n"}, Columns: []columns.Column{
		{Name: "N", Field: "n", Type: columns.TypeInt}, {Name: "name", Field: "name", Type: columns.TypeText}, {Name: "later", Field: "later"}, {Name: "ratio", Field: "ratio", Type: columns.TypeDouble}}}
}

// TestLineage: columns stand in order under their names, rows in the order of
// their keys with where they came from, and only those of records that count.
func TestLineage(t *testing.T) {
	a := object(t, "obj-a", 2, []string{"b", "x"}, []string{"a", "z"}, []string{"é", "x"}, []string{"a", "dropped"})
	b := object(t, "obj-b", 2, []string{"a", "zz"}, []string{"B", "x"})
	a.Keep = func(rec int32) bool { return rec != 3 }
	var out memory
	made, err := columns.Cast(context.Background(), []columns.Input{a, b}, tableOf(), 1<<20, out.next)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = columns.Each(context.Background(), bytes.NewReader(out.files[0].Bytes()), int64(out.files[0].Len()), func(names []string, v []any) error {
		if want := "_run _generation _source _upload _groups _devices _fetched_at _key N name ratio"; strings.Join(names, " ") != want {
			return fmt.Errorf("columns %q, want %q", names, want)
		}
		got = append(got, fmt.Sprintf("%s %s %s %s %d", v[3], v[4], v[5], v[7], v[8]))
		if v[0] != "run-1" || v[1] != "gen-1" || v[2] != "vendor" || !v[6].(time.Time).After(time.Unix(1_772_359_199, 0)) {
			return fmt.Errorf("lineage %v", v)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, r := range []string{"obj-b B x", "obj-a a z", "obj-b a zz", "obj-a b x", "obj-a é x"} {
		for i := range 2 {
			want = append(want, fmt.Sprintf(`%s ["name %d",%d] %d`, r, i, i, i))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("rows\n%q, want\n%q", got, want)
	}
	m := made[0]
	if m.Rows != 10 || !slices.Equal(m.Least, []string{"B", "x"}) || !slices.Equal(m.Greatest, []string{"é", "x"}) || m.SHA256 != fmt.Sprintf("%x", sha256.Sum256(out.files[0].Bytes())) || m.Bytes != int64(out.files[0].Len()) {
		t.Errorf("made %+v", m)
	}
}

// TestLayout: what is written is as readers need it: compressed, in bounded
// row groups, with least and greatest values, in files of about the target.
func TestLayout(t *testing.T) {
	var paths [][]string
	for i := range 40 {
		paths = append(paths, []string{fmt.Sprintf("g%02d", i/10), fmt.Sprintf("d%03d", i)})
	}
	in := []columns.Input{object(t, "obj-a", 1500, paths[:20]...), object(t, "obj-b", 100, paths[20:]...)}
	staged := check(t, in[0].File, in[0].Size, 4<<20)
	if staged != 20*1500 {
		t.Errorf("%d rows staged", staged)
	}
	check(t, in[1].File, in[1].Size, 4<<20)
	for _, target := range []int64{1, 128 << 20} {
		var out memory
		made, err := columns.Cast(context.Background(), in, tableOf(), target, out.next)
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		var last []string
		for i, m := range made {
			f := out.files[i]
			if !f.closed || check(t, bytes.NewReader(f.Bytes()), int64(f.Len()), 32<<20) != m.Rows {
				t.Errorf("file %d is not closed or has not %d rows", i, m.Rows)
			}
			if rows += m.Rows; last != nil && slices.Compare(last, m.Least) > 0 {
				t.Errorf("file %d begins with %q after %q", i, m.Least, last)
			}
			last = m.Greatest
			if i < len(made)-1 && m.Bytes > 2*max(target, 60_000) {
				t.Errorf("file %d has %d bytes, the target is %d", i, m.Bytes, target)
			}
		}
		if rows != 32000 || len(made) != len(out.files) || (len(made) == 1) != (target == 128<<20) {
			t.Errorf("%d rows in %d files with a target of %d", rows, len(made), target)
		}
	}
}

// check looks at a file as another reader would, and counts its rows.
func check(t *testing.T, at io.ReaderAt, size int64, group int64) int {
	t.Helper()
	f, err := parquet.OpenFile(at, size)
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range f.Metadata().RowGroups {
		if g.TotalByteSize > group {
			t.Errorf("row group %d has %d bytes, more than %d", i, g.TotalByteSize, group)
		}
		for j, c := range g.Columns {
			m := c.MetaData
			name := strings.Join(m.PathInSchema, ".")
			if m.Codec != format.Zstd {
				t.Errorf("%s is packed by %s", name, m.Codec)
			}
			if s := m.Statistics; s.NullCount < m.NumValues && (s.MinValue == nil || s.MaxValue == nil) {
				t.Errorf("%s has no least and greatest value: %q to %q", name, s.MinValue, s.MaxValue)
			}
			if strings.HasPrefix(name, "_") && name != "_row" && name != "_key" && !slices.Contains(m.Encoding, format.RLEDictionary) {
				t.Errorf("%s has no dictionary: %v", name, m.Encoding)
			}
			if f.OffsetIndexes()[i*len(g.Columns)+j].PageLocations == nil {
				t.Errorf("%s has no page index", name)
			}
		}
	}
	return int(f.NumRows())
}

// TestSameBytes: the same input writes the same bytes.
func TestSameBytes(t *testing.T) {
	in := object(t, "obj-a", 500, []string{"a", "b"}, []string{"a", "a"})
	again := object(t, "obj-a", 500, []string{"a", "b"}, []string{"a", "a"})
	one, two := make([]byte, in.Size), make([]byte, again.Size)
	in.File.ReadAt(one, 0)
	again.File.ReadAt(two, 0)
	if !bytes.Equal(one, two) {
		t.Error("staged files differ")
	}
	var files [2]memory
	var gathered [2]bytes.Buffer
	for i := range 2 {
		if _, err := columns.Cast(context.Background(), []columns.Input{in}, tableOf(), 1<<20, files[i].next); err != nil {
			t.Fatal(err)
		}
		if _, err := columns.Gather(context.Background(), &gathered[i], []string{"groups", "devices"}, []columns.Input{in, again}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0].files[0].Bytes(), files[1].files[0].Bytes()) || !bytes.Equal(gathered[0].Bytes(), gathered[1].Bytes()) {
		t.Error("published or gathered files differ")
	}
	// What is known of a column beside its type is in no file, and a gathered
	// input is as good as what it was gathered from.
	known := tableOf()
	for i := range known.Columns {
		known.Columns[i].Kinds, known.Columns[i].Declared = columns.Null|columns.Wide, true
	}
	wider := func(s columns.Schema) columns.Schema {
		s.Columns = slices.Clone(s.Columns)
		s.Generation, s.Columns[0].Type = "gen-2", columns.TypeText
		return s
	}
	other := object(t, "obj-b", 100, []string{"a", "ab"})
	both := []columns.Input{in, other}
	merged, err := gatherAll(both, []string{"groups", "devices"}, 2)
	if err != nil {
		t.Fatal(err)
	}
	var want memory
	columns.Cast(context.Background(), both, tableOf(), 1<<20, want.next)
	for name, s := range map[string]struct {
		in     []columns.Input
		schema columns.Schema
	}{"kinds": {both, known}, "gathered": {merged, tableOf()}} {
		var out memory
		if _, err := columns.Cast(context.Background(), s.in, s.schema, 1<<20, out.next); err != nil || !bytes.Equal(out.files[0].Bytes(), want.files[0].Bytes()) {
			t.Errorf("%s: published files differ (%v)", name, err)
		}
		var recast [2]bytes.Buffer
		for i, schema := range []columns.Schema{wider(tableOf()), wider(s.schema)} {
			if _, err := columns.Recast(context.Background(), bytes.NewReader(out.files[0].Bytes()), int64(out.files[0].Len()), schema, &recast[i]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(recast[0].Bytes(), recast[1].Bytes()) {
			t.Errorf("%s: recast files differ", name)
		}
	}
}

// TestParts: a landed object may be staged in parts, cut where it likes.
func TestParts(t *testing.T) {
	s := columns.NewStaging("vendor", "run-1", "obj", []string{"groups", "devices"})
	var in []columns.Input
	part := func() {
		var file bytes.Buffer
		staged, err := s.Write(&file)
		if err != nil || s.Rows() != 0 || s.Size() != 0 {
			t.Fatalf("%v, %d rows and %d bytes stay", err, s.Rows(), s.Size())
		}
		if n := staged.Fields["n"]; n.Rows != staged.Rows || n.Kinds != columns.Int || n.Examples["int"] == "" {
			t.Errorf("n was seen as %+v", n)
		}
		in = append(in, columns.Input{File: bytes.NewReader(file.Bytes()), Size: int64(file.Len())})
	}
	for rec, key := range []string{"b", "a"} {
		s.Begin(rec, columns.Record{Path: []string{"g", key}})
		for i := range 100 {
			if err := s.Add(fmt.Appendf(nil, `{"n":%d,"late%d":true}`, i, i/40)); err != nil {
				t.Fatal(err)
			}
			if i%30 == 29 {
				if size := s.Size(); size < 1000 {
					t.Errorf("%d bytes", size)
				}
				part()
			}
		}
	}
	part()
	slices.Reverse(in)
	schema := tableOf()
	schema.Key, schema.Columns = nil, schema.Columns[:1]
	var out memory
	if _, err := columns.Cast(context.Background(), in, schema, 1<<20, out.next); err != nil {
		t.Fatal(err)
	}
	cols, err := read(out.files[0].Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range cols["N"] {
		if n != int64(i%100) || cols["_devices"][i] != string("ab"[i/100]) {
			t.Fatalf("row %d is %v of %v", i, n, cols["_devices"][i])
		}
	}
	if len(cols["N"]) != 200 {
		t.Errorf("%d rows", len(cols["N"]))
	}
}

// TestRefused: what cannot be right is said before anything is written.
func TestRefused(t *testing.T) {
	in := []columns.Input{object(t, "obj-a", 3, []string{"a", "b"})}
	broken := errors.New("the disk is full")
	for name, change := range map[string]func(*columns.Schema){
		"two columns are named":       func(s *columns.Schema) { s.Columns[1].Name = "n" },
		`are named "_GROUPS"`:         func(s *columns.Schema) { s.Columns[1].Name = "_GROUPS" },
		"take the field":              func(s *columns.Schema) { s.Columns[1].Field = "n" },
		`no column takes the field "`: func(s *columns.Schema) { s.Key = []string{"later"} },
		"its tiers are":               func(s *columns.Schema) { s.Path = []string{"groups"} },
	} {
		s := tableOf()
		change(&s)
		_, err := columns.Cast(context.Background(), in, s, 1<<20, func() (columns.File, error) { t.Error("a file was asked for"); return nil, broken })
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
	if _, err := columns.Cast(context.Background(), in, tableOf(), 1<<20, func() (columns.File, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("no file: %v", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(broken)
	var out memory
	if _, err := columns.Cast(ctx, in, tableOf(), 1<<20, out.next); !errors.Is(err, broken) {
		t.Errorf("cancelled: %v", err)
	}
	if made, err := columns.Cast(context.Background(), nil, tableOf(), 1<<20, out.next); err != nil || len(made) != 0 {
		t.Errorf("of nothing %v was made: %v", made, err)
	}
}

// TestNothing: files of no rows are files like others.
func TestNothing(t *testing.T) {
	a := object(t, "obj-a", 3, []string{"a", "b"})
	a.Keep = func(int32) bool { return false }
	var empty bytes.Buffer
	staged, err := columns.Gather(context.Background(), &empty, []string{"groups", "devices"}, []columns.Input{a})
	if err != nil || staged.Rows != 0 || len(staged.Fields) != 0 {
		t.Fatalf("%+v, %v", staged, err)
	}
	in := columns.Input{File: bytes.NewReader(empty.Bytes()), Size: int64(empty.Len())}
	b := object(t, "obj-b", 3, []string{"a", "c\xff"})
	var out memory
	if made, err := columns.Cast(context.Background(), []columns.Input{in, a}, tableOf(), 1<<20, out.next); err != nil || len(made) != 0 {
		t.Errorf("of nothing %v was made: %v", made, err)
	}
	if made, err := columns.Cast(context.Background(), []columns.Input{in, b}, tableOf(), 1<<20, out.next); err != nil || made[0].Rows != 3 {
		t.Errorf("%v was made: %v", made, err)
	}
	if cols, err := read(out.files[0].Bytes()); err != nil || cols["_devices"][0] != `c\udcff` {
		t.Errorf("a key that is no text is %q, %v", cols["_devices"], err)
	}
	s := columns.NewStaging("vendor", "run-1", "obj", nil)
	s.Begin(0, columns.Record{})
	empty.Reset()
	if staged, err := s.Write(&empty); err != nil || staged.Rows != 0 {
		t.Errorf("%+v, %v", staged, err)
	}
	if rows, err := columns.Tokens(bytes.NewReader(empty.Bytes()), int64(empty.Len()), nil); err != nil || len(rows) != 0 {
		t.Errorf("%v, %v", rows, err)
	}
}

// TestMisfits: without _variant misfits are counted all the same, with the
// first of them by key.
func TestMisfits(t *testing.T) {
	s := columns.NewStaging("vendor", "run-1", "obj", nil)
	s.Begin(0, columns.Record{})
	for _, row := range []string{`{"v":1}`, `{"v":"` + strings.Repeat("ü", 100) + `","new":1}`, `{"v":[2],"new":null}`} {
		s.Add([]byte(row))
	}
	var file bytes.Buffer
	s.Write(&file)
	var out memory
	made, err := columns.Cast(context.Background(), []columns.Input{{File: bytes.NewReader(file.Bytes()), Size: int64(file.Len())}},
		columns.Schema{Columns: []columns.Column{{Name: "v", Field: "v", Type: columns.TypeInt}}}, 1<<20, out.next)
	if err != nil {
		t.Fatal(err)
	}
	v, isNew := made[0].Misfits["v"], made[0].Misfits["new"]
	if v.Rows != 2 || v.Kinds != columns.Text|columns.Nested || v.Example != `"`+strings.Repeat("ü", 39) || v.Upload != "obj" {
		t.Errorf("misfits of v: %+v", v)
	}
	if isNew.Rows != 1 || isNew.Kinds != columns.Int || isNew.Example != "1" || len(made[0].Misfits) != 2 {
		t.Errorf("misfits: %+v", made[0].Misfits)
	}
}

// TestDoubles: a double made from digits is the one that a parser makes.
func TestDoubles(t *testing.T) {
	var rows []string
	for i := range 2000 {
		rows = append(rows, fmt.Sprintf("%.*f", i%12, math.Sin(float64(i))*1000))
	}
	s := columns.NewStaging("vendor", "run-1", "obj", nil)
	s.Begin(0, columns.Record{})
	for _, n := range rows {
		s.Add([]byte(`{"v":` + n + `}`))
	}
	var file bytes.Buffer
	s.Write(&file)
	var out memory
	if _, err := columns.Cast(context.Background(), []columns.Input{{File: bytes.NewReader(file.Bytes()), Size: int64(file.Len())}},
		columns.Schema{Columns: []columns.Column{{Name: "v", Field: "v", Type: columns.TypeDouble}}}, 1<<20, out.next); err != nil {
		t.Fatal(err)
	}
	cols, _ := read(out.files[0].Bytes())
	for i, n := range rows {
		var want float64
		fmt.Sscan(n, &want)
		if !same(cols["v"][i], want) {
			t.Fatalf("%s is %v", n, cols["v"][i])
		}
	}
}
