package fanout_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
)

// walk seeds a world and works it to the end, in virtual time.
func walk(t *testing.T, w *fanouttest.World) []error {
	t.Helper()
	if err := w.Seed(); err != nil {
		t.Fatal(err)
	}
	return w.Work(t.Context(), 6*time.Hour)
}

func TestWalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 20, 10, 5)
		if errs := walk(t, w); errs != nil {
			t.Fatal(errs)
		}
		if err := w.Check(0); err != nil {
			t.Fatal(err)
		}
		if all, again := w.Vendor.Calls(); all != 1+20+200+1000 || again != 0 {
			t.Errorf("%d calls, %d of them again; want %d, none again", all, again, 1+20+200+1000)
		}
		want := map[string]int{"settle": 1221, "list": 221}
		if got := w.Ledger.Writes; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("ledger writes %v, want %v", got, want)
		}
	})
}

func TestUniqueChildrenAreWalkedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("b", 30, 4, 2)
		if errs := walk(t, w); errs != nil {
			t.Fatal(errs)
		}
		if err := w.Check(0); err != nil {
			t.Fatal(err)
		}
		devices := 30*4 + 1 // and the one that is in every group
		if all, again := w.Vendor.Calls(); all != 1+30+devices+devices*2 || again != 0 {
			t.Errorf("%d calls, %d again; want %d, 0", all, again, 1+30+devices+devices*2)
		}
		if got, want := w.Ledger.Writes["claim"], 30*5; got != want {
			t.Errorf("%d claims, want one per parent and unique child: %d", got, want)
		}
	})
}

// TestBudgets counts requests and objects against the work.
func TestBudgets(t *testing.T) {
	for _, c := range []struct {
		rate         int
		sqs, objects float64
	}{{200, 0.33, 0.02}, {20, 0.33, 0.02}, {5, 0.5, 0.05}} {
		t.Run(fmt.Sprint(c.rate, " per second"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := fanouttest.NewWorld("", 2000)
				w.Governor = &fanouttest.Governor{Interval: time.Second / time.Duration(c.rate)}
				w.Config.LongPoll = 20 * time.Second
				if errs := walk(t, w); errs != nil {
					t.Fatal(errs)
				}
				if err := w.Check(0); err != nil {
					t.Fatal(err)
				}
				requests, empty := 0, 0
				for _, q := range w.Queues {
					r, e := q.Counts()
					requests, empty = requests+r, empty+e
				}
				perTask, perObject := float64(requests)/2001, float64(w.Landing.Objects())/2001
				t.Logf("%.3f queue requests per task (target %.2f; and %d empty polls), %.4f landing objects per task (target %.2f)", perTask, c.sqs, empty, perObject, c.objects)
				if perTask > c.sqs {
					t.Errorf("%.3f queue requests per task, want at most %.2f", perTask, c.sqs)
				}
				if perObject > c.objects {
					t.Errorf("%.4f landing objects per task, want at most %.2f", perObject, c.objects)
				}
			})
		})
	}
}

func TestEmptyQueueIsLeftAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 3)
		began := time.Now()
		if _, err := w.Engine(1).Drain(t.Context(), t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Millisecond {
			t.Errorf("leaving an empty queue took %v", took)
		}
		if _, empty := w.Queues[1].Counts(); empty != 2 {
			t.Errorf("%d short polls, want 2", empty)
		}
	})
}

// TestPermitsBeforeMessages: while the fleet is braked nothing is received, and
// what is in hand never exceeds what will soon be allowed.
func TestPermitsBeforeMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 500)
		g := &fanouttest.Governor{Interval: time.Second}
		w.Governor = g
		if err := w.Seed(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Engine(0).Drain(t.Context(), t.Context()); err != nil {
			t.Fatal(err)
		}
		meter := new(fanout.Meter)
		e := w.Engine(1)
		e.Meter, e.Config.Wait = meter, true
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { _, err := e.Drain(ctx, t.Context()); done <- err }()
		for range 60 {
			time.Sleep(time.Second)
			if n, _, _ := meter.Now(); n > 5 {
				t.Fatalf("%d tasks in hand at one call per second", n)
			}
		}
		g.Throttled(ctx, time.Now(), 10*time.Minute)
		time.Sleep(5 * time.Second)
		before, _ := w.Queues[1].Counts()
		time.Sleep(8 * time.Minute)
		if after, _ := w.Queues[1].Counts(); after-before > 40 {
			t.Errorf("%d queue requests during a brake", after-before)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// TestBlind: without the governor's store a drain that pays for its time leaves
// with an error after its patience; one that is told to wait goes on afterwards.
func TestBlind(t *testing.T) {
	for _, wait := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := fanouttest.NewWorld("", 5)
			g := &fanouttest.Governor{}
			w.Governor = g
			if err := w.Seed(); err != nil {
				t.Fatal(err)
			}
			g.Blind("the store is away")
			time.AfterFunc(time.Hour, func() { g.Blind("") })
			e := w.Engine(0)
			e.Config.Wait = wait
			began := time.Now()
			rep, err := e.Drain(t.Context(), t.Context())
			took := time.Since(began)
			switch {
			case wait && (err != nil || rep.Settled() != 1 || took < time.Hour):
				t.Errorf("told to wait: %d settled after %v, %v", rep.Settled(), took, err)
			case !wait && (err == nil || !strings.Contains(err.Error(), "the store is away") || rep.Calls > 0 || took > 3*time.Minute):
				t.Errorf("told to leave: %d calls, %v after %v", rep.Calls, err, took)
			}
		})
	}
}

func callError(c fanout.Class, status int) error {
	return &fanout.CallError{Class: c, Status: status, Request: "GET /x", Page: 1, Err: errors.New(string(c))}
}

// TestClasses: what each kind of answer does to one task among many.
func TestClasses(t *testing.T) {
	for _, c := range []struct {
		class    fanout.Class
		status   int
		always   bool
		want     fanout.Outcome
		calls    int // for that task, -1: any number
		attempts int
	}{
		{fanout.Throttled, 429, false, fanout.Done, 2, 0},
		{fanout.Unavailable, 503, false, fanout.Done, 2, 1},
		{fanout.Bad, 200, false, fanout.Done, 2, 1},
		{fanout.Bad, 200, true, fanout.Dead, 5, 5},
		{fanout.Unavailable, 500, true, fanout.Dead, -1, 5},
		{fanout.Missing, 404, true, fanout.Gone, 1, 0},
		{fanout.Broken, 200, true, fanout.Dead, 2, 2},
		{fanout.Rejected, 400, true, fanout.Dead, 2, 2},
	} {
		t.Run(fmt.Sprint(c.class, c.always), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := fanouttest.NewWorld("", 200)
				w.Governor = &fanouttest.Governor{Interval: 20 * time.Millisecond}
				calls := 0
				w.Vendor.Answer = func(task fanout.Task, _ string, n int) error {
					if fmt.Sprint(task.Path) == "[a7]" {
						if calls++; c.always || n == 1 {
							return callError(c.class, c.status)
						}
					}
					return nil
				}
				if errs := walk(t, w); errs != nil {
					t.Fatal(errs)
				}
				dead := 0
				if c.want == fanout.Dead {
					dead = 1
				}
				if err := w.Check(dead); err != nil {
					t.Fatal(err)
				}
				id := fanout.TaskID("r1", "b", []string{"a7"})
				end := w.Ledger.Ends()[id]
				if end.Outcome != c.want {
					t.Errorf("ended %q, want %q", end.Outcome, c.want)
				}
				if c.calls >= 0 && calls != c.calls {
					t.Errorf("%d calls, want %d", calls, c.calls)
				}
				if got := w.Ledger.Writes["fail"]; got != c.attempts {
					t.Errorf("%d failed attempts recorded, want %d", got, c.attempts)
				}
				if c.want == fanout.Dead && (end.Reason == nil || end.Reason.Class != c.class || end.Reason.Status != c.status) {
					t.Errorf("dead without its reason: %+v", end.Reason)
				}
				if got := len(w.Dead[1].Tasks()); got != dead {
					t.Errorf("%d tokens in the dead-letter queue, want %d", got, dead)
				}
			})
		})
	}
}

func TestRootNotFoundIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 3)
		w.Vendor.Answer = func(fanout.Task, string, int) error { return callError(fanout.Missing, 404) }
		walk(t, w)
		if end := w.Ledger.Ends()[w.Root().ID]; end.Outcome != fanout.Dead {
			t.Errorf("a root list that is not there ended %q, want dead", end.Outcome)
		}
	})
}

// TestOutage: nobody's attempts are used up, whatever the vendor's failure
// looks like, and work goes on by itself.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 3000)
		g := &fanouttest.Governor{Interval: 20 * time.Millisecond}
		w.Governor = g
		w.Config.Wait = true
		from, to := time.Now().Add(10*time.Second), time.Now().Add(70*time.Second)
		during := 0
		w.Vendor.Answer = func(fanout.Task, string, int) error {
			if now := time.Now(); now.After(from) && now.Before(to) {
				during++
				return callError(fanout.Unavailable, 503)
			}
			return nil
		}
		if errs := walk(t, w); errs != nil {
			t.Fatal(errs)
		}
		if err := w.Check(0); err != nil {
			t.Fatal(err)
		}
		if n := w.Ledger.Writes["fail"]; n != 0 {
			t.Errorf("%d attempts were counted against tasks during an outage", n)
		}
		if during > 60 {
			t.Errorf("%d calls into the outage", during)
		}
		for _, at := range w.Vendor.Times() {
			if at.After(to) {
				if gap := at.Sub(to); gap > 10*time.Second {
					t.Errorf("work went on %v after the outage", gap)
				}
				break
			}
		}
		t.Logf("%d calls into the outage, breaker opened %d times", during, g.Opens)
	})
}

// TestOutageOfTheLastTask: no other task proves the vendor alive, and still it
// does not die of an outage.
func TestOutageOfTheLastTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 1)
		w.Config.Wait = true
		to := time.Now().Add(30 * time.Minute)
		w.Vendor.Answer = func(task fanout.Task, _ string, n int) error {
			if time.Now().Before(to) && (len(task.Path) > 0 || n > 1) {
				return callError(fanout.Unavailable, 0)
			}
			return nil
		}
		if errs := walk(t, w); errs != nil {
			t.Fatal(errs)
		}
		if err := w.Check(0); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRefusedCredentialsStopTheVendor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 200)
		g := &fanouttest.Governor{Interval: 10 * time.Millisecond}
		w.Governor = g
		w.Vendor.Answer = func(task fanout.Task, _ string, _ int) error {
			if len(task.Path) > 0 {
				return callError(fanout.Refused, 401)
			}
			return nil
		}
		if err := w.Seed(); err != nil {
			t.Fatal(err)
		}
		w.Engine(0).Drain(t.Context(), t.Context())
		_, err := w.Engine(1).Drain(t.Context(), t.Context())
		if !errors.Is(err, fanout.ErrStopped) || !strings.Contains(err.Error(), "credentials") {
			t.Errorf("Drain: %v, want that the vendor is stopped for its credentials", err)
		}
		if all, _ := w.Vendor.Calls(); all > 10 {
			t.Errorf("%d calls with refused credentials", all)
		}
		g.Resume()
		w.Vendor.Answer = nil
		w.Work(t.Context(), time.Hour)
		if err := w.Check(0); err != nil {
			t.Error(err)
		}
	})
}

// TestLongList: chunks, by size and by the end of an invocation; no page is
// fetched twice.
func TestLongList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 2500)
		w.Vendor.PageSize = 10
		w.Config.ChunkChildren = 300
		w.Governor = &fanouttest.Governor{Interval: 10 * time.Millisecond}
		if err := w.Seed(); err != nil {
			t.Fatal(err)
		}
		for range 100 { // invocations of half a second
			soft, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			if _, err := w.Engine(0).Drain(soft, t.Context()); err != nil {
				t.Fatal(err)
			}
			cancel()
		}
		w.Work(t.Context(), time.Hour)
		if err := w.Check(0); err != nil {
			t.Fatal(err)
		}
		if all, again := w.Vendor.Calls(); all != 250+2500 || again != 0 {
			t.Errorf("%d calls, %d again; want 2750, none", all, again)
		}
		if n := len(w.Ledger.Lists()[w.Root().ID]); n < 9 {
			t.Errorf("%d chunks, want at least 9", n)
		}
		if n := len(w.Queues[1].Tasks()); n != 0 {
			t.Errorf("%d tasks are left", n)
		}
	})
}

// TestLongRead: a leaf of many pages that is cut short goes on where it was.
func TestLongRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 3)
		w.Vendor.LeafPages = 100
		w.Governor = &fanouttest.Governor{Interval: 10 * time.Millisecond}
		if err := w.Seed(); err != nil {
			t.Fatal(err)
		}
		for range 40 {
			for i := range 2 {
				soft, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				if _, err := w.Engine(i).Drain(soft, t.Context()); err != nil {
					t.Fatal(err)
				}
				cancel()
			}
		}
		if err := w.Check(0); err != nil {
			t.Fatal(err)
		}
		if all, again := w.Vendor.Calls(); all != 301 || again != 0 {
			t.Errorf("%d calls, %d again; want 301, none", all, again)
		}
	})
}
