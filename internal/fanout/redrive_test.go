package fanout_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
)

// sick is a world of three lists of two leaves each, in which one list and one
// leaf are answered badly until the vendor is well. Both are dead in it.
func sick(t *testing.T) (w *fanouttest.World, well *atomic.Bool) {
	t.Helper()
	w, well = fanouttest.NewWorld("", 3, 2), new(atomic.Bool)
	w.Vendor.Answer = func(ts fanout.Task, _ string, _ int) error {
		bad := slices.Equal(ts.Path, []string{"a0"}) || slices.Equal(ts.Path, []string{"a1", "b1"})
		if bad && !well.Load() {
			return callError(fanout.Broken, 200)
		}
		return nil
	}
	walk(t, w)
	if err := w.Check(2); err != nil {
		t.Fatal(err)
	}
	return w, well
}

// redrive moves all dead letters back to their queues.
func redrive(w *fanouttest.World) (moved int) {
	for i, q := range w.Dead {
		moved += q.MoveTo(w.Queues[i])
	}
	return moved
}

// checkRedriven: all is done, the two tasks in a life that a redrive began, and
// the vendor was asked for nothing but them and what lay below.
func checkRedriven(t *testing.T, w *fanouttest.World, life int) {
	t.Helper()
	if err := w.Check(0); err != nil {
		t.Error(err)
	}
	for _, path := range [][]string{{"a0"}, {"a1", "b1"}} {
		end := w.Ledger.Ends()[fanout.TaskID(w.Run, fanouttest.TierName(len(path)), path)]
		if end.Task.Life != life || end.Task.Replay != fanout.Redrive || end.Task.Dead {
			t.Errorf("task %q ended %s as %+v, want it in life %d by a redrive", path, end.Outcome, end.Task, life)
		}
	}
	if left := redrive(w); left > 0 {
		t.Errorf("%d tokens are left", left)
	}
}

// TestRedrivenTokens: whoever moves the dead letters back to their queues, past
// Sluice, gets them tried again.
func TestRedrivenTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, well := sick(t)
		if n := redrive(w); n != 2 {
			t.Fatalf("%d tokens, want 2", n)
		}
		w.Work(t.Context(), time.Hour) // in vain: they die again, each with a new token
		if err := w.Check(2); err != nil {
			t.Fatal(err)
		}
		well.Store(true)
		if n := redrive(w); n != 2 {
			t.Fatalf("%d tokens after a redrive in vain, want 2", n)
		}
		w.Work(t.Context(), time.Hour)
		checkRedriven(t, w, 3)
		// 10 tasks, the two of them twice in each of two lives before.
		if all, _ := w.Vendor.Calls(); all != 10+2*2*2 {
			t.Errorf("%d calls, want %d", all, 10+2*2*2)
		}
	})
}

// TestRedriveFaults fails every operation of a redrive once, before and after it
// took effect, and lets a worker die there as well.
func TestRedriveFaults(t *testing.T) {
	for _, fault := range []fanouttest.Fault{fanouttest.Before, fanouttest.After} {
		for _, dies := range []bool{false, true} {
			swept := 0
			for n, done := 0, false; !done; n++ {
				synctest.Test(t, func(t *testing.T) {
					w, well := sick(t)
					well.Store(true)
					redrive(w)
					ctx, kill := context.WithCancel(t.Context())
					defer kill()
					var dead atomic.Bool
					w.Faults = &fanouttest.Faults{Fail: func(i int, _ string) fanouttest.Fault {
						switch {
						case dead.Load():
							return fanouttest.Before
						case i == n && dies:
							dead.Store(true)
							kill()
							return fault
						case i == n:
							return fault
						}
						return fanouttest.None
					}}
					w.Work(ctx, time.Hour)
					ops := w.Faults.Ops()
					if n >= len(ops) {
						done = true
						return
					}
					swept++
					if dies {
						w.Faults = nil
						for _, q := range w.Queues {
							q.Expire()
						}
						w.Work(t.Context(), time.Hour)
					}
					if checkRedriven(t, w, 2); t.Failed() {
						t.Fatalf("operation %d (%s) failed, mode %d, death %v", n, ops[n], fault, dies)
					}
					if all, _ := w.Vendor.Calls(); !dies && all != 10+2*2 {
						t.Errorf("operation %d (%s) failed, mode %d: %d calls, want 14", n, ops[n], fault, all)
					}
				})
			}
			if swept < 20 {
				t.Errorf("only %d operations", swept)
			}
		}
	}
}

// TestRedrivenByOneWhoDied: whoever reopened tasks has died before their run was
// told, and perhaps a verdict from before has closed it. Their tokens open it, and
// are worked; once that has failed in an open run, nobody need be told.
func TestRedrivenByOneWhoDied(t *testing.T) {
	for _, c := range []struct{ closed, failed bool }{{true, false}, {true, true}, {false, false}, {false, true}} {
		synctest.Test(t, func(t *testing.T) {
			w, well := sick(t)
			well.Store(true)
			for _, q := range w.Dead {
				open, err := w.Ledger.Reopen(t.Context(), q.Tasks())
				if err == nil && c.failed && len(open) > 0 {
					_, err = w.Ledger.Fail(t.Context(), []fanout.Failure{{Task: open[0], Fetch: "f", Reason: fanout.Reason{Class: fanout.Bad}}})
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			redrive(w)
			w.Ledger.Closed[w.Run] = c.closed
			w.Faults = new(fanouttest.Faults)
			before := w.Ledger.Writes["reopen"]
			w.Work(t.Context(), time.Hour)
			checkRedriven(t, w, 2)
			if w.Ledger.Closed[w.Run] || w.Ledger.Writes["reopen"] != before {
				t.Errorf("the run is closed: %v; %d were reopened once more", w.Ledger.Closed[w.Run], w.Ledger.Writes["reopen"]-before)
			}
			if told := slices.Contains(w.Faults.Ops(), "ledger.Reopen"); told != (c.closed || !c.failed) {
				t.Errorf("closed %v, failed %v: the run was told: %v", c.closed, c.failed, told)
			}
			if all, _ := w.Vendor.Calls(); all != 10+2*2 {
				t.Errorf("%d calls, want 14", all)
			}
		})
	}
}

// TestTokensThatAreNoWork: a token in a run that is not open, and one whose task
// an operator has replayed since. They cost no call and reopen nothing.
func TestTokensThatAreNoWork(t *testing.T) {
	for name, prepare := range map[string]func(w *fanouttest.World, dead fanout.Task){
		"in a closed run":      func(w *fanouttest.World, _ fanout.Task) { w.Ledger.Closed[w.Run] = true },
		"of a replayed task":   func(w *fanouttest.World, dead fanout.Task) { w.Ledger.Replay(dead) },
		"of a task that ended": func(w *fanouttest.World, dead fanout.Task) { settle(w, w.Ledger.Replay(dead)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, well := sick(t)
				well.Store(true)
				before, _ := w.Vendor.Calls()
				prepare(w, w.Dead[1].Tasks()[0])
				reopened := w.Ledger.Writes["reopen"]
				w.Dead[1].MoveTo(w.Queues[1])
				rep, err := w.Engine(1).Drain(t.Context(), t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if all, _ := w.Vendor.Calls(); all != before || rep.Outcomes[fanout.Duplicate] != 1 || w.Ledger.Writes["reopen"] != reopened {
					t.Errorf("%d calls more, %v, %d reopened", all-before, rep.Outcomes, w.Ledger.Writes["reopen"]-reopened)
				}
			})
		})
	}
}

func settle(w *fanouttest.World, t fanout.Task) {
	_ = w.Ledger.Settle(context.Background(), []fanout.Settlement{{Task: t, Outcome: fanout.Done}}) // a model does not fail
}

// TestRedrivenWithoutAMark: a message that the queue itself had moved away, and
// that was settled dead for it, comes back unmarked.
func TestRedrivenWithoutAMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 3)
		seed(t, w)
		if _, err := w.Engine(0).Drain(t.Context(), t.Context()); err != nil {
			t.Fatal(err)
		}
		n := w.Queues[1].MoveTo(w.Dead[1])
		for _, ts := range w.Dead[1].Tasks() {
			end := fanout.Settlement{Task: ts, Outcome: fanout.Dead, Reason: &fanout.Reason{Class: fanout.Redriven}}
			if err := w.Ledger.Settle(t.Context(), []fanout.Settlement{end}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Check(n); err != nil {
			t.Fatal(err)
		}
		redrive(w)
		w.Work(t.Context(), time.Hour)
		if err := w.Check(0); err != nil {
			t.Error(err)
		}
		if all, again := w.Vendor.Calls(); all != 4 || again != 0 {
			t.Errorf("%d calls, %d again; want 4, 0", all, again)
		}
	})
}
