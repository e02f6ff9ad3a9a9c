package columns_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/columns/columnstest"
)

// tokens are values as they may come, of every kind.
var tokens = []string{`null`, `true`, `false`, `0`, `1`, `-5`, `9007199254740993`, `-9223372036854775808`, `9223372036854775808`, `1e400`,
	`1.0`, `1.50`, `-0`, `-0.00`, `0.1`, `0.30000000000000004`, `0.00000000000000000000000000000001`, `1E5`, `123456789012345678.5`, `288230376151711744`,
	`""`, `"x"`, `"NaN"`, `"12"`, `"ü"`, `"\u00fc"`, `"\u0000"`, `"\ud800"`, `"\ud83d\ude00"`, `"a\"b"`, `[]`, `{}`, `[1,{"a":null}]`, `{"b":[1.10]}`}

var names = []string{`"a"`, `"b"`, `"c"`, `"A"`, `""`, `"a.b"`, `"a\"b"`, `"\u00e4"`, `"ä"`, `"_run"`, `"_rest"`, `"\ud800"`, "\"\xff\""}

// randomRows are objects of a few fields; those of a seed are always the same.
func randomRows(r *rand.Rand, n int) []string {
	rows := make([]string, n)
	for i := range rows {
		var b strings.Builder
		b.WriteString("{")
		for j := range r.IntN(8) {
			if j > 0 {
				b.WriteString(",")
			}
			// Some fields are of one kind mostly, some of all.
			f := r.IntN(len(names))
			token := tokens[r.IntN(len(tokens))]
			if f < 3 && r.IntN(20) > 0 {
				token = []string{`1`, `2.5`, `"t"`}[f]
			}
			b.WriteString(names[f] + ":" + token)
		}
		b.WriteString("}")
		rows[i] = b.String()
	}
	return rows
}

// shuffled are the numbers below n in random order and random batches.
func shuffled(r *rand.Rand, n int) (batches [][]int) {
	order := r.Perm(n)
	for len(order) > 0 {
		size := min(1+r.IntN(n/2), len(order))
		batches = append(batches, order[:size])
		order = order[size:]
	}
	return batches
}

// TestAnyBatching: a table does not depend on how its rows were batched, in
// what order files came, nor on passes of gathering.
func TestAnyBatching(t *testing.T) {
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 0))
		c := columnstest.Case{Files: [][]string{randomRows(r, 120)}, Misfits: []any{}, Declared: []columnstest.Declared{{Field: "c", Type: "int"}}}
		var want map[string][]any
		var kinds map[string]columns.Kinds
		for try := range 4 {
			batches := shuffled(r, 120)
			in, seen, err := columnstest.Stage(c, batches)
			if err != nil {
				t.Fatal(err)
			}
			s, err := columnstest.Schema(c, seen)
			if err != nil {
				t.Fatal(err)
			}
			r.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
			if try%2 == 1 {
				if in, err = gatherAll(in, columnstest.Path, 2+r.IntN(3)); err != nil {
					t.Fatal(err)
				}
			}
			var out memory
			if _, err := columns.Cast(context.Background(), in, s, 128<<20, out.next); err != nil {
				t.Fatal(err)
			}
			have, err := read(out.files[0].Bytes())
			if err != nil {
				t.Fatal(err)
			}
			delete(have, "_upload") // that is the batching
			got := map[string]columns.Kinds{}
			for name, f := range seen {
				got[name] = f.Kinds
			}
			if want == nil {
				want, kinds = have, got
				continue
			}
			if !maps.Equal(kinds, got) {
				t.Errorf("seed %d, try %d: other kinds: %v, not %v", seed, try, got, kinds)
			}
			if fmt.Sprintf("%#v", have) != fmt.Sprintf("%#v", want) {
				t.Errorf("seed %d, try %d: another table", seed, try)
			}
		}
	}
}

// TestTokens: a staged file gives the tokens of its rows back, also through
// gathering.
func TestTokens(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	c := columnstest.Case{Files: [][]string{randomRows(r, 150)}}
	var want []map[string]string
	for _, row := range c.Files[0] {
		want = append(want, wanted(row))
	}
	for range 3 {
		in, _, err := columnstest.Stage(c, shuffled(r, 150))
		if err != nil {
			t.Fatal(err)
		}
		if in, err = gatherAll(in, columnstest.Path, 3); err != nil {
			t.Fatal(err)
		}
		have, err := columns.Tokens(in[0].File, in[0].Size, columnstest.Path)
		if err != nil {
			t.Fatal(err)
		}
		if len(have) != len(want) {
			t.Fatalf("%d rows, want %d", len(have), len(want))
		}
		for i := range want {
			if !reflect.DeepEqual(have[i], want[i]) {
				t.Errorf("row %d of %s: %v, want %v", i, c.Files[0][i], have[i], want[i])
			}
		}
	}
}

// wanted is a row by another reader: the last token of each field. Names that
// are no text stand in the rest.
func wanted(row string) map[string]string {
	fields := map[string]string{}
	rest := ""
	d := json.NewDecoder(strings.NewReader(row))
	d.Token()
	for d.More() {
		before := d.InputOffset()
		name, _ := d.Token()
		var raw json.RawMessage
		d.Decode(&raw)
		// What stands in the row, not what the decoder made of it.
		spelt := strings.TrimLeft(row[before:d.InputOffset()-int64(len(raw))], ", ")
		spelt = strings.TrimRight(spelt, ": ")
		if spelt == `"\ud800"` || spelt == "\"\xff\"" {
			rest += "," + spelt + ":" + row[d.InputOffset()-int64(len(raw)):d.InputOffset()]
			continue
		}
		fields[name.(string)] = row[d.InputOffset()-int64(len(raw)) : d.InputOffset()]
	}
	if rest != "" {
		fields["_rest of the row"] = "{" + rest[1:] + "}"
	}
	return fields
}

// FuzzRow: any row is refused, or its tokens come back.
func FuzzRow(f *testing.F) {
	for _, row := range randomRows(rand.New(rand.NewPCG(1, 2)), 40) {
		f.Add([]byte(row))
	}
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Add([]byte(strings.Repeat(`{"a":`, 100)))
	f.Fuzz(func(t *testing.T, row []byte) {
		s := columns.NewStaging("vendor", "run", "object", nil)
		s.Begin(0, columns.Record{})
		err := s.Add(row)
		valid := json.Valid(row) && bytes.HasPrefix(bytes.TrimSpace(row), []byte("{"))
		if (err == nil) != valid {
			t.Fatalf("%q: %v, but valid: %t", row, err, valid)
		}
		if err != nil {
			if s.Rows() != 0 {
				t.Fatalf("%q was refused and is there", row)
			}
			return
		}
		var file bytes.Buffer
		staged, err := s.Write(&file)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := columns.Tokens(bytes.NewReader(file.Bytes()), int64(file.Len()), nil)
		if err != nil || len(rows) != 1 {
			t.Fatalf("%q: %d rows, %v", row, len(rows), err)
		}
		for name, token := range lasts(row) {
			if got := rows[0][name]; got != token {
				t.Errorf("%q: field %q is %q, want %q", row, name, got, token)
			}
			delete(rows[0], name)
		}
		delete(rows[0], "_rest of the row")
		maps.DeleteFunc(rows[0], func(name, _ string) bool { return strings.Contains(name, "\uFFFD") })
		if len(rows[0]) > 0 {
			t.Errorf("%q: fields from nowhere: %v", row, rows[0])
		}
		cast(t, row, file.Bytes(), staged)
	})
}

// cast sees that any staged row can be published.
func cast(t *testing.T, row, file []byte, staged columns.Staged) {
	var s columns.Schema
	s.Variant = true
	types := []string{"int", "double", "text", "json", "timestamp", "timestamp(s)", "decimal(18,3)", "date", "bool"}
	for i, name := range slices.Sorted(maps.Keys(staged.Fields)) {
		column := columns.Column{Name: fmt.Sprint("c", i), Field: name}
		column.Type, _ = columns.ParseType(types[(i+len(row))%len(types)])
		s.Columns = append(s.Columns, column)
	}
	var out memory
	in := []columns.Input{{File: bytes.NewReader(file), Size: int64(len(file))}}
	if _, err := columns.Cast(context.Background(), in, s, 1, out.next); err != nil {
		t.Errorf("%q: %v", row, err)
		return
	}
	err := columns.Each(context.Background(), bytes.NewReader(out.files[0].Bytes()), int64(out.files[0].Len()), func(names []string, values []any) error {
		if variant, ok := values[len(values)-1].(string); ok && !json.Valid([]byte(variant)) {
			t.Errorf("%q: _variant is %q", row, variant)
		}
		return nil
	})
	if err != nil {
		t.Errorf("%q: %v", row, err)
	}
}

// lasts are the tokens of a valid row, but for names that may be no text.
func lasts(row []byte) map[string]string {
	fields := map[string]string{}
	d := json.NewDecoder(bytes.NewReader(row))
	d.Token()
	for d.More() {
		name, _ := d.Token()
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			break
		}
		key := name.(string)
		if len(key) <= 1024 && !strings.Contains(key, "\uFFFD") {
			fields[key] = string(row[d.InputOffset()-int64(len(raw)) : d.InputOffset()])
		}
	}
	return fields
}
