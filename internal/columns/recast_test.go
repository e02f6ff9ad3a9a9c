package columns_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
)

// TestRecast: types widen, columns come, the generation changes; everything
// else stays.
func TestRecast(t *testing.T) {
	s := columns.NewStaging("vendor", "run-1", "obj", []string{"groups", "devices"})
	s.Begin(0, columns.Record{Path: []string{"g", "d"}, At: time.Unix(1_772_359_200, 0)})
	for _, row := range []string{`{"i":1,"b":true,"d":1.50,"j":{"a":1.0},"w":"x","t":"2026-03-01","odd":[1]}`, `{"i":9007199254740992,"b":false,"d":1e300,"j":[],"k":7}`, `{"d":"NaN"}`} {
		if err := s.Add([]byte(row)); err != nil {
			t.Fatal(err)
		}
	}
	var staged bytes.Buffer
	if _, err := s.Write(&staged); err != nil {
		t.Fatal(err)
	}
	types := func(generation string, types ...string) columns.Schema {
		s := columns.Schema{Path: []string{"groups", "devices"}, Run: "run-1", Generation: generation, Source: "vendor", Variant: true, Key: []string{"k"}}
		for i, field := range strings.Split("i b d j w t k l", " ") {
			if i < len(types) {
				typ, _ := columns.ParseType(types[i])
				s.Columns = append(s.Columns, columns.Column{Name: field, Field: field, Type: typ})
			}
		}
		return s
	}
	var first memory
	_, err := columns.Cast(context.Background(), []columns.Input{{File: bytes.NewReader(staged.Bytes()), Size: int64(staged.Len())}}, types("gen-1", "int", "bool", "double", "json", "text", "date", "int"), 1<<20, first.next)
	if err != nil {
		t.Fatal(err)
	}
	old := first.files[0].Bytes()
	recast := func(s columns.Schema) (map[string][]any, columns.Made, error) {
		var out bytes.Buffer
		made, err := columns.Recast(context.Background(), bytes.NewReader(old), int64(len(old)), s, &out)
		if err != nil {
			return nil, made, err
		}
		cols, err := read(out.Bytes())
		return cols, made, err
	}
	cols, made, err := recast(types("gen-2", "double", "text", "text", "text", "text", "date", "text", "bool"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]any{
		"_generation": {"gen-2", "gen-2", "gen-2"}, "_run": {"run-1", "run-1", "run-1"}, "_devices": {"d", "d", "d"},
		"i": {1.0, 9007199254740992.0, nil}, "b": {"true", "false", nil}, "d": {"1.5", "1e+300", "NaN"}, "j": {`{"a":1.0}`, `[]`, nil},
		"w": {"x", nil, nil}, "t": {"2026-03-01", nil, nil}, "k": {nil, "7", nil}, "l": {nil, nil, nil}, "_key": {"[null]", `["7"]`, "[null]"}, "_variant": {`{"odd":[1]}`, nil, nil},
	} {
		if !slices.EqualFunc(cols[name], want, same) {
			t.Errorf("%s is %v, want %v", name, cols[name], want)
		}
	}
	if made.Rows != 3 || !slices.Equal(made.Least, []string{"g", "d"}) {
		t.Errorf("made %+v", made)
	}
	if _, _, err := recast(types("gen-2", "bool", "bool", "double", "json", "text", "date", "int")); err == nil || !strings.Contains(err.Error(), "cannot become bool") {
		t.Errorf("narrower: %v", err)
	}
	fewer := types("gen-2", "int")
	fewer.Key = nil
	if _, _, err := recast(fewer); err == nil || !strings.Contains(err.Error(), "no column for the field") {
		t.Errorf("fewer columns: %v", err)
	}
}
