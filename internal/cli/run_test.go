package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/cli"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

const verdictGolden = `Run RUN of vendor sim, 2026-01-02 UTC: complete.

  85 done + 0 gone + 0 dead = 1 seed(s) + 84 distinct children

  tier        known  done  gone  dead  missing  rows
  groups          1     1     0     0        0     0
  devices         4     4     0     0        0     0
  datagroups     20    20     0     0        0     0
  data           60    60     0     0        0   180

Rows      180
Data      HOME/landing/sim/run=RUN
`

func (w *world) plain(r result) string {
	return strings.NewReplacer(r.runID(), "RUN", w.home, "HOME").Replace(r.out)
}

func TestRunThenVerdictThenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	first := w.run().want(t, 0, "85 by this process")
	if got := w.plain(first); !strings.HasPrefix(got, verdictGolden) {
		t.Errorf("got:\n%s\nwant:\n%s", got, verdictGolden)
	}
	w.secret("wrong by now") // a closed run needs none
	second := w.run().want(t, 0, "This window has been read", first.runID())
	if got := w.plain(second); !strings.Contains(got, verdictGolden) {
		t.Errorf("got:\n%s\nwant:\n%s", got, verdictGolden)
	}
	if s := w.sim.Stats(); s.Calls != w.tree.Calls() || s.Refused != 0 {
		t.Errorf("%d calls, %d refused; want %d, none", s.Calls, s.Refused, w.tree.Calls())
	}
	w.secret(token)
	if again := w.run("--again").want(t, 0); again.runID() == first.runID() {
		t.Error("--again did not start a new run")
	}
	w.sluice("status").want(t, 0, first.runID(), "closed", "bucket 1,000 per second, burst 50")
	w.sluice("status", "sim", "--json").want(t, 0, `"known": 60`)
	w.sluice("repair", second.runID()).want(t, 2, "replaced by a newer one")
}

func TestReadEachRowOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	id := w.run().want(t, 0).runID()
	rows := w.sluice("read", id).want(t, 0, "180 rows of 60 answers")
	seen := map[string]bool{}
	for line := range strings.Lines(rows.out) {
		if seen[line] {
			t.Errorf("twice: %s", line)
		}
		seen[line] = true
	}
	if len(seen) != 180 {
		t.Errorf("%d rows", len(seen))
	}
	w.sluice("read", id, "--table", "metrics").want(t, 0, "180 rows")
	w.sluice("read", id, "groups", "--raw").want(t, 0, `{"items":[{"id":"g1"`, "1 answer")
	w.sluice("read", id, "groups").want(t, 2, "has no such rows").line(t)
	w.sluice("read", id, "nosuch").want(t, 2, "its tiers are groups, devices, datagroups and data").line(t)
	w.sluice("read", id, "--table", "nosuch").want(t, 2, "its tables are metrics").line(t)
	w.sluice("read", "sim-20200101-aaaaaa").want(t, 2, "the last ones are "+id).line(t)
	w.sluice("repair", id).want(t, 0, "misses nothing")
}

func TestDeadThenReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	fails := new(failing)
	w.via = fails
	const device = "9007199254740995"
	fails.fail("/devices/" + device + "/datagroups")
	r := w.run().want(t, 1, "1 dead task:", "  datagroups "+device+"\n", "sluice dead sim --home "+w.home, "sluice replay sim")
	w.run().want(t, 1, "This window has been read", "datagroups "+device)
	w.sluice("dead", "sim").want(t, 0, "1 dead task of tier datagroups in run "+r.runID()+": rejected, status 400",
		"this device is not for you", "datagroups "+device)
	w.sluice("dead", "sim", "data").want(t, 0, "No dead task of sim matches")
	w.sluice("dead", "sim", "nosuch").want(t, 2, "its tiers are").line(t)
	w.sluice("dead", "sim", "--all").want(t, 0, "failed attempts")
	w.sluice("dead", "sim", "--json").want(t, 0, `"class": "rejected"`)
	w.sluice("replay", "sim", "--dry-run").want(t, 0, "Would replay 1 task:", device)
	w.run().want(t, 1)
	w.sluice("replay", "sim", "--task", "devices *").want(t, 0, "nothing to replay")
	w.sluice("replay", "sim", "--task", "[").want(t, 0, "nothing to replay")
	fails.fail("")
	w.sluice("replay", "sim", "datagroups", "--task", "datagroups 90*").want(t, 0, "1 task of run "+r.runID()+" on the queue again",
		"sluice run sim --from 2026-01-02 --to 2026-01-03")
	w.run().want(t, 0, "85 done + 0 gone + 0 dead")
	if s := w.sim.Stats(); s.Repeated != 0 || s.Calls != w.tree.Calls() {
		t.Errorf("%+v", s)
	}
}

func TestWrongSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.secret("mistaken-secret")
	r := w.run("--no-progress").want(t, 2, "refused the secret", "status 401", "SLUICE_SECRET_SIM_TOKEN", filepath.Join(w.home, "secrets", "sim.yaml"))
	if strings.Contains(r.err, "mistaken-secret") {
		t.Errorf("shows the secret: %s", r.err)
	}
	if strings.Count(r.err, "sluice: ") != 1 || strings.Count(r.err, "\n") != 2 { // the run's ID, then one line
		t.Errorf("not one line:\n%s", r.err)
	}
	w.sluice("status").want(t, 0, "stopped since", "refused")
	w.secret(token)
	w.run().want(t, 0, "complete")
}

func TestSoftStopAndResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vendorsim.Scaled(25))
	stop := make(chan os.Signal, 2)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for w.sim.Stats().Calls < 300 {
			time.Sleep(5 * time.Millisecond)
		}
		stop <- syscall.SIGINT
	}()
	r := w.stopped(stop, w.runArgs()...)
	<-done
	r.want(t, 3, "stopping: calls under way are finished; again to stop now",
		"Resume with: sluice run sim --from 2026-01-02 --to 2026-01-03 --set base="+w.sim.URL+" --home "+w.home)
	if n := w.sim.Stats().Calls; n >= w.tree.Calls() {
		t.Fatalf("it was not stopped: %d calls", n)
	}
	w.run().want(t, 0, "complete")
	if s := w.sim.Stats(); s.Repeated != 0 || s.Calls != w.tree.Calls() {
		t.Errorf("want %d calls, none repeated: %+v", w.tree.Calls(), s)
	}
}

func TestStopNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vendorsim.Scaled(25))
	if err := w.sim.Misbehave(vendorsim.Trouble{Down: "hanging"}); err != nil {
		t.Fatal(err)
	}
	stop := make(chan os.Signal, 2)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for w.sim.Stats().Calls == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		stop <- syscall.SIGINT
		stop <- syscall.SIGINT
	}()
	began := time.Now()
	w.stopped(stop, w.runArgs()...).want(t, 3, "Resume with: sluice run sim")
	<-done
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v to stop now", took)
	}
}

func TestTwoRunsOfOneWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	results := make([]result, 2)
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() { results[i] = w.run() })
	}
	group.Wait()
	for _, r := range results {
		r.want(t, 0, "complete")
	}
	if results[0].runID() != results[1].runID() {
		t.Errorf("runs %s and %s", results[0].runID(), results[1].runID())
	}
	if s := w.sim.Stats(); s.Calls != w.tree.Calls() {
		t.Errorf("%d calls, want %d", s.Calls, w.tree.Calls())
	}
}

func TestSeedWorkersRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	var out, err buffer
	code := cli.Seed(t.Context(), cli.Process{Stdout: &out, Stderr: &err,
		Args: append(w.runArgs()[1:], "--home", w.home)})
	seeded := result{code, out.String(), err.String()}.want(t, 0, "4 tasks on the queue of tier devices", "go on with: sluice run sim --from 2026-01-02")
	if n := w.sim.Stats().Calls; n != 1 {
		t.Errorf("%d calls to seed", n)
	}
	results := make(chan result, 1)
	go func() {
		results <- w.sluice("worker", "sim", "data", "--until-empty", "--set", "base="+w.sim.URL)
	}()
	w.run().want(t, 0, seeded.runID(), "complete")
	(<-results).want(t, 0, "worker of sim data:")
	if s := w.sim.Stats(); s.Calls != w.tree.Calls() {
		t.Errorf("%d calls, want %d", s.Calls, w.tree.Calls())
	}
}

func TestWorkerWaitsAndStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.stoppedAt("no run is open; waiting for one", "worker", "sim", "data", "--set", "base="+w.sim.URL).want(t, 0, "0 tasks ended")
	w.sluice("worker", "sim", "data", "--until-empty").want(t, 0, "0 tasks ended")
}

func TestPauseIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.sluice("pause", "sim").want(t, 2, "there is no home").line(t) // in the wrong directory it would pause nobody
	w.sluice("limits", "set", "sim", "calls", "--rate", "1000/s").want(t, 0, "one is made")
	w.sluice("pause", "sim", "--why", "they asked us to").want(t, 0, "Go on with: sluice resume sim")
	results := make(chan result, 1)
	go func() { results <- w.run() }()
	time.Sleep(700 * time.Millisecond)
	if n := w.sim.Stats().Calls; n != 0 {
		t.Errorf("%d calls while paused", n)
	}
	w.sluice("status").want(t, 0, "paused by ", "they asked us to")
	w.sluice("resume", "sim").want(t, 0, "may be called again")
	(<-results).want(t, 0, "complete")
	w.sluice("resume", "sim").want(t, 0, "was not stopped")
}

func TestDemo(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "demo")
	r := execute(t, cli.Process{Args: []string{"demo", "--scale", "50", "--burst", "1000", "--home", home}})
	r.want(t, 0, "complete.", "0 calls refused", "each exactly once", "sluice status --home "+home)
	if strings.Contains(r.out, "NOT AS PROMISED") {
		t.Error(r.out)
	}
	execute(t, cli.Process{Args: []string{"demo", "--scale", "50", "--home", home}}).want(t, 2, "wants a fresh one").line(t)
	execute(t, cli.Process{Args: []string{"read", r.runID(), "--home", home}}).want(t, 0, "6,000 rows of 500 answers")
}
