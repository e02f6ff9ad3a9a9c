package lake_test

import (
	"net/http"
	"strings"
	"testing"
)

const widenSpec = `name: widen
base_url: BASE
limits: [{name: calls, bucket: 1000/s, burst: 100}]
tiers:
  - {name: points, get: '/points{?from}', with: {from: '{window.from.date}'}, rows: '.[]', table: points}
`

// TestWiden: a column has one type in all runs, whatever came first, and its values
// are as they were; columns come, and go.
func TestWiden(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"2026-01-01": `[{"k":1,"v":1,"gone":true,"big":9007199254740993},{"k":2,"v":null,"gone":false,"big":1}]`,
		"2026-01-02": `[{"k":3,"v":2.5,"new":"x","big":2}]`,
		"2026-01-03": `[{"k":4,"v":"three","new":null,"big":0.5,"late":[1]}]`,
	}
	h := newHome(t)
	spec := h.spec(t, "widen", strings.Replace(widenSpec, "BASE", serve(t, func(r *http.Request) string { return answers[r.URL.Query().Get("from")] }), 1))
	run := func(day, next string) string {
		t.Helper()
		out, _ := h.run(t, 0, "run", spec, "--from", day, "--to", next, "--no-progress")
		return out
	}
	has := func(out string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("%q is not in:\n%s", text, out)
			}
		}
	}
	data := func(columns string) []string {
		t.Helper()
		return rows(t, h.duck(t, "widen"), "SELECT "+columns+" FROM widen.points")
	}
	described := func(want ...string) {
		t.Helper()
		same(t, "types", rows(t, h.duck(t, "widen"), "SELECT column_name, column_type FROM (DESCRIBE widen.points) WHERE column_name NOT IN ('date', 'run') AND NOT starts_with(column_name, '_')"), want)
	}

	run("2026-01-01", "2026-01-02")
	described("big | BIGINT", "gone | BOOLEAN", "k | BIGINT", "v | BIGINT")
	same(t, "integers", data("k, v, gone, big"), []string{"1 | 1 | true | 9007199254740993", "2 | null | false | 1"})

	out := run("2026-01-02", "2026-01-03")
	has(out, "new columns: new", "columns without a value this time: gone", "wider types: v: int -> double")
	described("big | BIGINT", "gone | BOOLEAN", "k | BIGINT", "new | VARCHAR", "v | DOUBLE")
	same(t, "integers and fractions", data(`k, v, gone, "new", big`), []string{"1 | 1.0 | true | null | 9007199254740993", "2 | null | false | null | 1", "3 | 2.5 | null | x | 2"})

	out = run("2026-01-03", "2026-01-04")
	has(out, "new columns: late", "v: double -> text", "big: int -> text")
	described("big | VARCHAR", "gone | BOOLEAN", "k | BIGINT", "late | JSON", "new | VARCHAR", "v | VARCHAR")
	same(t, "all kinds", data(`k, gone, "new", big, late::VARCHAR`), []string{
		"1 | true | null | 9007199254740993 | null", "2 | false | null | 1 | null", "3 | null | x | 2 | null", "4 | null | null | 0.5 | [1]",
	})
	// What a double was as a text is the shortest of its forms.
	same(t, "values as texts", data("k, v"), []string{"1 | 1", "2 | null", "3 | 2.5", "4 | three"})
	same(t, "rows by date", data(`"date"::VARCHAR, count(*) OVER (PARTITION BY "date")`), []string{"2026-01-01 | 2", "2026-01-01 | 2", "2026-01-02 | 1", "2026-01-03 | 1"})
}
