package fanout_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
)

// TestNothingIsReceivedDuringABrake: not even one message by a drain whose
// hands are empty.
func TestNothingIsReceivedDuringABrake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 3)
		g := new(fanouttest.Governor)
		w.Governor, w.Config.Wait = g, true
		seed(t, w)
		before, _ := w.Queues[0].Counts()
		if err := g.Throttled(t.Context(), time.Now(), 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if _, err := w.Engine(0).Drain(ctx, t.Context()); err != nil {
			t.Fatal(err)
		}
		if after, empty := w.Queues[0].Counts(); after != before || empty != 0 {
			t.Errorf("%d queue requests and %d empty polls during a brake", after-before, empty)
		}
	})
}

// TestAHeartbeatThatFails: when an extension cannot be confirmed, the task is
// abandoned as its visibility ends, for another worker may hold it from then on.
func TestAHeartbeatThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 1)
		w.Vendor.Latency = 100 * time.Second
		w.Faults = &fanouttest.Faults{Fail: func(_ int, op string) fanouttest.Fault {
			if op == "queue.Hide" {
				return fanouttest.Before
			}
			return fanouttest.None
		}}
		seed(t, w)
		soft, stop := context.WithCancel(t.Context())
		var drained sync.WaitGroup
		var rep fanout.Report
		drained.Go(func() { rep, _ = w.Engine(0).Drain(soft, t.Context()) })
		time.Sleep(time.Second)
		stop()
		began := time.Now()
		drained.Wait()
		if took := time.Since(began); rep.Outcomes[fanout.Abandoned] != 1 || took > 70*time.Second {
			t.Errorf("after %v: %v, want the task abandoned within its visibility", took, rep.Outcomes)
		}
	})
}

// TestSuspicionsEndWithAnOutage: another worker found the vendor down; what
// failed here just before was the outage's, too.
func TestSuspicionsEndWithAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 3)
		g := new(fanouttest.Governor)
		w.Governor, w.Config.Wait = g, true
		var calls atomic.Int64
		w.Vendor.Answer = func(task fanout.Task, _ string, _ int) error {
			if task.Tier == "b" && calls.Add(1) <= 3 {
				if calls.Load() == 3 {
					_ = g.Outage(t.Context(), "found by another worker") // the model never fails
				}
				return callError(fanout.Unavailable, 503)
			}
			return nil
		}
		walk(t, w)
		if err := w.Check(0); err != nil {
			t.Error(err)
		}
		if n := w.Ledger.Writes["fail"]; n != 0 {
			t.Errorf("%d attempts were counted", n)
		}
	})
}

// TestDeadInTheMiddle: a long read that dies keeps what it had, says so, and a
// replay goes on from there.
func TestDeadInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 1)
		w.Vendor.LeafPages = 3
		w.Config.MaxBroken = 1
		var well atomic.Bool
		w.Vendor.Answer = func(_ fanout.Task, cursor string, _ int) error {
			if cursor == "1" && !well.Load() {
				return callError(fanout.Broken, 200)
			}
			return nil
		}
		walk(t, w)
		leaf := w.Root().Child("b", fanout.Node{Path: []string{"a0"}})
		end := w.Ledger.Ends()[leaf.ID]
		rows := w.Ledger.Lists()[leaf.ID]
		if end.Outcome != fanout.Dead || end.Chunk != 1 || len(rows) != 1 || rows[0].Pages != 1 || rows[0].Cursor != "1" {
			t.Fatalf("ended %+v with chunks %+v, want it dead after one chunk of one page", end, rows)
		}
		well.Store(true)
		if err := w.Queues[1].Send(t.Context(), []fanout.Task{w.Ledger.Replay(leaf)}); err != nil {
			t.Fatal(err)
		}
		w.Work(t.Context(), time.Hour)
		if err := w.Check(0); err != nil {
			t.Error(err)
		}
		if all, again := w.Vendor.Calls(); all != 5 || again != 1 { // root, pages 0, 1 (broken), 1, 2
			t.Errorf("%d calls, %d again; want 5, 1", all, again)
		}
	})
}

// TestAListThatStutters: a child that a list names twice, on one page or on
// two, is one child.
func TestAListThatStutters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 4, 2)
		w.Vendor.Stutter, w.Vendor.PageSize = true, 2
		seed(t, w)
		rep, err := w.Engine(0).Drain(t.Context(), t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if rep.Children != 4 || w.Ledger.Lists()[w.Root().ID][0].Children != 4 {
			t.Errorf("%d children sent, %d recorded; want 4", rep.Children, w.Ledger.Lists()[w.Root().ID][0].Children)
		}
		w.Work(t.Context(), time.Hour)
		if err := w.Check(0); err != nil {
			t.Error(err)
		}
	})
}

// TestAListThatFailsInTheMiddle keeps the pages before the failure.
func TestAListThatFailsInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 6)
		w.Vendor.PageSize = 2
		var failed atomic.Bool
		w.Vendor.Answer = func(task fanout.Task, cursor string, _ int) error {
			if cursor == "4" && failed.CompareAndSwap(false, true) {
				return callError(fanout.Bad, 200)
			}
			return nil
		}
		walk(t, w)
		if err := w.Check(0); err != nil {
			t.Error(err)
		}
		if all, again := w.Vendor.Calls(); all != 3+1+6 || again != 1 {
			t.Errorf("%d calls, %d again; want 10, and only the failed page again", all, again)
		}
	})
}

// TestAListThatIsGoneTheSecondTime: one worker has recorded a list when another
// learns that the vendor no longer has it. The list counts.
func TestAListThatIsGoneTheSecondTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 1, 3)
		recorded, answered := make(chan struct{}), make(chan struct{})
		var calls, sends atomic.Int64
		w.Vendor.Answer = func(task fanout.Task, _ string, _ int) error {
			if task.Tier == "b" && calls.Add(1) == 2 {
				<-recorded
				return callError(fanout.Missing, 404)
			}
			return nil
		}
		w.Faults = &fanouttest.Faults{Stall: func(op string) {
			// The root's send is the first; the second is that of the list in question.
			if op == "next.Send" && sends.Add(1) == 2 {
				close(recorded)
				<-answered
			}
		}}
		seed(t, w)
		if _, err := w.Engine(0).Drain(t.Context(), t.Context()); err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		w.Faults.Hold("landing.Commit", hold)
		var workers sync.WaitGroup
		for range 2 {
			soft, stop := context.WithCancel(t.Context())
			workers.Go(func() {
				if _, err := w.Engine(1).Drain(soft, t.Context()); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(2 * time.Second)
			stop()
			synctest.Wait() // it receives no more
			w.Queues[1].Expire()
		}
		close(hold)
		time.Sleep(10 * time.Second)
		list := w.Root().Child("b", fanout.Node{Path: []string{"a0"}})
		if end := w.Ledger.Ends()[list.ID]; end.Outcome != fanout.Done {
			t.Errorf("the list ended %q, want done: it is recorded", end.Outcome)
		}
		close(answered)
		workers.Wait()
		w.Faults = nil
		w.Work(t.Context(), time.Hour)
		if err := w.Check(0); err != nil {
			t.Error(err)
		}
	})
}

// TestPoison: a task that always fails among thousands that do not costs its
// five attempts and no more.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 3000)
		w.Governor = &fanouttest.Governor{Interval: 20 * time.Millisecond}
		var calls atomic.Int64
		w.Vendor.Answer = func(task fanout.Task, _ string, _ int) error {
			if len(task.Path) > 0 && task.Path[0] == "a7" {
				calls.Add(1)
				return callError(fanout.Unavailable, 500)
			}
			return nil
		}
		walk(t, w)
		if err := w.Check(1); err != nil {
			t.Error(err)
		}
		if calls.Load() != 5 {
			t.Errorf("%d calls for the poisonous task, want its 5 attempts", calls.Load())
		}
	})
}

// TestAPermitThatEnds: a request that could not be written in time is no call
// and no failure; the task takes another permit.
func TestAPermitThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 10)
		w.Vendor.Answer = func(_ fanout.Task, _ string, n int) error {
			if n < 3 {
				return fanout.ErrTooLate
			}
			return nil
		}
		seed(t, w)
		var rep fanout.Report
		for i := range 2 {
			r, err := w.Engine(i).Drain(t.Context(), t.Context())
			if err != nil {
				t.Fatal(err)
			}
			rep.Add(r)
		}
		if err := w.Check(0); err != nil {
			t.Error(err)
		}
		if rep.Calls != 11 || rep.TooLate != 22 || w.Ledger.Writes["fail"] != 0 {
			t.Errorf("%d calls, %d too late, %v; want 11, 22 and no failure", rep.Calls, rep.TooLate, w.Ledger.Writes)
		}
	})
}
