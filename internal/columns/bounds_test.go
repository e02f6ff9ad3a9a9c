package columns_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/columns/columnstest"
)

// TestManyFields: fields beyond the thousandth lose nothing, whichever they
// are in a file.
func TestManyFields(t *testing.T) {
	row := func(from int) string {
		var b strings.Builder
		for i := range 700 {
			fmt.Fprintf(&b, `,"f%04d":%d.50`, from+i, from+i)
		}
		return "{" + b.String()[1:] + "}"
	}
	c := columnstest.Case{Files: [][]string{{row(0), row(600), row(1200)}}, Misfits: []any{}}
	for _, batches := range [][][]int{{{0, 1, 2}}, {{1}, {2, 0}}} {
		in, seen, err := columnstest.Stage(c, batches)
		if err != nil {
			t.Fatal(err)
		}
		for pass := range 2 {
			s := columns.Schema{Path: columnstest.Path, Variant: true}
			for i := range 950 { // a column for every other field
				name := fmt.Sprintf("f%04d", 2*i)
				s.Columns = append(s.Columns, columns.Column{Name: name, Field: name, Type: columns.TypeDouble})
			}
			var out memory
			made, err := columns.Cast(context.Background(), in, s, 128<<20, out.next)
			if err != nil {
				t.Fatal(err)
			}
			cols, err := read(out.files[0].Bytes())
			if err != nil {
				t.Fatal(err)
			}
			values := 0
			for i := range 950 {
				for j, v := range cols[fmt.Sprintf("f%04d", 2*i)] {
					if v != nil {
						values++
					}
					if has := 2*i >= 600*j && 2*i < 600*j+700; has != (v != nil) || has && v != float64(2*i)+0.5 {
						t.Fatalf("f%04d of row %d is %v", 2*i, j, v)
					}
				}
			}
			if rest := strings.Count(fmt.Sprint(cols["_variant"]), `":`); values != 3*350 || rest != 3*350 {
				t.Errorf("%d values have columns, %d stand in _variant, want 1050 each", values, rest)
			}
			if n := len(made[0].Misfits); n < 950 || n > columns.MaxFields+1 {
				t.Errorf("%d fields misfit", n)
			}
			if pass == 0 {
				if len(batches) == 1 && len(seen) != columns.MaxFields {
					t.Errorf("%d fields have columns", len(seen))
				}
				if in, err = gatherAll(in, columnstest.Path, 2); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestHostileRows: a row is refused with its reason, and what came before it
// stays, or it lands.
func TestHostileRows(t *testing.T) {
	deep := func(n int) string { return `{"v":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }
	for _, c := range []struct{ name, row, want string }{
		{"not JSON", `hello`, "no object"},
		{"a list", `[1]`, "no object"},
		{"nothing", ``, "no object"},
		{"cut", `{"v":1,"w":"x`, "too early"},
		{"cut in a name", `{"v`, "too early"},
		{"more behind it", `{"v":1} {"v":2}`, "unexpected '{'"},
		{"a comma too many", `{"v":1,}`, "unexpected '}'"},
		{"no colon", `{"v" 1}`, "unexpected '1'"},
		{"a bare name", `{v:1}`, "unexpected 'v'"},
		{"a control character", "{\"v\":\"a\nb\"}", "control character"},
		{"a bad escape", `{"v":"\x"}`, "bad escape"},
		{"a bad escape of four", `{"v":"\u12g4"}`, "bad escape"},
		{"a zero before digits", `{"v":01}`, "unexpected '1'"},
		{"a broken list", `{"v":[1,]}`, "unexpected ']'"},
		{"brackets that cross", `{"v":[{"a":1]}`, "unexpected ']'"},
		{"a literal of another language", `{"v":None}`, "unexpected 'N'"},
		{"NaN", `{"v":NaN}`, "unexpected 'N'"},
		{"too deep", deep(10000), "deeper than 10000"},
		{"much too deep", `{"v":` + strings.Repeat(`{"a":[`, 500_000), "deeper than 10000"},
		{"as deep as may be", deep(9999), ""},
		{"a number of a hundred thousand digits", `{"v":1` + strings.Repeat("0", 100_000) + `.5e-1000000}`, ""},
		{"a text of 4 MB", `{"v":"` + strings.Repeat("é", 2_000_000) + `"}`, ""},
		{"a name of 2 MB", `{"` + strings.Repeat("n", 2_000_000) + `":1}`, ""},
		{"spaces", " { \"v\" : [ 1 , { } ] }\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := columns.NewStaging("vendor", "run", "object", nil)
			s.Begin(0, columns.Record{})
			if err := s.Add([]byte(`{"v":"first"}`)); err != nil {
				t.Fatal(err)
			}
			err := s.Add([]byte(c.row))
			rows := 1
			if c.want == "" {
				rows = 2
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 250) {
				t.Errorf("%v, want %q", err, c.want)
			}
			var file bytes.Buffer
			staged, err := s.Write(&file)
			if err != nil || staged.Rows != rows {
				t.Fatalf("%d rows staged, want %d: %v", staged.Rows, rows, err)
			}
			out := columns.Schema{Variant: true, Columns: []columns.Column{{Name: "v", Field: "v", Type: columns.TypeText}}}
			var files memory
			if _, err := columns.Cast(context.Background(), []columns.Input{{File: bytes.NewReader(file.Bytes()), Size: int64(file.Len())}}, out, 1<<20, files.next); err != nil {
				t.Error(err)
			}
		})
	}
	s := columns.NewStaging("vendor", "run", "object", nil)
	if s.Add([]byte(`{}`)) == nil {
		t.Error("a row of no record was taken")
	}
	s = columns.NewStaging("vendor", "run", "object", []string{"a", "b"})
	s.Begin(0, columns.Record{Path: []string{"one"}})
	s.Add([]byte(`{}`))
	if _, err := s.Write(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "1 keys for 2 tiers") {
		t.Errorf("a record of another depth: %v", err)
	}
}

// TestExponents: a number of a megabyte is published as what it is, or not at
// all.
func TestExponents(t *testing.T) {
	const zeros = 1<<20 + 5 // beyond them it is not the digits that count but the exponent
	long := "1" + strings.Repeat("0", zeros)
	for number, want := range map[string]any{
		long + fmt.Sprintf("e-%d", zeros):                                  int64(1),
		"-0." + strings.Repeat("0", zeros) + fmt.Sprintf("12e%d", zeros+2): int64(-12),
		long + fmt.Sprintf("e-%d", zeros+1):                                0.1,
		long + "e-99999999999999999999":                                    nil,
		"1e99999999999999999999":                                           nil,
		"0e99999999999999999999":                                           int64(0),
	} {
		s := columns.NewStaging("vendor", "run", "object", nil)
		s.Begin(0, columns.Record{})
		var row strings.Builder
		types := []columns.Type{columns.TypeInt, columns.TypeTimestampUS, {Name: "decimal", Precision: 12}, columns.TypeDouble}
		schema := columns.Schema{Variant: true}
		for i, typ := range types {
			field := fmt.Sprintf("f%d", i)
			fmt.Fprintf(&row, ",%q:%s", field, number)
			schema.Columns = append(schema.Columns, columns.Column{Name: field, Field: field, Type: typ})
		}
		if err := s.Add([]byte("{" + row.String()[1:] + "}")); err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if _, err := s.Write(&file); err != nil {
			t.Fatal(err)
		}
		var out memory
		if _, err := columns.Cast(context.Background(), []columns.Input{{File: bytes.NewReader(file.Bytes()), Size: int64(file.Len())}}, schema, 1<<20, out.next); err != nil {
			t.Fatal(err)
		}
		cols, err := read(out.files[0].Bytes())
		if err != nil {
			t.Fatal(err)
		}
		want := [...]any{want, nil, nil, nil}
		switch n := want[0].(type) {
		case int64:
			want[1], want[2], want[3] = time.UnixMicro(n).UTC(), fmt.Sprint(n), float64(n)
		case float64:
			want[0], want[3] = nil, n
		}
		for i, w := range want {
			if got := cols[fmt.Sprintf("f%d", i)][0]; !same(got, w) {
				t.Errorf("%.20s...%s as %s is %v, want %v", number, number[max(0, len(number)-20):], types[i], got, w)
			}
		}
	}
}

// TestLargest: a staged file says how large its largest row is.
func TestLargest(t *testing.T) {
	s := columns.NewStaging("vendor", "run", "object", nil)
	var in []columns.Input
	for rec, name := range []string{"a", "b"} {
		s.Begin(rec, columns.Record{})
		long := fmt.Sprintf(`{"%s":"%s","n":[%s],"i":-12.50,"t":true}`, name, strings.Repeat("é", 100_000*(2-rec)), strings.Repeat("1,", 50_000)+"1")
		for _, row := range []string{`{}`, long, `{"n":1}`, `{"bad":"` + strings.Repeat("x", 1<<20)} {
			if err := s.Add([]byte(row)); (err != nil) != strings.Contains(row, "bad") {
				t.Fatal(err)
			}
		}
		var file bytes.Buffer
		staged, err := s.Write(&file)
		if err != nil || staged.Largest != len(long) {
			t.Errorf("the largest has %d bytes, want %d (%v)", staged.Largest, len(long), err)
		}
		in = append(in, columns.Input{File: bytes.NewReader(file.Bytes()), Size: int64(file.Len())})
		gathered, err := columns.Gather(context.Background(), &bytes.Buffer{}, nil, in[rec:])
		if d := gathered.Largest - len(long); err != nil || d < 0 || d > 20 {
			t.Errorf("gathered, the largest has %d bytes, want %d (%v)", gathered.Largest, len(long), err)
		}
	}
	for keep, want := range map[int32]int{0: 500_000, 1: 300_000, 9: 0} {
		in[0].Keep = func(rec int32) bool { return rec == keep }
		in[1].Keep = in[0].Keep
		gathered, err := columns.Gather(context.Background(), &bytes.Buffer{}, nil, in)
		if d := gathered.Largest - want; err != nil || d < 0 || d > 100 {
			t.Errorf("of record %d the largest has %d bytes, want about %d (%v)", keep, gathered.Largest, want, err)
		}
	}
	var empty bytes.Buffer
	if staged, err := s.Write(&empty); err != nil || staged.Largest != 0 {
		t.Errorf("the largest of none has %d bytes (%v)", staged.Largest, err)
	}
}

// TestDamaged: a file that was cut or damaged is an error that names it, or it
// says what it said before: never a panic.
func TestDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	c := columnstest.Case{Files: [][]string{randomRows(r, 60)}, Misfits: []any{}}
	in, seen, err := columnstest.Stage(c, columnstest.Batches(c))
	if err != nil {
		t.Fatal(err)
	}
	s, err := columnstest.Schema(c, seen)
	if err != nil {
		t.Fatal(err)
	}
	whole := make([]byte, in[0].Size)
	in[0].File.ReadAt(whole, 0)
	published, _, err := columnstest.Publish(c, columnstest.Batches(c))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%#v", try(published, nil))

	found := map[bool]int{}
	damage := func(what string, b []byte) {
		input := columns.Input{Name: "staged/the-file.parquet", File: bytes.NewReader(b), Size: int64(len(b))}
		var out memory
		_, err := columns.Cast(context.Background(), []columns.Input{input}, s, 1<<20, out.next)
		_, err2 := columns.Gather(context.Background(), &bytes.Buffer{}, columnstest.Path, []columns.Input{input})
		for _, err := range []error{err, err2} {
			if err != nil && !strings.Contains(err.Error(), "the-file.parquet") {
				t.Errorf("%s: %v", what, err)
			}
		}
		found[err != nil]++
	}
	for n := 0; n < len(whole); n += 1 + len(whole)/40 {
		damage(fmt.Sprintf("cut to %d", n), whole[:n])
	}
	if found[false] > 0 {
		t.Errorf("%d cut files were read", found[false])
	}
	for n := 0; n < len(whole); n += 1 + len(whole)/150 {
		b := bytes.Clone(whole)
		b[n] ^= 1 << (n % 8)
		damage(fmt.Sprintf("bit %d of byte %d", n%8, n), b)
	}
	for n := 0; n < len(published); n += 1 + len(published)/70 {
		b := bytes.Clone(published)
		b[n] ^= 1 << (n % 8)
		if _, err := read(b); err != nil && !strings.Contains(err.Error(), "published file") {
			t.Errorf("byte %d: %v", n, err)
		}
		if n > 0 {
			if _, err := read(published[:n]); err == nil {
				t.Errorf("a file cut to %d was read", n)
			}
		}
	}
	if got := fmt.Sprintf("%#v", try(published, nil)); got != want {
		t.Error("the file itself was changed")
	}
	if found[true] < 80 {
		t.Errorf("of damaged files %d were found and %d were not", found[true], found[false])
	}
	damage("nothing", nil)
	damage("other text", []byte(strings.Repeat("not Parquet at all ", 100)))
}

func try(file []byte, _ error) map[string][]any {
	cols, _ := read(file)
	return cols
}
