package lake_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sluicehq/sluice/internal/columns/columnstest"
)

// serve serves JSON texts by path, and what it lacks as an empty list.
func serve(t *testing.T, at func(r *http.Request) string) (base string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, at(r))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// casesSpec is a vendor with a table for each case, whose files are fetched one by
// one.
func casesSpec(base string, cases []columnstest.Case, files int) string {
	var tables, branches, numbers []string
	for i, c := range cases {
		declared := []string{}
		for _, d := range c.Declared {
			declared = append(declared, fmt.Sprintf("%s: %q", d.Field, d.Type))
		}
		contract := "evolve"
		if c.Variant {
			contract = "variant"
		}
		with := ""
		if len(declared) > 0 {
			with = ", columns: {" + strings.Join(declared, ", ") + "}"
		}
		tables = append(tables, fmt.Sprintf("    case%02d: {contract: %s%s}\n", i, contract, with))
		branches = append(branches, fmt.Sprintf("      - {name: b%02d, get: \"/%[1]d/{file}\", rows: '.[]', table: case%02[1]d}\n", i))
	}
	for n := range files {
		numbers = append(numbers, fmt.Sprintf("%q", strconv.Itoa(n)))
	}
	return fmt.Sprintf("name: cases\nbase_url: %s\nlimits: [{name: calls, bucket: 1000/s, burst: 100}]\nlake:\n  tables:\n%stiers:\n  - name: files\n    for: {file: [%s]}\n    branches:\n%s",
		base, strings.Join(tables, ""), strings.Join(numbers, ", "), strings.Join(branches, ""))
}

// TestCases: whatever values may come as lands, is published, and is read back by
// DuckDB as it came.
func TestCases(t *testing.T) {
	t.Parallel()
	// An answer that is not UTF-8 is no JSON, and does not land.
	cases := slices.DeleteFunc(columnstest.Cases(), func(c columnstest.Case) bool { return !utf8.ValidString(strings.Join(slices.Concat(c.Files...), "")) })
	if len(cases) < 25 {
		t.Fatalf("%d cases", len(cases))
	}
	files := 0
	for _, c := range cases {
		files = max(files, len(c.Files))
	}
	base := serve(t, func(r *http.Request) string {
		var n, file int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d/%d", &n, &file); err != nil || n >= len(cases) || file >= len(cases[n].Files) {
			return "[]"
		}
		return "[" + strings.Join(cases[n].Files[file], ",") + "]"
	})
	h := newHome(t)
	spec := h.spec(t, "cases", casesSpec(base, cases, files))
	h.run(t, 0, "run", spec, "--from", day, "--to", nextDay, "--no-progress")
	db := h.duck(t, "cases")
	fields := h.fields(t, "cases")
	for i, c := range cases {
		table := fmt.Sprintf("case%02d", i)
		checkCase(t, db, "cases."+table, fields[table], c)
	}
}

// duckTypes are the types of a case as DuckDB calls them.
var duckTypes = map[string]string{"text": "VARCHAR", "int": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN", "json": "JSON", "date": "DATE"}

// checkCase holds a table to what its case wants.
func checkCase(t *testing.T, db *sql.DB, table string, names map[string]string, c columnstest.Case) {
	t.Helper()
	_, seen, err := columnstest.Stage(c, columnstest.Batches(c))
	if err != nil {
		t.Fatal(err)
	}
	s, err := columnstest.Schema(c, seen)
	if err != nil {
		t.Fatal(err)
	}
	var selected, kinds, want []string
	for i, col := range c.Want {
		name := names[s.Columns[i].Field]
		as := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		kind := duckTypes[col.Type]
		switch {
		case strings.HasPrefix(col.Type, "timestamp"):
			kind, as = "TIMESTAMP WITH TIME ZONE", "epoch_us("+as+")"
		case kind == "":
			kind, as = strings.ToUpper(col.Type), as+"::VARCHAR"
		case kind == "DATE" || kind == "JSON":
			as += "::VARCHAR"
		}
		kinds = append(kinds, name+" | "+kind)
		selected = append(selected, as)
	}
	for _, kind := range kinds {
		if !slices.Contains(types(t, db, table), kind) {
			t.Errorf("%s: the columns are %q, and not %q", c.Name, types(t, db, table), kind)
		}
	}
	misfits := len(c.Misfits) > 0
	if misfits {
		selected = append(selected, "_variant")
	}
	n := 0
	for _, file := range c.Files {
		n += len(file)
	}
	for i := range n {
		var row []string
		for _, col := range c.Want {
			row = append(row, wanted(col.Values[i]))
		}
		if misfits {
			row = append(row, wanted(c.Misfits[i]))
		}
		want = append(want, strings.Join(row, " | "))
	}
	same(t, c.Name, rows(t, db, "SELECT "+strings.Join(selected, ", ")+" FROM "+table), want)
}

// fields are the columns of the vendor's tables: by table, the name by the field.
func (h *home) fields(t *testing.T, vendor string) map[string]map[string]string {
	t.Helper()
	out, _ := h.run(t, 0, "lake", "tables", vendor, "--json")
	var doc struct {
		Tables []struct {
			Table   string
			Columns []struct{ Name, Field string }
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	tables := map[string]map[string]string{}
	for _, table := range doc.Tables {
		tables[table.Table] = map[string]string{}
		for _, c := range table.Columns {
			tables[table.Table][c.Field] = c.Name
		}
	}
	return tables
}

// wanted is a value of a case as rows has it.
func wanted(v any) string {
	switch v := v.(type) {
	case time.Time:
		return strconv.FormatInt(v.UnixMicro(), 10)
	case float64:
		if v == 0 && math.Signbit(v) {
			return "-0.0"
		}
	}
	return text(v)
}
