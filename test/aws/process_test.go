package aws

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

// lagOfEnd is how long after its last call a run may end: the last commit, two
// looks a second apart, and the verdict.
const lagOfEnd = 8 * time.Second

// before puts a handler before a server: it answers itself and returns true, or
// lets the request pass. The result is the address to use instead.
func before(t *testing.T, server string, answer func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	return front.URL
}

// says checks that a command said each of some phrases.
func says(t *testing.T, said string, phrases ...string) {
	t.Helper()
	for _, p := range phrases {
		if !strings.Contains(said, p) {
			t.Errorf("%q is not in:\n%s", p, lastLines(said))
		}
	}
}

// TestOperator goes through an operator's day: every command once, on a stack.
// One leaf is refused by the vendor until it is mended.
func TestOperator(t *testing.T) {
	t.Parallel()
	tree := vendorsim.Tree{Groups: 3, Devices: 8, Datagroups: 24, Points: 2, Shared: 3}
	s := makeSite(t, vendorsim.Config{Tree: tree, Latency: 5 * time.Millisecond}, limited("{name: calls, bucket: 50/s, burst: 5, in_flight: 16}")...)
	var mended atomic.Bool
	const sick = "/v1/devices/9007199254740993/datagroups/dg%2F3%20%C3%BC%3F/data"
	s.URL = before(t, s.URL, func(w http.ResponseWriter, r *http.Request) bool {
		refuse := !mended.Load() && r.URL.EscapedPath() == sick
		if refuse {
			http.Error(w, `{"error":"no metrics for you"}`, http.StatusBadRequest)
		}
		return refuse
	})
	out, _ := s.sluice(t, 0, s.called("vendor", "preview", s.spec)...)
	says(t, out, "Preview of vendor sim", "calls made")
	out, _ = s.sluice(t, 0, append(s.called("seed", s.spec), window...)...)
	id := runOf(t, out)
	says(t, out, "is seeded: 1 task of tier groups ended", "3 tasks on the queue of tier devices", "go on with: sluice run", "--on aws")
	s.steers(t)
	run := s.run(t)
	if code := run.finish(t, time.Minute); code != 1 {
		t.Fatalf("with a dead leaf the run ended with %d:\n%s", code, lastLines(run.errs.String()))
	}
	s.endsSoon(t, run)
	says(t, run.out.String(), "ended, but not complete", "1 dead task", "sluice dead", "sluice replay", "--on aws", "s3://"+s.stack.Bucket+"/landing/")
	out, _ = s.sluice(t, 0, "dead", s.spec)
	says(t, out, "1 dead task of tier data in run "+id, "400", "no metrics for you")
	mended.Store(true)
	time.Sleep(time.Second) // a poll that the run has left open may yet take, and hide, what is sent
	waiting := s.replays(t, id)
	run = s.run(t)
	if code := run.finish(t, time.Minute); code != 0 {
		t.Fatalf("the mended run ended with %d:\n%s", code, lastLines(run.errs.String()))
	}
	s.endsSoon(t, run)
	if code := waiting.finish(t, time.Minute); code != 0 {
		t.Errorf("the replay that waits ended with %d:\n%s", code, lastLines(waiting.errs.String()))
	}
	says(t, waiting.out.String(), id, "complete", "36 done + 0 gone + 0 dead")
	says(t, run.out.String(), id, "complete", "36 done + 0 gone + 0 dead")
	out, _ = s.sluice(t, 0, "repair", id)
	says(t, out, "Run "+id+" misses nothing")
	out, _ = s.sluice(t, 0, "dead", s.spec)
	says(t, out, "No task of "+s.spec+" is dead")
	out, _ = s.sluice(t, 0, "status", s.spec)
	says(t, out, id, ": closed")
	s.truth(t, id, tree, nil)
	s.withinLimits(t, 50, 5)
}

// replays starts a replay that waits for others to work it, and returns once its
// task is on the queue.
func (s *madeSite) replays(t *testing.T, id string) *process {
	t.Helper()
	p := s.start(t, "replay", s.spec, "--wait", "--why", "mended")
	for deadline := time.Now().Add(time.Minute); !strings.Contains(p.out.String(), "1 task of run "+id+" on the queue again"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing is replayed:\n%s\n%s", lastLines(p.out.String()), lastLines(p.errs.String()))
		}
	}
	return p
}

// steers pauses, resumes, and changes a limit.
func (s *madeSite) steers(t *testing.T) {
	t.Helper()
	out, _ := s.sluice(t, 0, "pause", s.spec, "--why", "their maintenance")
	says(t, out, "Vendor sim is paused. Go on with: sluice resume", "--on aws")
	out, _ = s.sluice(t, 0, "status", s.spec)
	says(t, out, "their maintenance")
	out, _ = s.sluice(t, 0, "resume", s.spec)
	says(t, out, "Vendor sim may be called again")
	s.sluice(t, 0, "limits", "set", s.spec, "calls", "--rate", "40/s", "--why", "they asked us to")
	out, _ = s.sluice(t, 0, "limits", s.spec)
	says(t, out, "bucket 40 per second", "they asked us to", "their maintenance")
}

// endsSoon checks that a run did not linger after its last call.
func (s *madeSite) endsSoon(t *testing.T, run *process) {
	t.Helper()
	a := s.Arrivals()
	after := run.ended.Sub(a[len(a)-1])
	t.Logf("the run ended %v after its last call", after.Round(10*time.Millisecond))
	if after > lagOfEnd {
		t.Errorf("the run ended %v after its last call: at most %v", after, lagOfEnd)
	}
}

// withinLimits checks the vendor's own count of every sliding window.
func (s *madeSite) withinLimits(t *testing.T, rate float64, burst int) {
	t.Helper()
	arrivals := s.Arrivals()
	for _, w := range []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, time.Minute} {
		allowed := int(rate*w.Seconds()) + burst
		if worst := vendorsim.Worst(arrivals, w); worst > allowed {
			t.Errorf("%d calls in %v: at most %d", worst, w, allowed)
		}
	}
}

// statusOf is what `sluice status` says of a run.
func (s *madeSite) statusOf(t *testing.T, id string) runStatus {
	t.Helper()
	out, _ := s.sluice(t, 0, "status", s.spec, "--json")
	var all []struct{ Runs []runStatus }
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all[0].Runs, func(r runStatus) bool { return r.Run == id })
	if i < 0 {
		t.Fatalf("no run %s in:\n%s", id, out)
	}
	return all[0].Runs[i]
}

// TestWorkers: a process seeds, one works each tier, one of them is told to stop
// in the middle of its work, another takes its place, and a run closes.
func TestWorkers(t *testing.T) {
	t.Parallel()
	tree := vendorsim.Tree{Groups: 3, Devices: 30, Datagroups: 500, Points: 2}
	s := makeSite(t, vendorsim.Config{Tree: tree, Latency: 300 * time.Millisecond}, limited("{name: calls, bucket: 50/s, burst: 5, in_flight: 32}")...)
	out, _ := s.sluice(t, 0, append(s.called("seed", s.spec), window...)...)
	id := runOf(t, out)
	upper := []*process{s.worker(t, "devices"), s.worker(t, "datagroups")}
	first := s.worker(t, "data")
	s.calls(t, 150, 30*time.Second, first)
	asked := time.Now()
	first.Process.Signal(syscall.SIGTERM)
	if code := first.finish(t, 12*time.Second); code != 0 && code != 3 { // the calls' timeout is 10 s
		t.Errorf("the worker ended with %d:\n%s", code, lastLines(first.errs.String()))
	}
	left, calls := s.depth(t, "data"), len(s.Arrivals())
	t.Logf("the worker ended %v after SIGTERM with code %d; its queue holds %+v", first.ended.Sub(asked).Round(10*time.Millisecond), first.ProcessState.ExitCode(), left)
	if left.Hidden != 0 || left.Visible == 0 {
		t.Errorf("the worker has left %+v on its queue: nothing should be hidden", left)
	}
	says(t, first.errs.String(), "calls under way are finished")
	says(t, first.out.String(), "worker of sim data", "ended; calls:")
	second := s.worker(t, "data")
	began := time.Now()
	s.calls(t, calls+5, 10*time.Second, second)
	t.Logf("the next worker calls %v after its start", time.Since(began).Round(10*time.Millisecond))
	s.calls(t, tree.Calls(), 40*time.Second, second)
	run := s.run(t)
	if code := run.finish(t, 30*time.Second); code != 0 {
		t.Fatalf("the run ended with %d:\n%s", code, lastLines(run.errs.String()))
	}
	for _, p := range append(upper, second) {
		p.Process.Signal(syscall.SIGTERM)
	}
	for _, p := range append(upper, second) {
		if code := p.finish(t, 12*time.Second); code != 0 && code != 3 {
			t.Errorf("%v ended with %d", p.Args, code)
		}
	}
	s.truth(t, id, tree, nil)
	s.withinLimits(t, 50, 5)
	if st := s.Stats(); st.Repeated != 0 || st.Calls != tree.Calls() {
		t.Errorf("%d calls, %d repeated: want %d and none", st.Calls, st.Repeated, tree.Calls())
	}
	for _, tier := range tiers {
		if d := s.depth(t, tier); d != (awsfleet.Depth{}) {
			t.Errorf("queue %s holds %+v in the end", tier, d)
		}
	}
}
