//go:build prove

package test

import (
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/vendorsim"
	"github.com/sluicehq/sluice/test/servers"
)

// A ward stands before a vendor: while it is sick it refuses every second leaf.
// It counts what is asked for.
type ward struct {
	sick  atomic.Bool
	mu    sync.Mutex
	asked map[string]int // while it was well
	fine  map[string]int // of what it never refuses, at all times
}

func (w *ward) refuses(r *http.Request) bool {
	h := fnv.New32a()
	h.Write([]byte(r.URL.Path))
	return strings.HasSuffix(r.URL.Path, "/data") && h.Sum32()%2 == 0
}

// before puts the ward before a site's vendor.
func (w *ward) before(t *testing.T, s *site) {
	t.Helper()
	to, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		refused := w.refuses(r)
		w.mu.Lock()
		if !refused {
			w.fine[r.URL.String()]++
		} else if !w.sick.Load() {
			w.asked[r.URL.String()]++
		}
		w.mu.Unlock()
		if refused && w.sick.Load() {
			http.Error(rw, `{"error":"not today"}`, http.StatusBadRequest)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(front.Close)
	s.URL = front.URL
}

// TestReplayKills: the process of a replay dies twenty times, anywhere. No task
// is lost, none counts twice, and nothing else is fetched again.
func TestReplayKills(t *testing.T) {
	tree := vendorsim.Tree{Groups: 5, Devices: 100, Datagroups: 2400, Points: 2}
	s := newSite(t, tree, "{name: calls, bucket: 150/s, burst: 5}")
	w := &ward{asked: map[string]int{}, fine: map[string]int{}}
	w.before(t, s)
	w.sick.Store(true)
	first := s.run(t)
	if code := first.Finish(t, 3*time.Minute); code != 1 {
		t.Fatalf("the first run ended with %d:\n%s", code, servers.Tail([]byte(first.Out.String())))
	}
	w.sick.Store(false)
	id := runID(t, first.Out.String())
	dead := strings.Count(run(t, s.env, 0, "dead", "export", s.spec), "\n")
	if dead < 1000 || dead > 1400 {
		t.Fatalf("%d dead tasks of 2,400 leaves, want about half", dead)
	}
	replay := []string{"replay", s.spec, "data", "--status", "4xx", "--why", "it is well again", "--wait"}
	r := rand.New(rand.NewPCG(5, 6))
	early := 0
	for range 20 {
		p := servers.Start(t, s.env, sluice, replay...)
		select {
		case <-p.Done:
			early++
		case <-time.After(time.Duration(20+r.IntN(1500)) * time.Millisecond):
		}
		p.Process.Kill()
		<-p.Done
	}
	last := servers.Start(t, s.env, sluice, replay...)
	if code := last.Finish(t, 3*time.Minute); code != 0 || !strings.Contains(last.Out.String(), " + 0 gone + 0 dead = 1 seed(s)") {
		t.Fatalf("the last replay ended with %d:\n%s", code, servers.Tail([]byte(last.Out.String())))
	}
	rows, want := map[string]bool{}, 0
	for line := range strings.Lines(run(t, s.env, 0, "read", id, "data", "--spec", s.spec)) {
		if rows[line] {
			t.Fatalf("read back twice: %s", line)
		}
		rows[line] = true
	}
	for leaf := range tree.Leaves(1767225600, 1767312000) {
		want += len(leaf.Rows)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	again, repeated := 0, 0
	for what, n := range w.fine {
		if n > 1 && !strings.Contains(what, "/v1/groups?") { // the root list is what a probe asks
			again++
			t.Logf("%s: %d calls", what, n)
		}
	}
	for _, n := range w.asked {
		repeated += n - 1
	}
	t.Logf("20 kills (%d came after the end) in a replay of %d tasks: %d of their calls repeated; %d of %d rows read back, each once; %d other calls repeated",
		early, dead, repeated, len(rows), want, again)
	if repeated > 20*(256+256) {
		t.Errorf("%d repeated calls: more than what can be in no flushed batch", repeated)
	}
	if again > 0 || len(w.asked) != dead || len(rows) != want || early > 5 {
		t.Errorf("want no other call repeated, every dead task fetched, and every row")
	}
}
