//go:build prove

package test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/vendorsim"
	"github.com/sluicehq/sluice/test/servers"
)

// The proofs that need real minutes: limits held by several processes, kills,
// outages. `make prove` runs them and prints their figures.

// rule is a limit as it is proved: at most rate*window+burst in any window.
type rule struct {
	rate   float64 // per second
	burst  int
	strict time.Duration // only windows of this length, without the burst
}

// holds checks every sliding window of the arrivals against the rule.
func (r rule) holds(t *testing.T, arrivals []time.Time) (figures string) {
	t.Helper()
	windows := []time.Duration{time.Second, 5 * time.Second, time.Minute}
	if r.strict > 0 {
		windows = []time.Duration{r.strict}
	}
	for _, w := range windows {
		allowed := int(r.rate*w.Seconds()+0.5) + r.burst
		worst := vendorsim.Worst(arrivals, w)
		figures += fmt.Sprintf("  %v: worst %d of %d", w, worst, allowed)
		if worst > allowed {
			t.Errorf("%d calls in a window of %v, allowed are %d", worst, w, allowed)
		}
	}
	return figures
}

// bigTree has work for more than a minute at 200/s.
var bigTree = vendorsim.Tree{Groups: 10, Devices: 1000, Datagroups: 60000, Points: 2}

// fleetOfFour starts a run and three workers, and waits until work is queued
// for all of them.
func fleetOfFour(t *testing.T, s *site) []*servers.Process {
	t.Helper()
	ps := []*servers.Process{s.run(t)}
	for range 3 {
		ps = append(ps, s.worker(t, "data"))
	}
	for range 600 {
		if len(s.Arrivals()) > 150 {
			time.Sleep(3 * time.Second)
			return ps
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("the fleet does not come to work:\n%s", servers.Tail([]byte(ps[0].Out.String())))
	return nil
}

func busy(t *testing.T) {
	for range runtime.NumCPU() {
		p := servers.Start(t, nil, "sh", "-c", "while :; do :; done")
		t.Cleanup(func() { p.Process.Kill() })
	}
}

// TestShare: four processes share one limit for a minute of queued work.
func TestShare(t *testing.T) {
	for _, c := range []struct {
		name, limits string
		rule         []rule
		least        float64 // share of the first rule's rate
		busy         bool
		worker       func(t *testing.T, s *site)
	}{
		{"bucket, idle", "{name: calls, bucket: 200/s, burst: 5}", []rule{{200, 5, 0}}, 0.99, false, nil},
		{"bucket, busy", "{name: calls, bucket: 200/s, burst: 5}", []rule{{200, 5, 0}}, 0.99, true, nil},
		{"window of 500 per 60 s", "{name: calls, window: 500/60s}", []rule{{500. / 60, 0, time.Minute}}, 0.98, false, nil},
		{"two limits", "{name: second, bucket: 200/s, burst: 5}\n{name: ten, window: 1500/10s}",
			[]rule{{150, 0, 10 * time.Second}, {200, 5, 0}}, 0.98, false, nil},
		{"bucket, one process stopped for 2 s", "{name: calls, bucket: 200/s, burst: 5}", []rule{{200, 5, 0}}, 0.90, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, bigTree, c.limits)
			if c.busy {
				busy(t)
			}
			ps := fleetOfFour(t, s)
			from := time.Now()
			if strings.Contains(c.name, "stopped") {
				time.Sleep(20 * time.Second)
				ps[2].Process.Signal(syscall.SIGSTOP)
				time.Sleep(2 * time.Second)
				ps[2].Process.Signal(syscall.SIGCONT)
			}
			time.Sleep(time.Until(from.Add(60 * time.Second)))
			to := from.Add(60 * time.Second)
			arrivals := s.Arrivals()
			n := during(arrivals, from, to)
			share := float64(n) / (c.rule[0].rate * 60)
			figures := ""
			for _, r := range c.rule {
				figures += r.holds(t, arrivals)
			}
			t.Logf("%s: %d calls in 60 s, share used %.4f;%s", c.name, n, share, figures)
			if share < c.least {
				t.Errorf("share used %.4f, want %.2f", share, c.least)
			}
			stopAll(t, ps)
		})
	}
}

func stopAll(t *testing.T, ps []*servers.Process) {
	t.Helper()
	for _, p := range ps {
		p.Process.Signal(os.Interrupt)
	}
	for _, p := range ps {
		if code := p.Finish(t, 90*time.Second); code != 3 && code != 0 {
			t.Errorf("%v ended with %d:\n%s", p.Args[1:3], code, servers.Tail([]byte(p.Out.String())))
		}
	}
}

// TestRateHalved: an operator's change holds within 0.2 s.
func TestRateHalved(t *testing.T) {
	s := newSite(t, bigTree, "{name: calls, bucket: 200/s, burst: 5}")
	ps := fleetOfFour(t, s)
	time.Sleep(5 * time.Second)
	run(t, s.env, 0, "limits", "set", s.spec, "calls", "--rate", "100/s", "--why", "proof")
	changed := time.Now()
	time.Sleep(20 * time.Second)
	since := between(s.Arrivals(), changed, time.Now())
	after := between(s.Arrivals(), changed.Add(200*time.Millisecond), changed.Add(20*time.Second))
	figures := rule{100, 5, 0}.holds(t, after)
	share := float64(len(after)) / (100 * 19.8)
	t.Logf("halved: calls in the first 0.2, 0.5, 1, 2 s: %d, %d, %d, %d", during(since, changed, changed.Add(200*time.Millisecond)),
		during(since, changed, changed.Add(500*time.Millisecond)), during(since, changed, changed.Add(time.Second)), during(since, changed, changed.Add(2*time.Second)))
	t.Logf("halved: from 0.2 s on %d calls in 19.8 s, share of the new rate %.4f;%s", len(after), share, figures)
	if share < 0.94 { // up to a second without calls makes room for slots that others may still use
		t.Errorf("share of the new rate %.4f", share)
	}
	stopAll(t, ps)
}

// TestBrake: one 429 stops the whole fleet; a rate change during the brake does
// not end it.
func TestBrake(t *testing.T) {
	for _, change := range []bool{false, true} {
		t.Run(fmt.Sprint("with a rate change: ", change), func(t *testing.T) {
			s := newSite(t, bigTree, "{name: calls, bucket: 200/s, burst: 5}")
			ps := fleetOfFour(t, s)
			if err := s.Misbehave(vendorsim.Trouble{Throttle: true, RetryAfter: 8, For: vendorsim.Duration(60 * time.Millisecond)}); err != nil {
				t.Fatal(err)
			}
			var first time.Time
			for first.IsZero() {
				time.Sleep(5 * time.Millisecond)
				first = s.FirstRefused()
			}
			if change {
				time.Sleep(2 * time.Second)
				run(t, s.env, 0, "limits", "set", s.spec, "calls", "--rate", "100/s", "--why", "proof")
			}
			time.Sleep(time.Until(first.Add(20 * time.Second)))
			arrivals := s.Arrivals()
			late := between(arrivals, first, first.Add(8*time.Second))
			bound := int(200*0.1) + s.Stats().Peak
			var last time.Duration
			if len(late) > 0 {
				last = late[len(late)-1].Sub(first)
			}
			resumed := between(arrivals, first.Add(8*time.Second), first.Add(20*time.Second))
			if len(resumed) == 0 {
				t.Fatal("nobody calls after the brake")
			}
			rate := 200.
			if change {
				rate = 100
			}
			figures := rule{rate, 5, 0}.holds(t, resumed)
			t.Logf("%d calls followed the first 429, the last after %v (bound: %d); calls resumed %v after it;%s",
				len(late), last.Round(time.Millisecond), bound, resumed[0].Sub(first).Round(time.Millisecond), figures)
			if len(late) > bound {
				t.Errorf("%d calls after the brake, bound %d", len(late), bound)
			}
			stopAll(t, ps)
		})
	}
}

// TestClockAhead: a process whose clock is 2 s ahead books nothing and says so;
// the others use the whole limit.
func TestClockAhead(t *testing.T) {
	s := newSite(t, bigTree, "{name: calls, bucket: 200/s, burst: 5}")
	skewed := t.TempDir() + "/skewed"
	if out, err := exec.Command("go", "build", "-o", skewed, "./skewed").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ps := fleetOfFour(t, s)
	odd := servers.Start(t, s.env, skewed, s.spec, s.URL, s.home, "2s")
	time.Sleep(3 * time.Second)
	from := time.Now()
	time.Sleep(30 * time.Second)
	arrivals := s.Arrivals()
	n := during(arrivals, from, from.Add(30*time.Second))
	figures := rule{200, 5, 0}.holds(t, arrivals)
	t.Logf("with one clock 2 s ahead: share used by the others %.4f;%s", float64(n)/6000, figures)
	if float64(n)/6000 < 0.99 {
		t.Errorf("share used %.4f", float64(n)/6000)
	}
	odd.Process.Signal(os.Interrupt)
	odd.Finish(t, 30*time.Second)
	if out := odd.Out.String(); !strings.Contains(out, "calls: 0") || !strings.Contains(out, "clock") {
		t.Errorf("the process whose clock is off:\n%s", servers.Tail([]byte(out)))
	}
	stopAll(t, ps)
}

// TestOutage: the vendor is away for a minute, at 50/s.
func TestOutage(t *testing.T) {
	tree := vendorsim.Tree{Groups: 5, Devices: 200, Datagroups: 2800, Points: 2}
	for _, down := range []string{"refused", "503", "hanging"} {
		t.Run(down, func(t *testing.T) {
			s := newSite(t, tree, "{name: calls, bucket: 50/s, burst: 5}")
			p := s.run(t)
			for len(s.Arrivals()) < 600 {
				time.Sleep(100 * time.Millisecond)
			}
			from := time.Now()
			if err := s.Misbehave(vendorsim.Trouble{Down: down, For: vendorsim.Duration(time.Minute)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(61 * time.Second)
			end := from.Add(time.Minute)
			var back time.Duration
			for back == 0 {
				if a := between(s.Arrivals(), end.Add(100*time.Millisecond), time.Now()); len(a) > 20 {
					back = a[0].Sub(end)
				}
				if time.Since(end) > 30*time.Second {
					t.Fatal("nobody calls after the outage")
				}
				time.Sleep(100 * time.Millisecond)
			}
			if code := p.Finish(t, 3*time.Minute); code != 0 {
				t.Errorf("the run ended with %d:\n%s", code, servers.Tail([]byte(p.Out.String())))
			}
			calls := during(s.Arrivals(), from, end)
			if down == "refused" { // the vendor does not see those
				calls = reportedCalls(t, p.Out.String()) - len(s.Arrivals())
			}
			t.Logf("%s: %d calls into the outage, work went on %v after its end", down, calls, back.Round(10*time.Millisecond))
			if calls > 60 || calls < 5 {
				t.Errorf("%d calls into the outage, want at most 60", calls)
			}
			if back > 10*time.Second {
				t.Errorf("work went on %v after the outage, want 10 s", back)
			}
			if out := p.Out.String(); !strings.Contains(out, " 0 dead") {
				t.Errorf("the verdict:\n%s", servers.Tail([]byte(out)))
			}
		})
	}
}

// reportedCalls is how many calls a run says that it made.
func reportedCalls(t *testing.T, out string) int {
	t.Helper()
	m := regexp.MustCompile(`(?m)^Calls +([0-9,]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no calls in:\n%s", out)
	}
	n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
