package fanout_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
)

// small is a world with every kind of write in it: unique children, chunks,
// a failed attempt, a dead task, one that is gone.
func small() *fanouttest.World {
	w := fanouttest.NewWorld("b", 3, 2, 2)
	w.Vendor.PageSize = 2
	w.Config.ChunkChildren = 2
	tried := map[string]int{}
	var mu sync.Mutex
	w.Vendor.Answer = func(t fanout.Task, _ string, _ int) error {
		mu.Lock()
		defer mu.Unlock()
		k := fmt.Sprint(t.Tier, t.Path)
		tried[k]++
		switch {
		case t.Tier == "d" && strings.HasSuffix(k, "b0 c1]"):
			return callError(fanout.Missing, 404)
		case t.Tier == "d" && strings.HasSuffix(k, "[a0]b1 c1]"):
			return callError(fanout.Broken, 200)
		case t.Tier == "c" && tried[k] == 1:
			return callError(fanout.Bad, 200)
		}
		return nil
	}
	return w
}

// TestFaultSweep fails every operation of every port once, before and after it
// took effect. Nothing is lost, and no page is fetched again: a write that
// fails is repeated in place.
func TestFaultSweep(t *testing.T) {
	for _, fault := range []fanouttest.Fault{fanouttest.Before, fanouttest.After} {
		swept := 0
		for n, done := 0, false; !done; n++ {
			synctest.Test(t, func(t *testing.T) {
				w := small()
				w.Faults = &fanouttest.Faults{Fail: func(i int, _ string) fanouttest.Fault {
					if i == n {
						return fault
					}
					return fanouttest.None
				}}
				walk(t, w)
				ops := w.Faults.Ops()
				if n >= len(ops) {
					done = true
					return
				}
				swept++
				if err := w.Check(1); err != nil {
					t.Errorf("operation %d (%s) failed, mode %d: %v", n, ops[n], fault, err)
				}
				// Every c-list answers badly once, the broken task is tried twice.
				if all, again := w.Vendor.Calls(); again != 7+1 {
					t.Errorf("operation %d (%s) failed, mode %d: %d of %d calls were repeated, want 8", n, ops[n], fault, again, all)
				}
			})
		}
		t.Logf("mode %d: %d operations failed in turn", fault, swept)
		if swept < 60 {
			t.Errorf("only %d operations: the world is too small to mean anything", swept)
		}
	}
}

// TestCrashSweep lets the whole fleet die at every operation, before and after
// it took effect; then others take over.
func TestCrashSweep(t *testing.T) {
	for _, fault := range []fanouttest.Fault{fanouttest.Before, fanouttest.After} {
		swept, worst := 0, 0
		for n, done := 0, false; !done; n++ {
			synctest.Test(t, func(t *testing.T) {
				w := small()
				w.Vendor.Extra = true // lists change between two fetches
				ctx, kill := context.WithCancel(t.Context())
				var dead atomic.Bool
				w.Faults = &fanouttest.Faults{Fail: func(i int, _ string) fanouttest.Fault {
					switch {
					case dead.Load():
						return fanouttest.Before
					case i == n:
						dead.Store(true)
						kill()
						return fault
					}
					return fanouttest.None
				}}
				if err := w.Queues[0].Send(t.Context(), []fanout.Task{w.Root()}); err != nil {
					t.Fatal(err)
				}
				w.Work(ctx, time.Hour)
				killed := dead.Load()
				_, before := w.Vendor.Calls()
				w.Faults = nil
				for _, q := range w.Queues {
					q.Expire()
				}
				w.Work(t.Context(), time.Hour)
				if !killed {
					done = true
					return
				}
				swept++
				if err := w.Check(1); err != nil {
					t.Errorf("died at operation %d, mode %d: %v", n, fault, err)
				}
				_, after := w.Vendor.Calls()
				worst = max(worst, after-before)
			})
		}
		t.Logf("mode %d: died at %d operations in turn; a death cost at most %d repeated calls, bad answers included", fault, swept, worst)
	}
}

// worlds are situations that one fleet must survive.
func TestWorlds(t *testing.T) {
	for name, world := range map[string]func(t *testing.T) (w *fanouttest.World, again int){
		"two workers for each tier": func(t *testing.T) (*fanouttest.World, int) {
			w := fanouttest.NewWorld("b", 20, 5, 3)
			var wg sync.WaitGroup
			seed(t, w)
			wg.Go(func() { w.Work(t.Context(), time.Hour) })
			wg.Go(func() { w.Work(t.Context(), time.Hour) })
			wg.Wait()
			return w, 0
		},
		"every third message is delivered twice": func(t *testing.T) (*fanouttest.World, int) {
			w := fanouttest.NewWorld("b", 20, 5, 3)
			for _, q := range w.Queues {
				q.Twice = 3
			}
			walk(t, w)
			return w, 150 // both deliveries may be fetched; only one counts
		},
		"receipts are lost all the time": func(t *testing.T) (*fanouttest.World, int) {
			w := fanouttest.NewWorld("b", 10, 5, 3)
			w.Vendor.Latency = time.Second
			w.Vendor.Extra = true
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				for range 10 {
					if !sleep(ctx, 1700*time.Millisecond) {
						return
					}
					for _, q := range w.Queues {
						q.Expire()
					}
				}
			})
			walk(t, w)
			cancel()
			wg.Wait()
			return w, 500
		},
		"heartbeats stall": func(t *testing.T) (*fanouttest.World, int) {
			w := fanouttest.NewWorld("", 10, 5)
			w.Config.Visibility = 6 * time.Second
			w.Vendor.Latency = 20 * time.Second
			var n atomic.Int64
			w.Faults = &fanouttest.Faults{Stall: func(op string) {
				if op == "queue.Hide" && n.Add(1)%40 == 0 {
					time.Sleep(30 * time.Second)
				}
			}}
			walk(t, w)
			return w, 300
		},
		"short invocations": func(t *testing.T) (*fanouttest.World, int) {
			w := fanouttest.NewWorld("b", 40, 5, 3)
			w.Governor = &fanouttest.Governor{Interval: 50 * time.Millisecond}
			seed(t, w)
			for i := 0; !w.Quiet(); i++ {
				if i > 2000 {
					t.Fatal("does not come to an end")
				}
				hard, cancelHard := context.WithTimeout(t.Context(), 3*time.Second)
				soft, cancelSoft := context.WithTimeout(hard, 2*time.Second)
				if _, err := w.Engine(i%4).Drain(soft, hard); err != nil {
					t.Fatal(err)
				}
				cancelSoft()
				cancelHard()
			}
			return w, 0
		},
		"invocations that are cut off": func(t *testing.T) (*fanouttest.World, int) {
			w := fanouttest.NewWorld("b", 40, 5, 3)
			w.Governor = &fanouttest.Governor{Interval: 20 * time.Millisecond}
			w.Vendor.Extra = true
			seed(t, w)
			for i := 0; !w.Quiet(); i++ {
				if i > 4000 {
					t.Fatal("does not come to an end")
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rand.N(9000))*time.Millisecond)
				if _, err := w.Engine(i%4).Drain(ctx, ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				cancel()
				if i%10 == 0 {
					for _, q := range w.Queues {
						q.Expire()
					}
				}
			}
			return w, 4000
		},
		"the queue's clock is 30 s behind": func(t *testing.T) (*fanouttest.World, int) {
			w := fanouttest.NewWorld("", 10, 5)
			for _, q := range w.Queues {
				q.Skew = -30 * time.Second
			}
			walk(t, w)
			return w, 0
		},
		"a throttle storm": func(t *testing.T) (*fanouttest.World, int) {
			w := fanouttest.NewWorld("", 30, 10)
			w.Governor = &fanouttest.Governor{Interval: 10 * time.Millisecond}
			w.Config.MaxAttempts = 2
			r := rand.New(rand.NewPCG(1, 2))
			var mu sync.Mutex
			w.Vendor.Answer = func(fanout.Task, string, int) error {
				mu.Lock()
				defer mu.Unlock()
				if r.Float64() < 0.5 {
					return callError(fanout.Throttled, 429)
				}
				return nil
			}
			walk(t, w)
			if n := w.Ledger.Writes["fail"]; n > 0 {
				t.Errorf("%d attempts counted for being throttled", n)
			}
			return w, 100000
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, allowed := world(t)
				if err := w.Check(0); err != nil {
					t.Error(err)
				}
				if all, again := w.Vendor.Calls(); again > allowed {
					t.Errorf("%d of %d calls were repeated, want at most %d", again, all, allowed)
				}
			})
		})
	}
}

// TestReplayAgainstALateWorker: a worker of the first life comes back after the
// task was replayed; whatever it fetched does not count.
func TestReplayAgainstALateWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 1)
		leaf := w.Root().Child("b", fanout.Node{Path: []string{"a0"}})
		slow := make(chan struct{})
		var calls atomic.Int64
		w.Vendor.Answer = func(task fanout.Task, _ string, _ int) error {
			if task.Tier != "b" {
				return nil
			}
			switch calls.Add(1) {
			case 1: // the late worker's
				<-slow
				return nil
			case 2, 3: // another's, to whom the message came again
				return callError(fanout.Broken, 200)
			}
			return nil
		}
		seed(t, w)
		drain := func(i int) {
			t.Helper()
			if _, err := w.Engine(i).Drain(t.Context(), t.Context()); err != nil {
				t.Error(err)
			}
		}
		drain(0)
		var late sync.WaitGroup
		soft, stop := context.WithCancel(t.Context())
		late.Go(func() {
			if _, err := w.Engine(1).Drain(soft, t.Context()); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		stop()
		synctest.Wait() // it receives no more, but its call is under way
		w.Queues[1].Expire()
		drain(1)
		if end := w.Ledger.Ends()[leaf.ID]; end.Outcome != fanout.Dead {
			t.Fatalf("ended %q, want dead", end.Outcome)
		}
		again := w.Ledger.Replay(leaf)
		close(slow)
		late.Wait() // settles its life 1, in vain
		if _, ended := w.Ledger.Ends()[leaf.ID]; ended {
			t.Fatal("a late worker of the first life has settled the second")
		}
		if err := w.Queues[1].Send(t.Context(), []fanout.Task{again}); err != nil {
			t.Fatal(err)
		}
		drain(1)
		if err := w.Check(0); err != nil {
			t.Error(err)
		}
	})
}

// TestAStoreThatStaysDown ends the drain with an error that says so; the work
// goes on when it is back.
func TestAStoreThatStaysDown(t *testing.T) {
	for _, op := range []string{"landing.Commit", "ledger.Settle", "ledger.List", "next.Send", "queue.Receive", "ledger.Look"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := fanouttest.NewWorld("", 20, 3)
				w.Faults = &fanouttest.Faults{Fail: func(_ int, o string) fanouttest.Fault {
					if o == op {
						return fanouttest.Before
					}
					return fanouttest.None
				}}
				seed(t, w)
				began := time.Now()
				_, err := w.Engine(0).Drain(t.Context(), t.Context())
				if !errors.Is(err, fanouttest.ErrInjected) {
					t.Errorf("Drain: %v, want the store's error", err)
				}
				if took := time.Since(began); took > 3*time.Minute {
					t.Errorf("Drain gave up after %v", took)
				}
				w.Faults = nil
				for _, q := range w.Queues {
					q.Expire()
				}
				w.Work(t.Context(), time.Hour)
				if err := w.Check(0); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func seed(t *testing.T, w *fanouttest.World) {
	t.Helper()
	if err := w.Seed(); err != nil {
		t.Fatal(err)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// TestTheFirstListCounts: two workers fetch one list, the vendor answers them
// differently, and the second to record it has found more. It sends what the
// first has recorded.
func TestTheFirstListCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 3, 2)
		w.Vendor.Extra = true
		var commits atomic.Int64
		turn := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
		w.Faults = &fanouttest.Faults{Stall: func(op string) {
			if op == "landing.Commit" {
				<-turn[commits.Add(1)-1]
			}
		}}
		seed(t, w)
		var workers [2]sync.WaitGroup
		for i := range workers {
			soft, stop := context.WithCancel(t.Context())
			workers[i].Go(func() {
				if _, err := w.Engine(0).Drain(soft, t.Context()); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(5 * time.Second) // fetched, about to land
			stop()
			synctest.Wait() // it receives no more
			w.Queues[0].Expire()
		}
		for i := range workers {
			close(turn[i])
			workers[i].Wait()
		}
		w.Faults = nil
		w.Work(t.Context(), time.Hour)
		if err := w.Check(0); err != nil {
			t.Error(err)
		}
		if row := w.Ledger.Lists()[w.Root().ID][0]; row.Children != 3 {
			t.Errorf("the recorded list has %d children, want the first one's 3", row.Children)
		}
		if n := len(w.Queues[1].Tasks()); n != 0 {
			t.Errorf("%d tasks are left", n)
		}
	})
}

// TestMessagesThatAreNotWorked: of an earlier life, and of a run that is not
// open. They cost no call and are removed.
func TestMessagesThatAreNotWorked(t *testing.T) {
	for name, prepare := range map[string]func(w *fanouttest.World){
		"of an earlier life":        func(w *fanouttest.World) { w.Ledger.Replay(w.Root()) },
		"of a run that is not open": func(w *fanouttest.World) { w.Ledger.Closed["r1"] = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := fanouttest.NewWorld("", 3)
				prepare(w)
				seed(t, w)
				rep, err := w.Engine(0).Drain(t.Context(), t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if all, _ := w.Vendor.Calls(); all != 0 || rep.Outcomes[fanout.Duplicate] != 1 || !w.Quiet() {
					t.Errorf("%d calls, %v, %d messages left", all, rep.Outcomes, len(w.Queues[0].Tasks()))
				}
			})
		})
	}
}
