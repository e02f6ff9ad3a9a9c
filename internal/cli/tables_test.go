package cli_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicehq/sluice/internal/cli"
)

const tablesSpec = `name: acme
base_url: BASE
auth: {bearer: "{secret.token}"}
headers: {Accept: application/vnd.acme+json}
limits: [{name: calls, bucket: 1000/s, burst: 100}]
tiers:
  - {name: monitors, get: /monitors, items: ".[]", key: .id, carry: {label: .label}, table: monitors}
  - name: details
    batch: {size: 1000}
    for: {slices: {step: 6h}}
    branches:
      - {name: logs, get: "/logs{?monitors,from}", with: {from: "{slice.from.epoch}"}, rows: '.[] | {label: $batch[.id].label} + .', table: logs}
      - {name: times, post: "/times", form: {m: "{monitors}", from: "{slice.from.epoch}"}, rows: '.[]', table: times}
`

// acme is a vendor of two monitors, whose spec is a file that no name leads to.
type acme struct {
	t          *testing.T
	dir, spec  string
	failing    atomic.Bool
	calls      atomic.Int32
	secretless bool
}

func newAcme(t *testing.T) *acme {
	t.Helper()
	a := &acme{t: t, dir: t.TempDir()}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.calls.Add(1)
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/monitors":
			fmt.Fprint(w, `[{"id":"7","label":"a"},{"id":"8","label":"b"}]`)
		case r.URL.Path == "/logs" && a.failing.Load():
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"no"}`)
		default:
			fmt.Fprint(w, `[{"id":"7"},{"id":"8"}]`)
		}
	}))
	t.Cleanup(server.Close)
	a.spec = a.file("acme-of-ours.yaml", strings.Replace(tablesSpec, "BASE", server.URL, 1))
	return a
}

func (a *acme) file(name, text string) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func (a *acme) sluice(args ...string) result {
	a.t.Helper()
	return execute(a.t, cli.Process{Args: append(args, "--home", a.dir), Getenv: func(name string) string {
		if name == "SLUICE_SECRET_ACME_TOKEN" && !a.secretless {
			return token
		}
		return ""
	}})
}

// TestSeveralTables: rows of several tables are not mixed, what a run lacks is said,
// and a vendor whose spec is a file of another name is found by its runs.
func TestSeveralTables(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	a.failing.Store(true)
	r := a.sluice("run", a.spec, "--from", theDay, "--to", nextDay, "--no-progress").want(t, 1, "4 dead tasks")
	id := strings.Fields(r.out[strings.Index(r.out, "Run acme-"):])[1]

	a.sluice("read", id).want(t, 2, "no spec here is called acme", "say --spec "+a.spec).line(t)
	a.sluice("read", id, "--spec", a.spec).want(t, 2, "--table logs, --table monitors, --table times").line(t)
	a.sluice("read", id, "details", "--spec", a.spec).want(t, 2, "--table logs, --table times (or --raw").line(t)
	times := a.sluice("read", id, "--table", "times", "--spec", a.spec).want(t, 0, "8 rows of 4 answers", "the run has 4 dead tasks: their rows are missing")
	if strings.Count(times.out, "\n") != 8 {
		t.Errorf("rows:\n%s", times.out)
	}
	a.sluice("read", id, "monitors", "--spec", a.spec).want(t, 0, `{"id":"7","label":"a"}`, "2 rows of 1 answer")
	a.sluice("read", id, "--raw").want(t, 0, "5 answers")

	a.sluice("status", "acme").want(t, 0, id)
	a.sluice("dead", "acme").want(t, 0, "400")
	a.sluice("limits", "acme").want(t, 0, "bucket 1,000 per second")
	a.sluice("limits", "set", "acme", "calls", "--rate", "300/m", "--burst", "5").want(t, 0, "300/m, burst 5")
	a.sluice("limits", "acmee").want(t, 2, `there is no spec "acmee"`).line(t)

	a.failing.Store(false)
	a.sluice("limits", "set", "acme", "calls", "--as-spec").want(t, 0, "as in the spec")
	whole := a.sluice("replay", a.spec, "--wait").want(t, 0, "complete", "sluice read "+id+" --table logs --spec "+a.spec, " > times.ndjson")
	if strings.Contains(whole.out, "rows.ndjson") {
		t.Errorf("one file for all tables:\n%s", whole.out)
	}
	if all := a.sluice("read", id, "--table", "logs", "--spec", a.spec).want(t, 0, `"label":"b"`); strings.Contains(all.err, "missing") {
		t.Error(all.err)
	}

	if err := os.Rename(a.spec, a.spec+".gone.yaml"); err != nil {
		t.Fatal(err)
	}
	a.sluice("limits", "acme").want(t, 2, "no spec here is called acme", "no such file").line(t)
}

// TestReadOfAnOpenRun says that it is open.
func TestReadOfAnOpenRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	id := w.run("--no-progress", "--max-calls", "40").want(t, 3).runID()
	w.sluice("read", id).want(t, 0, "the run is still open: more rows are to come")
}

// TestCheckAndPreviewOfBranches: requests with their names, samples of one branch,
// the spec's own Accept header; a missing secret is no fault of the spec.
func TestCheckAndPreviewOfBranches(t *testing.T) {
	t.Parallel()
	a := newAcme(t)
	sample := a.file("logs.json", `[{"id":"7"}]`)
	wrong := a.file("wrong.json", `[7]`)
	a.sluice("vendor", "check", a.spec, "--strict", "--sample", "details="+sample, "--sample", "details/times="+sample).want(t, 0, "logs: GET /logs{?monitors,from} | times: POST /times")
	a.sluice("vendor", "check", a.spec, "--strict", "--sample", "details/times="+wrong).want(t, 1, "tier details/times: rows fail on the sample")
	a.sluice("vendor", "check", a.spec, "--sample", "details/nosuch="+wrong).want(t, 2, `has no branch "nosuch"`).line(t)
	a.secretless = true
	a.sluice("vendor", "check", a.spec, "--strict").want(t, 0, "Warnings:", "secret token is missing")
	a.secretless = false
	a.sluice("vendor", "preview", a.spec).want(t, 0, "details (slice 0s, branch logs)  GET ", "details (slice 0s, branch times)  POST ", "2 nodes", "3 calls made", "Accept: application/vnd.acme+json")
	if n := a.calls.Load(); n != 3 {
		t.Errorf("%d calls", n)
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("../../vendors/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if r := execute(t, cli.Process{Args: []string{"vendor", "schema"}}).want(t, 0); r.out != string(want) {
		t.Errorf("%d bytes, want %d", len(r.out), len(want))
	}
}
