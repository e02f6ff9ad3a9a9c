//go:build prove

package test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/vendorsim"
	"github.com/sluicehq/sluice/test/servers"
)

// TestKills: any process may die at any moment, twenty times in one run, while
// lists change between fetches and devices are in several groups.
func TestKills(t *testing.T) {
	tree := vendorsim.Tree{Groups: 20, Devices: 600, Datagroups: 14000, Points: 2, Shared: 3}
	s := newSite(t, tree, "{name: calls, bucket: 200/s, burst: 5}")
	if err := s.Misbehave(vendorsim.Trouble{Changing: true}); err != nil {
		t.Fatal(err)
	}
	launch := []func() *servers.Process{
		func() *servers.Process { return s.run(t) },
		func() *servers.Process { return s.worker(t, "data") },
		func() *servers.Process { return s.worker(t, "datagroups") },
	}
	ps := make([]*servers.Process, len(launch))
	for i := range launch {
		ps[i] = launch[i]()
	}
	var worst time.Duration
	r := rand.New(rand.NewPCG(3, 4))
	for kill := range 20 {
		time.Sleep(time.Duration(500+r.IntN(2500)) * time.Millisecond)
		i := r.IntN(len(ps))
		if kill%4 == 0 { // one that has just begun
			i = 1
		}
		ps[i].Process.Kill()
		<-ps[i].Done
		killed := time.Now()
		if kill%2 == 0 { // the others are alone for a while
			time.Sleep(1500 * time.Millisecond)
		}
		ps[i] = launch[i]()
		for {
			if a := between(s.Arrivals(), killed.Add(50*time.Millisecond), time.Now()); len(a) > 0 {
				worst = max(worst, a[0].Sub(killed))
				break
			}
			if time.Since(killed) > 10*time.Second {
				t.Fatalf("nobody works 10 s after kill %d", kill)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	if code := ps[0].Finish(t, 4*time.Minute); code != 0 {
		t.Fatalf("the run ended with %d:\n%s", code, servers.Tail([]byte(ps[0].Out.String())))
	}
	for _, p := range ps[1:] {
		p.Process.Signal(os.Interrupt)
		p.Finish(t, 90*time.Second)
	}
	st := s.Stats()
	figures := rule{200, 5, 0}.holds(t, s.Arrivals())
	t.Logf("20 kills: %d calls, %d of them repeated (%.1f per kill), work went on within %v;%s",
		st.Calls, st.Repeated, float64(st.Repeated)/20, worst.Round(time.Millisecond), figures)
	if st.Repeated > 20*(256+256) {
		t.Errorf("%d repeated calls: more than what can be in no flushed batch", st.Repeated)
	}
	checkReadBack(t, s, tree, runID(t, ps[0].Out.String()))
}

// checkReadBack compares what is read back with the tree: each leaf once.
func checkReadBack(t *testing.T, s *site, tree vendorsim.Tree, id string) {
	t.Helper()
	got := map[string]int{}
	for line := range strings.Lines(run(t, s.env, 0, s.args("read", id, "data", "--spec", s.spec)...)) {
		var row struct {
			Device, Datagroup json.RawMessage
			Time              int64
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		got[fmt.Sprintf("%s %s %d", row.Device, row.Datagroup, row.Time)]++
	}
	for k, n := range got {
		if n != 1 {
			t.Fatalf("row %s is read back %d times", k, n)
		}
	}
	// A device that a changed list no longer had when it was first recorded is not
	// in the run; each group may lose its last one.
	want := 0
	for leaf := range tree.Leaves(1767225600, 1767312000) {
		want += len(leaf.Rows)
	}
	t.Logf("%d of the %d rows that an unchanging vendor would give are read back, each once", len(got), want)
	if least := want * 9 / 10; len(got) < least || len(got) > want {
		t.Errorf("%d rows read back, want %d to %d", len(got), least, want)
	}
}

// runID finds the run's ID in a command's output.
func runID(t *testing.T, out string) string {
	t.Helper()
	for _, word := range strings.Fields(out) {
		if word = strings.Trim(word, ".,:;()"); strings.HasPrefix(word, "sim-2026") && strings.Count(word, "-") == 2 {
			return word
		}
	}
	t.Fatalf("no run ID in:\n%s", out)
	return ""
}
