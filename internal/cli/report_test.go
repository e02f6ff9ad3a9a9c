package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReport: a run's story is written whole, and its figures are the verdict's.
func TestReport(t *testing.T) {
	t.Parallel()
	w, _, id := deadWorld(t)
	out := filepath.Join(t.TempDir(), "story.html")
	if got := w.sluice("report", id, "--out", out).want(t, 0).out; got != out+"\n" {
		t.Errorf("said %q, want the file's name", got)
	}
	page, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Not complete", "<svg", "this device is not for you", deadName, "sluice repair " + id, "There is no earlier run", "</html>"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not hold %q", want)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) != 1 {
		t.Errorf("beside the page there is %v (%v)", left, err)
	}
	w.sluice("report", id, "--out", "-").want(t, 0, "<!DOCTYPE html>", "</html>")
	var doc struct {
		Run     string `json:"run"`
		Calls   int    `json:"calls"`
		Verdict struct{ Known, Dead int }
		Points  []struct{ Calls []int }
		Causes  []struct{ Count int }
	}
	if err := json.Unmarshal([]byte(w.sluice("report", id, "--json").want(t, 0).out), &doc); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, p := range doc.Points {
		for _, n := range p.Calls {
			sum += n
		}
	}
	if doc.Run != id || doc.Verdict.Dead != 1 || len(doc.Causes) != 1 || doc.Calls == 0 || sum != doc.Calls {
		t.Errorf("figures %+v, the points hold %d calls", doc, sum)
	}
	again := w.run("--again").want(t, 1).runID()
	w.sluice("report", again, "--out", "-").want(t, 0, "The last run before it with a verdict is "+id)
	w.sluice("report", "sim-20200101-aaaaaa").want(t, 2, "the last ones are "+again).line(t)
	w.sluice("report", id, "--out", filepath.Join(t.TempDir(), "none", "x.html")).want(t, 2, "writing the report of run").line(t)
}
