//go:build prove

package aws

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

// small is the tree that is walked once for every kill: shared devices, and a
// group whose list is two pages long.
var small = vendorsim.Tree{Groups: 2, Devices: 6, Datagroups: 18, Points: 2, Shared: 2}

// What is wrong with it: one leaf that the vendor refuses, which dies, and one
// that is gone.
const (
	refusedLeaf = "/v1/devices/9007199254740993/datagroups/dg%2F2%20%C3%BC%3F/data"
	goneLeaf    = "/v1/devices/9007199254740995/datagroups/dg%2F1%20%C3%BC%3F/data"
)

const smallRate, smallBurst = 50, 5

// sites is how many walks are under way at once: most of a walk after a kill is
// waiting for the end of a visibility of 60 s.
const sites = 12

// A moment is when a process is killed: at the n-th request of one operation,
// before or after that takes effect.
type moment struct {
	operation string
	n         int
	after     bool
}

func (m moment) String() string {
	when := "before"
	if m.after {
		when = "after"
	}
	return fmt.Sprintf("%s %s %d", when, m.operation, m.n)
}

// smallSite is a site with the small tree.
func smallSite(t *testing.T) *madeSite {
	t.Helper()
	s := makeSite(t, vendorsim.Config{Tree: small, Latency: 5 * time.Millisecond},
		append(limited(fmt.Sprintf("{name: calls, bucket: %d/s, burst: %d, in_flight: 8}", smallRate, smallBurst)),
			"size: 1000, short_ends", "size: 3, short_ends", // devices come in pages of three
			"size: 1000, total", "size: 1, total")...) // groups in pages of one
	s.URL = before(t, s.URL, func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.EscapedPath() {
		case refusedLeaf:
			http.Error(w, `{"error":"never"}`, http.StatusBadRequest)
		case goneLeaf:
			http.NotFound(w, r)
		default:
			return false
		}
		return true
	})
	return s
}

// operation names what a request does, and where.
func (s *madeSite) operation(r awstest.Request) string {
	where := strings.TrimPrefix(r.Resource, s.stack.Table)
	if r.Service == "s3" {
		where, _, _ = strings.Cut(where, "/run=")
		where = strings.TrimPrefix(where, "-"+awstest.Region)
	}
	return r.Service + "." + r.Action + " " + where
}

// moments are those of one clean walk, thinned out evenly to at most so many.
func moments(t *testing.T, most int) (all, some []moment) {
	t.Helper()
	s := smallSite(t)
	p := s.run(t)
	if code := p.finish(t, time.Minute); code != 1 { // one leaf is dead
		t.Fatalf("a clean walk ended with %d:\n%s", code, lastLines(p.errs.String()))
	}
	record, seen := s.servers.Record(), map[string]int{}
	s.walked(t, runOf(t, p.out.String()), p, 0)
	for _, r := range record {
		op := s.operation(r)
		if strings.HasPrefix(op, "sqs.GetQueueAttributes") || strings.HasPrefix(op, "sqs.ReceiveMessage") && seen[op] > 4 {
			continue // looks, by the clock
		}
		seen[op]++
		all = append(all, moment{op, seen[op], false}, moment{op, seen[op], true})
	}
	slices.SortStableFunc(all, func(a, b moment) int { return strings.Compare(a.operation, b.operation) })
	for i := range min(most, len(all)) {
		some = append(some, all[i*len(all)/min(most, len(all))])
	}
	return all, some
}

// walked checks what a walk must come to, whatever happened on the way: the
// verdict, each leaf once, the limits, and no more repeated calls than allowed.
func (s *madeSite) walked(t *testing.T, id string, last *process, repeated int) {
	t.Helper()
	says(t, last.out.String(), "1 gone + 1 dead", " dead", "ended, but not complete")
	missing := func(l vendorsim.Leaf) bool {
		return l.Device == "9007199254740993" && l.Datagroup == "dg/2 ü?" || l.Device == "9007199254740995" && l.Datagroup == "dg/1 ü?"
	}
	s.truth(t, id, small, missing)
	s.withinLimits(t, smallRate, smallBurst)
	if n := s.Stats().Repeated; n > repeated {
		t.Errorf("%d calls repeated, at most %d", n, repeated)
	}
}

// killAt kills the process at a moment, and tells when that has come.
func (s *madeSite) killAt(m moment, started <-chan *process) <-chan struct{} {
	killed, n := make(chan struct{}), 0
	s.servers.Inject(func(_ int, r awstest.Request) awstest.Fault {
		if s.operation(r) != m.operation {
			return awstest.Fault{}
		}
		if n++; n != m.n {
			return awstest.Fault{}
		}
		p := <-started
		close(killed) // before its end can be seen
		p.Process.Kill()
		return awstest.Fault{Cut: true, After: m.after}
	})
	return killed
}

// killedOnce walks the tree with one kill. came: the moment was there.
func killedOnce(t *testing.T, m moment) (came bool, repeated int, took time.Duration) {
	s := smallSite(t)
	began := time.Now()
	started := make(chan *process, 1)
	killed := s.killAt(m, started)
	p := s.run(t)
	started <- p
	code, unpaid := p.finish(t, 3*time.Minute), 0
	select {
	case <-killed:
		came = true
	default:
	}
	s.servers.Inject(nil)
	if came {
		unpaid = s.unpaid(t)
		p = s.run(t)
		code = p.finish(t, 4*time.Minute)
	}
	if code != 1 {
		t.Errorf("%v: the walk ended with %d:\n%s", m, code, lastLines(p.errs.String()))
		return came, 0, time.Since(began)
	}
	s.walked(t, runOf(t, p.out.String()), p, unpaid)
	return came, s.Stats().Repeated, time.Since(began)
}

// unpaid is how many calls a killed process has made whose results are in no
// list or settlement: what was in flight, or waited for its batch.
func (s *madeSite) unpaid(t *testing.T) int {
	t.Helper()
	store := s.servers.Open(t, "AKIAMAKER").Use(s.stack).Runs()
	runs, err := store.List(t.Context(), "sim")
	if err != nil {
		t.Fatal(err)
	}
	paid := map[string]bool{}
	for _, r := range runs {
		err = errors.Join(err, store.Ends(t.Context(), r.ID, func(e fanout.Settlement) error { paid[e.Task.ID] = true; return nil }),
			store.Lists(t.Context(), r.ID, func(l fanout.Listed) error { paid[l.Task] = true; return nil }))
	}
	if err != nil {
		t.Fatal(err)
	}
	return max(0, len(s.Arrivals())-len(paid))
}

// TestKillsOnAWS kills the operator's process at every kind of request of the
// protocol, before and after its effect, and starts it again.
func TestKillsOnAWS(t *testing.T) {
	began := time.Now()
	all, some := moments(t, 60)
	queue := make(chan moment)
	var mu sync.Mutex
	var group sync.WaitGroup
	came, most, sum, longest := 0, 0, 0, time.Duration(0)
	for range sites {
		group.Go(func() {
			for m := range queue {
				t.Run(strings.ReplaceAll(m.String(), "/", "|"), func(t *testing.T) {
					there, repeated, took := killedOnce(t, m)
					t.Logf("killed: %v; %d calls repeated; ended after %v", there, repeated, took.Round(time.Second))
					mu.Lock()
					defer mu.Unlock()
					if there {
						came++
					}
					most, sum, longest = max(most, repeated), sum+repeated, max(longest, took)
				})
			}
		})
	}
	for _, m := range some {
		queue <- m
	}
	close(queue)
	group.Wait()
	t.Logf("%d kills at %d of the %d moments of a walk, in %v: %d repeated calls in all, at most %d after one kill, the longest walk took %v",
		came, len(some), len(all), time.Since(began).Round(time.Second), sum, most, longest.Round(time.Second))
	if came < len(some)*8/10 {
		t.Errorf("only %d of %d moments came", came, len(some))
	}
}
