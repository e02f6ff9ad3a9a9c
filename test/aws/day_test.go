package aws

import (
	"context"
	"encoding/json"
	"regexp"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/functions/stacktest"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

// TestOperatorsDay is what an operator does from a run in progress that the
// functions work: the rate halved live, a pause, a poisoned device found by its
// cause, mended at the vendor and replayed. Nothing else is fetched again, by
// the vendor's own count. Then a past window is read by the fleet.
func TestOperatorsDay(t *testing.T) {
	t.Parallel()
	tree := vendorsim.Tree{Groups: 4, Devices: 20, Datagroups: 400, Points: 2}
	s := deploy(t, vendorsim.Config{Tree: tree, Latency: 5 * time.Millisecond}, "{name: calls, bucket: 40/s, burst: 5, in_flight: 16}", stacktest.Options{})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const poisoned = "9007199254740995"
	if err := s.Misbehave(vendorsim.Trouble{Poison: "/devices/" + poisoned + "/"}); err != nil {
		t.Fatal(err)
	}
	seeded := make(chan error, 1)
	go func() {
		_, err := s.account.Invoke(ctx, "sluice-sim-seed", map[string]string{"from": "2026-01-02T00:00:00Z", "to": "2026-01-03T00:00:00Z"})
		seeded <- err
	}()
	go s.account.Tick(ctx, ctx, time.Second) // a minute
	s.eventually(t, "sixty calls", time.Minute, func() bool { return s.Stats().Calls >= 60 })
	id := s.runs(t)[0].Run

	says(t, s.sluice(t, 0, "limits", "set", "sim", "calls", "--rate", "20/s", "--dry-run"), "what is left of run "+id, "Nothing was changed")
	s.sluice(t, 0, "limits", "set", "sim", "calls", "--rate", "20/s", "--burst", "5", "--why", "they asked us to")
	time.Sleep(2 * time.Second) // the promise
	from := time.Now()
	time.Sleep(4 * time.Second)
	if n := s.between(from, from.Add(4*time.Second)); n > 4*20+5 || n == 0 {
		t.Errorf("%d calls in 4 s at the new rate: at most %d", n, 4*20+5)
	}
	s.sluice(t, 0, "pause", "sim", "--why", "their maintenance")
	time.Sleep(2 * time.Second)
	paused := s.Stats().Calls
	time.Sleep(3 * time.Second)
	if n := s.Stats().Calls - paused; n > 0 {
		t.Errorf("%d calls while paused", n)
	}
	says(t, s.sluice(t, 0, "status", "sim"), "their maintenance", id)
	s.sluice(t, 0, "resume", "sim")
	s.sluice(t, 0, "limits", "set", "sim", "calls", "--as-spec")
	if err := <-seeded; err != nil {
		t.Fatal("the seeder:", err)
	}
	s.await(t, id, "closed", 3*time.Minute)

	found := s.sluice(t, 0, "dead", "sim")
	says(t, found, "1 dead task of tier datagroups", "422", "this cannot be processed")
	cause := regexp.MustCompile(`(?m)^([0-9a-v]{6})  `).FindStringSubmatch(found)
	if cause == nil {
		t.Fatalf("no cause is named:\n%s", found)
	}
	if err := s.Misbehave(vendorsim.Trouble{}); err != nil {
		t.Fatal(err)
	}
	before := s.Stats()
	says(t, s.sluice(t, 0, "replay", "sim", "--cause", cause[1], "--why", "they have mended it", "--wait"), "complete")
	after := s.Stats()
	if n, want := after.Calls-before.Calls, 1+tree.Datagroups/tree.Devices; n != want || after.Repeated != 0 {
		t.Errorf("the replay made %d calls, want %d; %d answers were repeated", n, want, after.Repeated)
	}
	s.complete(t, id, tree)
	says(t, s.sluice(t, 0, "limits", "sim"), "they asked us to", "their maintenance", "replay", "they have mended it", "hour")
	says(t, s.sluice(t, 0, "plan", "sim"), "by the tree of run "+id, "SQS", "Lambda")
	s.figures(t)

	says(t, s.sluice(t, 0, "backfill", "sim", "--from", "2026-01-01", "--to", "2026-01-03", "--wait"), "2026-01-02 UTC has been read", "complete")
	stop()
	s.limits(t, 40, 5)
	s.operator(t)
}

// figures compares what the samples of all functions add up to with what the
// vendor saw.
func (s *site) figures(t *testing.T) {
	t.Helper()
	var doc struct{ Calls map[string]int }
	s.eventually(t, "the last samples", 30*time.Second, func() bool {
		if err := json.Unmarshal([]byte(s.sluice(t, 0, "limits", "sim", "--json")), &doc); err != nil {
			t.Fatal(err)
		}
		return doc.Calls["hour"] == s.Stats().Calls
	})
}

// between is how many calls arrived from an instant on and before another.
func (s *site) between(from, to time.Time) (n int) {
	for _, at := range s.Arrivals() {
		if !at.Before(from) && at.Before(to) {
			n++
		}
	}
	return n
}
