package cli_test

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/vendorsim"
)

// TestLake is what an operator does with tables: looks at them, takes rows out,
// prints statements, and makes them anew.
func TestLake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	first := w.run().want(t, 0, "Tables    metrics: 180 rows in 1 file", "in "+w.home+"/lake", "read them by: sluice lake sql duckdb sim --home "+w.home)
	id := first.runID()
	w.run().want(t, 0, "This window has been read", "metrics: 180 rows in 1 file")
	w.sluice("lake", "publish", id).want(t, 0, "published already, nothing has changed")
	w.sluice("lake", "tables").want(t, 0, "sim.metrics: 180 rows of 1 run, 2026-01-02; ", "device     text          declared", "_devices, _datagroups, _fetched_at and _variant")
	w.sluice("lake", "tables", "sim", "--columns").want(t, 0, "lake:\n  tables:\n    metrics:\n      columns:\n        device: text\n        datagroup: text\n        time: timestamp(s)\n")
	w.sluice("lake", "tables", "--columns").want(t, 2, "Name the VENDOR").line(t)
	var doc struct {
		Tables []struct {
			Rows, Runs int
			Latest     string `json:"latest_run"`
		}
		Unpublished []any
	}
	if err := json.Unmarshal([]byte(w.sluice("lake", "tables", "--json").want(t, 0).out), &doc); err != nil || len(doc.Tables) != 1 || doc.Tables[0].Rows != 180 || doc.Tables[0].Latest != id || len(doc.Unpublished) > 0 {
		t.Errorf("%v: %+v", err, doc)
	}
	w.sluice("lake", "show", id).want(t, 0, "85 done + 0 gone + 0 dead", "60 landed answers in them", "table=metrics/date=2026-01-02/run="+id+"/")
	w.sluice("lake", "show", id, "--json").want(t, 0, `"sha256"`)
	w.sluice("lake", "dead", id).want(t, 0, "No landed object")
	w.sluice("lake", "retry", id).want(t, 0, "No landed object")
	w.exports(id)

	sql := w.sluice("lake", "sql", "duckdb", "sim").want(t, 0, `CREATE OR REPLACE VIEW "sim"."metrics" AS`, w.home+"/lake/tables/sim/table=metrics/")
	if sql.err != "" {
		t.Error(sql.err)
	}
	w.sluice("lake", "sql", "athena", "sim").want(t, 2, "athena reads a bucket", "--root s3://BUCKET/PREFIX").line(t)
	w.sluice("lake", "sql", "athena", "sim", "--root", "s3://ours/lake", "--database", "monitoring").want(t, 0, "s3://ours/lake/tables/sim/table=metrics", "monitoring")
	w.sluice("lake", "sql", "snowflake", "sim", "--root", "s3://ours/lake").want(t, 0, "COPY INTO", "s3://ours/lake")
	w.sluice("lake", "sql", "oracle", "sim").want(t, 2, "the engines are duckdb, athena and snowflake").line(t)

	again := w.run("--again").want(t, 0, "metrics: 180 rows").runID()
	w.sluice("lake", "show", id).want(t, 2, "is not published").line(t)
	w.sluice("lake", "rebuild", "--all", "sim").want(t, 0, "Run "+again+": published", "metrics: 180 rows")
	w.sluice("lake", "rebuild").want(t, 2, "either --all VENDOR or --run RUN").line(t)
	w.sluice("lake", "tables").want(t, 0, "180 rows of 1 run")
}

// exports takes the rows of a run out in all forms.
func (w *world) exports(id string) {
	t := w.t
	t.Helper()
	file := filepath.Join(w.home, "rows.csv")
	w.sluice("lake", "export", "sim", "metrics", "--delimiter", ";", "--null", "NULL", "-o", file).want(t, 0, "180 rows")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(strings.NewReader(string(text)))
	r.Comma = ';'
	rows, err := r.ReadAll()
	if err != nil || len(rows) != 181 {
		t.Fatalf("%v: %d lines", err, len(rows))
	}
	if head := strings.Join(rows[0], " "); head != "_run _source _upload _devices _datagroups _fetched_at device datagroup time bytes percent _variant" {
		t.Errorf("headings: %s", head)
	}
	if got := rows[1]; got[0] != id || got[8] != "2026-01-02T00:00:00Z" || got[11] != "NULL" {
		t.Errorf("the first row: %q", got)
	}
	seen := map[string]bool{}
	lines := w.sluice("lake", "export", "sim", "sim.metrics", "--format", "ndjson", "--run", id, "--from", theDay, "--to", nextDay).want(t, 0, "180 rows")
	for line := range strings.Lines(lines.out) {
		var row struct {
			Device, Datagroup, Time string
			Bytes                   json.Number
			Variant                 any `json:"_variant"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil || len(row.Bytes) < 19 || row.Variant != nil {
			t.Fatalf("%v: %s", err, line)
		}
		seen[row.Device+" "+row.Datagroup+" "+row.Time] = true
	}
	if len(seen) != 180 {
		t.Errorf("%d rows differ", len(seen))
	}
	for want, args := range map[string]string{
		"one character such as ;":      "metrics --delimiter ;;",
		"it is csv or ndjson":          "metrics --format xml",
		"it has sim.metrics":           "nosuch",
		"no run of table metrics":      "metrics --from " + nextDay,
		`--to "tomorrow" is no date`:   "metrics --to tomorrow",
		"needs VENDOR and TABLE":       "",
		"no such file or directory":    "metrics -o " + filepath.Join(w.home, "nosuch", "x.csv"),
		"one character such as ; or t": `metrics --delimiter "`,
	} {
		w.sluice(append([]string{"lake", "export", "sim"}, strings.Fields(args)...)...).want(t, 2, want).line(t)
	}
}

// TestLakeOfAnIncompleteRun is refused until its verdict allows it, and says so.
func TestLakeOfAnIncompleteRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	fails := new(failing)
	w.via = fails
	fails.fail("/devices/9007199254740995/datagroups")
	id := w.run().want(t, 1, "Tables    not published: 1 task is dead (datagroups 9007199254740995), and the spec allows 0").runID()
	w.sluice("lake", "publish", id).want(t, 1, "Run "+id+" is not published:", "1 task is dead")
	w.sluice("lake", "tables").want(t, 0, "No table is published.", id+": 1 task is dead")
	w.sluice("lake", "sql", "duckdb", "sim").want(t, 2, "no table of vendor sim is published").line(t)
	w.sluice("lake", "show", id).want(t, 2, "is not published: 1 task is dead").line(t)
	fails.fail("")
	w.sluice("replay", "sim", "--wait").want(t, 0, "metrics: 180 rows")
	if out := w.sluice("lake", "tables").want(t, 0, "180 rows of 1 run").out; strings.Contains(out, "not published") {
		t.Error(out)
	}
}

// TestLakeWithoutAnObject: one that is damaged keeps its run from being published,
// until it is restored or left out.
func TestLakeWithoutAnObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	none := w.run("--no-lake").want(t, 0)
	if strings.Contains(none.out, "Tables") {
		t.Error(none.out)
	}
	id := none.runID()
	w.sluice("lake", "tables").want(t, 0, id+": nobody has tried yet")
	objects, err := filepath.Glob(filepath.Join(w.home, "landing/sim/run="+id+"/tier=data/*"))
	if err != nil || len(objects) == 0 {
		t.Fatal(err, objects)
	}
	whole, err := os.ReadFile(objects[0])
	if err != nil {
		t.Fatal(err)
	}
	damage := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(objects[0], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damage(whole[:len(whole)/2])
	w.run().want(t, 0, "Tables    not published: 1 landed object cannot be converted", "sluice lake dead "+id)
	object := filepath.Base(objects[0])
	w.sluice("lake", "dead", id).want(t, 0, object, "sluice lake retry "+id, "sluice lake discard "+id)
	w.sluice("lake", "dead", id, "--json").want(t, 0, `"reason": `)
	w.sluice("lake", "retry", id).want(t, 1, "0 landed objects converted, 1 landed object dead still")
	w.sluice("lake", "discard", id, object).want(t, 2, "needs --why").line(t)
	w.sluice("lake", "discard", id, "nosuch", "--why", "x").want(t, 2, "has no dead object nosuch").line(t)
	damage(whole)
	w.sluice("lake", "retry", id).want(t, 0, "1 landed object converted. Next: sluice lake publish "+id)
	w.sluice("lake", "publish", id).want(t, 0, "metrics: 180 rows")

	second := w.run("--again", "--no-lake").want(t, 0).runID()
	if objects, err = filepath.Glob(filepath.Join(w.home, "landing/sim/run="+second+"/tier=data/*")); err != nil || len(objects) == 0 {
		t.Fatal(err, objects)
	}
	damage([]byte("no zstd at all"))
	w.sluice("lake", "publish", second).want(t, 1, "cannot be converted")
	w.sluice("lake", "discard", second, filepath.Base(objects[0]), "--why", "lost with the disk").want(t, 0, "sluice lake publish "+second)
	w.sluice("lake", "dead", second).want(t, 0, "discarded by ", "lost with the disk")
	w.sluice("lake", "publish", second).want(t, 0, "without 1 landed object that an operator has left out")
	w.sluice("lake", "show", second).want(t, 0, "left out: run="+second+"/tier=data/", "lost with the disk")
}

// TestLakeHints: times are never inferred; the columns to paste say where some are.
func TestLakeHints(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	shipped, err := os.ReadFile("../../vendors/sim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	bare := strings.Replace(string(shipped), ", time: timestamp(s)}}}}", "}}}}", 1)
	spec := filepath.Join(w.home, "sim.yaml")
	if err := os.WriteFile(spec, []byte(bare), 0o600); err != nil || bare == string(shipped) {
		t.Fatal(err, "the spec's types are not where this test expects them")
	}
	set := "base=" + w.sim.URL
	id := w.sluice("run", spec, "--set", set, "--from", theDay, "--to", nextDay).want(t, 0).runID()
	w.sluice("lake", "tables", "sim", "--columns").want(t, 0, "time: int  # its values look like timestamp(s) (then: sluice lake rebuild --all sim)")
	w.sluice("lake", "rebuild", "--run", id, "--spec", "sim").want(t, 0, "180 rows")
	w.sluice("lake", "tables", "sim").want(t, 0, "time       timestamp(s)  declared")
}

// TestNoTables: a spec that makes no rows has no tables, and nothing is said of them.
func TestNoTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	shipped, err := os.ReadFile("../../vendors/sim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(shipped), "    # The answer is columnar")
	from, to := strings.Index(text, "lake:"), strings.Index(text, "tiers:")
	spec := filepath.Join(w.home, "sim.yaml")
	if err := os.WriteFile(spec, []byte(text[:from]+text[to:]), 0o600); err != nil {
		t.Fatal(err)
	}
	r := w.sluice("run", spec, "--set", "base="+w.sim.URL, "--from", theDay, "--to", nextDay).want(t, 0, "complete")
	if strings.Contains(r.out, "\nTables ") {
		t.Errorf("it speaks of tables:\n%s\n%s", r.out, r.err)
	}
	if out := w.sluice("lake", "tables").want(t, 0, "No table is published.").out; strings.Contains(out, r.runID()) {
		t.Error(out)
	}
	w.sluice("lake", "publish", r.runID()).want(t, 2, "names no table").line(t)
}

// TestLakeMeanwhile: what lands is converted while the run goes on.
func TestLakeMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vendorsim.Tree{Groups: 4, Devices: 20, Datagroups: 1200, Points: 1})
	w.sluice("limits", "set", "sim", "calls", "--rate", "200/s", "--burst", "5").want(t, 0)
	ended := make(chan result, 1)
	go func() { ended <- w.run("--no-progress") }()
	for range 3000 {
		if markers, _ := filepath.Glob(filepath.Join(w.home, "lake/staged/sim/*/run=*/tier=data/*.json")); len(markers) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	select {
	case r := <-ended:
		t.Fatalf("the run had ended before anything was converted:\n%s", r.out)
	default:
	}
	(<-ended).want(t, 0, "metrics: 1,200 rows in 1 file")
	if left, _ := filepath.Glob(filepath.Join(w.home, "lake/staged/sim/*/*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
