//go:build prove

package aws

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/functions/stacktest"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

const (
	steadyRate, steadyBurst = 20, 2
	longestGap              = 2 * time.Second
	steadily                = 150 * time.Second
)

// TestHandover: one tier has work for minutes, its function's time is up every
// 40 s, and the clock ticks every 5 s in place of a minute: whoever waits for its
// turn goes on within two seconds, and the limit holds. Then the drain at work is
// killed, and its lease must run out first.
func TestHandover(t *testing.T) {
	tree := vendorsim.Tree{Groups: 2, Devices: 20, Datagroups: 5500, Points: 1}
	s := deploy(t, vendorsim.Config{Tree: tree, Latency: 20 * time.Millisecond}, "{name: calls, bucket: 20/s, burst: 2, in_flight: 16}",
		stacktest.Options{Timeout: 40 * time.Second})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	window := map[string]string{"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
	go func() { _, _ = s.account.Invoke(ctx, "sluice-sim-seed", window) }() // its calls show
	go s.account.Tick(ctx, ctx, 5*time.Second)
	const data = "sluice-sim-tier-data"
	s.eventually(t, "steady work in the last tier", 2*time.Minute, func() bool {
		a := s.Arrivals()
		return len(a) > 40+22 && time.Since(a[len(a)-1]) < time.Second && s.account.Functions[data].Busy() > 0
	})
	time.Sleep(5 * time.Second)
	from := time.Now()
	atOnce := s.busiest(data, steadily)
	to := time.Now()
	gaps, ends := s.gaps(from, to), s.ends(data, from, to)
	share := float64(len(within(s.Arrivals(), from, to))) / (steadyRate * to.Sub(from).Seconds())
	t.Logf("%d drains handed over in %v; share of the limit used %.4f; at most %d programs at once; the longest gaps without calls: %v",
		len(ends), to.Sub(from).Round(time.Second), share, atOnce, gaps[:min(6, len(gaps))])
	s.tellGaps(t, from, to)
	if len(ends) < 3 {
		t.Errorf("only %d drains ended for their time", len(ends))
	}
	if gaps[0] > longestGap {
		t.Errorf("nobody called for %v: at most %v", gaps[0], longestGap)
	}
	if atOnce > 2 {
		t.Errorf("%d programs of one tier at once: reserved are its one worker and one that stands by", atOnce)
	}
	s.killed(t, data)
	s.steady(t)
}

// busiest watches a function and returns how many of it were at work at once.
func (s *site) busiest(function string, long time.Duration) (most int) {
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		most = max(most, s.account.Functions[function].Busy())
	}
	return most
}

// gaps are the times between calls, longest first.
func (s *site) gaps(from, to time.Time) (out []time.Duration) {
	a := within(s.Arrivals(), from, to)
	for i := range a[1:] {
		out = append(out, a[i+1].Sub(a[i]).Round(time.Millisecond))
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out
}

// tellGaps says when each gap of over a second began.
func (s *site) tellGaps(t *testing.T, from, to time.Time) {
	t.Helper()
	a := within(s.Arrivals(), from, to)
	for i := range a[1:] {
		if gap := a[i+1].Sub(a[i]); gap > time.Second {
			t.Logf("no calls for %v from %s on", gap.Round(time.Millisecond), a[i].Format("15:04:05.000"))
		}
	}
}

// ends are when drains of a function ended because their time was over.
func (s *site) ends(function string, from, to time.Time) (out []time.Time) {
	for _, a := range s.account.Answers(function) {
		if strings.Contains(string(a.Body), "its time was over") && a.At.After(from.Add(-40*time.Second)) && a.At.Before(to) {
			out = append(out, a.At)
		}
	}
	return out
}

// killed kills the drain at work, and tells how long nobody called.
func (s *site) killed(t *testing.T, function string) {
	t.Helper()
	at := time.Now()
	s.account.Functions[function].Kill()
	s.eventually(t, "calls after a kill", time.Minute, func() bool {
		a := s.Arrivals()
		return a[len(a)-1].After(at.Add(300 * time.Millisecond))
	})
	a := within(s.Arrivals(), at.Add(300*time.Millisecond), time.Now())
	gap := a[0].Sub(at)
	t.Logf("after kill -9 of the drain at work somebody called again within %v (its lease of 30 s had to end)", gap.Round(10*time.Millisecond))
	if gap > 40*time.Second {
		t.Errorf("nobody called for %v after a kill", gap)
	}
	time.Sleep(5 * time.Second)
}

// steady checks every window of the vendor's own count.
func (s *site) steady(t *testing.T) {
	t.Helper()
	arrivals := s.Arrivals()
	for _, w := range []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, time.Minute} {
		allowed := int(steadyRate*w.Seconds()) + steadyBurst
		worst := vendorsim.Worst(arrivals, w)
		t.Logf("in %v at most %d calls, %d allowed", w, worst, allowed)
		if worst > allowed {
			t.Errorf("%d calls in %v: at most %d", worst, w, allowed)
		}
	}
	st := s.Stats()
	t.Logf("%d calls, %d repeated", st.Calls, st.Repeated)
	// Only the one drain that was killed may have called in vain.
	if most := 5*steadyRate + 32; st.Repeated > most {
		t.Errorf("%d calls repeated: at most %d", st.Repeated, most)
	}
}

func within(arrivals []time.Time, from, to time.Time) (out []time.Time) {
	for _, at := range arrivals {
		if at.After(from) && at.Before(to) {
			out = append(out, at)
		}
	}
	return out
}
