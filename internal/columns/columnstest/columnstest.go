// Package columnstest is what values may come as, and what a table must make
// of them: cases as data, for every reader of published files to be held to.
package columnstest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
)

// Case is a table made of rows.
type Case struct {
	Name     string
	Files    [][]string // JSON rows, by the landed object that they come in
	Declared []Declared
	Variant  bool     // the contract is variant: fields not declared go to _variant
	Want     []Column // all data columns, in order
	Misfits  []any    // _variant of each row (nil or a string); no slice: nothing misfits
}

// Declared is a column that the table's spec names.
type Declared struct{ Field, Type string }

// Column is a column as it must be read: values of nil, bool, int64, float64,
// string, or time.Time, one for each row in the order of Files.
type Column struct {
	Name, Type string
	Values     []any
}

// Path is the tier of the cases' key path; rows have keys in their order.
var Path = []string{"row"}

// Key is the path of the n-th row of a case.
func Key(n int) []string { return []string{fmt.Sprintf("%04d", n)} }

// Stage makes a staged file of the rows that each lists by their numbers; all
// of a case's rows are numbered through its files.
func Stage(c Case, batches [][]int) ([]columns.Input, map[string]columns.FieldSeen, error) {
	rows := slices.Concat(c.Files...)
	seen := map[string]columns.FieldSeen{}
	var in []columns.Input
	for i, batch := range batches {
		s := columns.NewStaging("vendor", "run", fmt.Sprintf("object-%03d", i), Path)
		for rec, n := range batch {
			s.Begin(rec, columns.Record{Path: Key(n), Task: "task", Fetch: "fetch", At: time.UnixMicro(1_700_000_000_000_000 + int64(n)).UTC()})
			if err := s.Add([]byte(rows[n])); err != nil {
				return nil, nil, err
			}
		}
		var file bytes.Buffer
		staged, err := s.Write(&file)
		if err != nil {
			return nil, nil, err
		}
		for name, f := range staged.Fields {
			seen[name] = seen[name].Union(f)
		}
		in = append(in, columns.Input{Name: fmt.Sprintf("file %d", i), File: bytes.NewReader(file.Bytes()), Size: int64(file.Len())})
	}
	return in, seen, nil
}

// Batches are the rows as the case's files hold them.
func Batches(c Case) (batches [][]int) {
	n := 0
	for _, file := range c.Files {
		var batch []int
		for range file {
			batch = append(batch, n)
			n++
		}
		batches = append(batches, batch)
	}
	return batches
}

// Schema is the table's: the declared columns, then, unless the contract is
// variant, one for each other field that has a value.
func Schema(c Case, seen map[string]columns.FieldSeen) (columns.Schema, error) {
	s := columns.Schema{Path: Path, Run: "run", Generation: "generation", Source: "vendor", Variant: c.Variant || c.Misfits != nil}
	taken := map[string]bool{"_run": true, "_row": true, "_source": true, "_upload": true, "_generation": true, "_fetched_at": true}
	name := func(field string) string {
		name := field
		if name == "" {
			name = "field"
		}
		for n := 2; taken[strings.ToLower(name)]; n++ {
			name = fmt.Sprintf("%s_%d", field, n)
		}
		taken[strings.ToLower(name)] = true
		return name
	}
	declared := map[string]bool{}
	for _, d := range c.Declared {
		t, err := columns.ParseType(d.Type)
		if err != nil {
			return s, err
		}
		declared[d.Field] = true
		s.Columns = append(s.Columns, columns.Column{Name: name(d.Field), Field: d.Field, Type: t, Declared: true, Kinds: seen[d.Field].Kinds})
	}
	for _, field := range slices.Sorted(maps.Keys(seen)) {
		if t := seen[field].Kinds.Type(); !declared[field] && !c.Variant && t != (columns.Type{}) {
			s.Columns = append(s.Columns, columns.Column{Name: name(field), Field: field, Type: t, Kinds: seen[field].Kinds})
		}
	}
	return s, nil
}

// Publish makes the published file of a case, whose rows were batched so.
func Publish(c Case, batches [][]int) (file []byte, made columns.Made, err error) {
	in, seen, err := Stage(c, batches)
	if err != nil {
		return nil, made, err
	}
	s, err := Schema(c, seen)
	if err != nil {
		return nil, made, err
	}
	var f buffer
	files, err := columns.Cast(context.Background(), in, s, 128<<20, func() (columns.File, error) { return &f, nil })
	if err == nil && len(files) != 1 {
		err = fmt.Errorf("%d files", len(files))
	}
	if err != nil {
		return nil, made, err
	}
	return f.Bytes(), files[0], nil
}

type buffer struct{ bytes.Buffer }

func (*buffer) Close() error { return nil }
