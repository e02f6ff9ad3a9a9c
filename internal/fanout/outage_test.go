package fanout_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
)

// TestFlappingOutage: the vendor is down but for one lucky probe. Nobody's
// attempts are used up to the end.
func TestFlappingOutage(t *testing.T) {
	for _, leaves := range []int{5, 20} {
		t.Run(fmt.Sprint(leaves, " tasks left"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := fanouttest.NewWorld("", leaves)
				g := &fanouttest.Governor{Interval: 200 * time.Millisecond}
				w.Governor, w.Config.Wait = g, true
				up := time.Now().Add(2 * time.Minute)
				var mu sync.Mutex
				lucky := false
				w.Vendor.Answer = func(task fanout.Task, _ string, n int) error {
					mu.Lock()
					defer mu.Unlock()
					root := len(task.Path) == 0
					if root && n == 1 || time.Now().After(up) {
						return nil
					}
					if root && !lucky {
						lucky = true
						return nil
					}
					return callError(fanout.Unavailable, 503)
				}
				walk(t, w)
				if err := w.Check(0); err != nil {
					t.Error(err)
				}
				if g.Opens < 2 {
					t.Errorf("the breaker opened %d times", g.Opens)
				}
			})
		})
	}
}

// TestThrottledInBetween: a 429 neither clears a poisonous task nor convicts it.
func TestThrottledInBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 1)
		w.Config.Wait = true
		w.Vendor.Answer = func(task fanout.Task, _ string, n int) error {
			switch {
			case len(task.Path) == 0:
				return nil
			case n%2 == 1:
				return callError(fanout.Throttled, 429)
			}
			return callError(fanout.Unavailable, 500)
		}
		walk(t, w)
		if err := w.Check(1); err != nil {
			t.Error(err)
		}
	})
}

// TestRecordedThoughFailed: what is recorded counts, however often the task has
// failed meanwhile in other hands.
func TestRecordedThoughFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 3)
		seed(t, w)
		root := w.Root()
		b := w.Landing.Begin(root.Run, "a")
		nodes := []fanout.Node{{Path: []string{"a0"}}, {Path: []string{"a1"}}, {Path: []string{"a2"}}}
		_, listErr := w.Ledger.List(t.Context(), []fanout.Listed{{Run: root.Run, Tier: "a", Task: root.ID, Fetch: "f", Object: b.Object(), Children: 3, Pages: 1}})
		failures := make([]fanout.Failure, 5)
		for i := range failures {
			failures[i] = fanout.Failure{Task: root, Fetch: fmt.Sprint("x", i), Chunk: 1}
		}
		_, failErr := w.Ledger.Fail(t.Context(), failures)
		err := errors.Join(b.Add(fanout.Record{Kind: "list", Task: root, Fetch: "f", Children: nodes}), b.Commit(t.Context()), listErr, failErr)
		if err != nil {
			t.Fatal(err)
		}
		w.Work(t.Context(), time.Hour)
		if n := len(w.Ledger.Ends()); n != 4 { // the rest of the list is dead; what was found of it is not lost
			t.Errorf("%d tasks ended, want the list and its 3 recorded children", n)
		}
		if err := w.Check(1); err != nil {
			t.Error(err)
		}
	})
}

// TestALongReadThatGetsOn: attempts are counted where the read stands, not over
// its whole length.
func TestALongReadThatGetsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 1)
		w.Vendor.LeafPages = 400
		failed := map[string]bool{}
		w.Vendor.Answer = func(task fanout.Task, cursor string, _ int) error {
			var at int
			fmt.Sscan(cursor, &at)
			if len(task.Path) > 0 && at%50 == 49 && !failed[cursor] {
				failed[cursor] = true
				return callError(fanout.Bad, 200)
			}
			return nil
		}
		walk(t, w)
		if err := w.Check(0); err != nil {
			t.Error(err)
		}
		if all, again := w.Vendor.Calls(); all != 1+400+8 || again != 8 {
			t.Errorf("%d calls, %d again; want 409, and only the 8 failed pages again", all, again)
		}
	})
}

// slowly fails each receive, as slowly as a busy database does.
type slowly struct{ fanout.Queue }

func (slowly) Receive(context.Context, int, time.Duration, time.Duration) ([]fanout.Delivery, error) {
	time.Sleep(10 * time.Second)
	return nil, fanouttest.ErrInjected
}

func TestAStoreThatFailsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 3)
		e := w.Engine(0)
		e.Queue = slowly{w.Queues[0]}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		_, err := e.Drain(ctx, ctx)
		if took := time.Since(began); took > time.Minute || !errors.Is(err, fanouttest.ErrInjected) {
			t.Errorf("gave up after %v: %v", took, err)
		}
	})
}

// TestOneFailedLook: a single failed read of any port ends nothing.
func TestOneFailedLook(t *testing.T) {
	for _, op := range []string{"ledger.AnyOpen", "queue.Receive", "ledger.Look"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := fanouttest.NewWorld("", 3)
				done := false
				w.Faults = &fanouttest.Faults{Fail: func(_ int, o string) fanouttest.Fault {
					if o == op && !done {
						done = true
						return fanouttest.Before
					}
					return fanouttest.None
				}}
				seed(t, w)
				if rep, err := w.Engine(0).Drain(t.Context(), t.Context()); err != nil || rep.Outcomes[fanout.Done] != 1 {
					t.Errorf("%v, %v", rep.Outcomes, err)
				}
			})
		})
	}
}

// TestHugeLists: children waiting for a commit are bounded, however well their
// lists pack.
func TestHugeLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 30, 2000)
		w.Vendor.PageSize = 5000
		w.Config.ChunkChildren = 2000 // so a batch is due at 4,000 children
		seed(t, w)
		for i := range 2 {
			if _, err := w.Engine(i).Drain(t.Context(), t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(w.Queues[2].Tasks()); n != 60_000 {
			t.Errorf("%d children sent, want 60,000", n)
		}
		if n := w.Landing.Objects(); n < 8 {
			t.Errorf("60,000 children landed in %d objects: more than a few lists wait for one commit", n)
		}
	})
}
