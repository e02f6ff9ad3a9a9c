package run_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
	"github.com/sluicehq/sluice/internal/localfleet"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/run/runtest"
)

// clinic is a home with one run of one tier, in which a vendor can be made sick.
type clinic struct {
	t    *testing.T
	h    *localfleet.Home
	rs   *run.Runs // as the operator has them: they can fail
	id   string
	sick atomic.Bool

	mu    sync.Mutex
	calls map[string]int // by the last key of the task
}

const patients = 8

// newClinic has a closed run of 8 tasks: of these the even ones are dead.
func newClinic(t *testing.T) *clinic {
	t.Helper()
	c := clinicAt(t, t.TempDir())
	r, err := c.rs.Seed(t.Context(), fanout.Window{From: time.Unix(0, 0), To: time.Unix(86400, 0)}, false)
	c.must(err)
	c.id = r.ID
	c.sick.Store(true)
	if v := c.work(); v.Dead != patients/2 || v.Done != patients/2 || !v.Settled() {
		t.Fatalf("%+v", v)
	}
	c.sick.Store(false)
	return c
}

// clinicAt opens a home.
func clinicAt(t *testing.T, dir string) *clinic {
	t.Helper()
	h, err := localfleet.Open(t.Context(), dir)
	c := &clinic{t: t, h: h, calls: map[string]int{}}
	c.must(err)
	c.rs = c.runs()
	return c
}

// copied is a clinic in a copy of another's home, once that has been closed.
func copied(t *testing.T, home, id string) *clinic {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(home)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour) // the clock of a bubble begins anew
	c := clinicAt(t, dir)
	c.id = id
	return c
}

func (c *clinic) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *clinic) runs() *run.Runs {
	return &run.Runs{
		Vendor: "v", Zone: time.UTC, Tiers: []string{"a"},
		Roots: func(id string, w fanout.Window) (seeds []fanout.Task) {
			for i := range patients {
				path := []string{fmt.Sprint(i)}
				seeds = append(seeds, fanout.Task{ID: fanout.TaskID(id, "a", path), Run: id, Tier: "a", Life: 1, Window: w, Node: fanout.Node{Path: path}})
			}
			return seeds
		},
		Store: c.h.Runs(), Ledger: c.h.Ledger("v"), Landing: c.h.Landing("v"),
		Queue: func(tier string) fanout.Queue { return c.h.Queue("v", tier) },
		Dead:  func(tier string) fanout.Queue { return c.h.DeadQueue("v", tier) },
	}
}

// inject puts faults before all that the operator's command uses.
func (c *clinic) inject(f *fanouttest.Faults) {
	c.rs.Store = runtest.Faulty(f, c.h.Runs())
	c.rs.Ledger = f.Ledger(c.h.Ledger("v"))
	c.rs.Queue = func(tier string) fanout.Queue { return f.Queue("queue", c.h.Queue("v", tier)) }
	c.rs.Dead = func(tier string) fanout.Queue { return f.Queue("dead", c.h.DeadQueue("v", tier)) }
}

// Call implements fanout.Vendor.
func (c *clinic) Call(_ context.Context, t fanout.Task, _ string) (fanout.Page, error) {
	key := t.Path[len(t.Path)-1]
	c.mu.Lock()
	c.calls[key]++
	c.mu.Unlock()
	if c.sick.Load() && (key[0]-'0')%2 == 0 {
		return fanout.Page{}, &fanout.CallError{Class: fanout.Broken, Status: 200, Request: "GET /" + key, Page: 1, Err: fmt.Errorf("key id is missing in %q", key)}
	}
	return fanout.Page{Status: 200, Body: []byte("{}"), Rows: 1}, nil
}

// work works the run to its verdict as "sluice run" does: what is missing once
// the queue is empty is sent again.
func (c *clinic) work() run.Verdict {
	c.t.Helper()
	for range 3 {
		c.drain()
		rs := c.runs()
		v, err := rs.Judge(c.t.Context(), c.id)
		c.must(err)
		if v.Settled() {
			return v
		}
		_, err = rs.Repair(c.t.Context(), c.id)
		c.must(err)
	}
	c.t.Fatal("the run does not come to its end")
	return run.Verdict{}
}

// tokens are what is in the dead-letter queue once somebody has come by again:
// what a look that broke off had hidden shows after a while.
func (c *clinic) tokens() (n int) {
	c.t.Helper()
	time.Sleep(6 * time.Minute)
	_, err := c.runs().Replay(c.t.Context(), c.id, nil, note(""))
	c.must(err)
	ds, err := c.h.DeadQueue("v", "a").Receive(c.t.Context(), 100, 0, time.Second)
	c.must(err)
	return len(ds)
}

// landed counts the pages of each task that count.
func (c *clinic) landed() map[string]int {
	c.t.Helper()
	out := map[string]int{}
	_, err := c.runs().ReadBack(c.t.Context(), c.id, "a", func(r *fanout.Record) error { out[r.Task.Path[0]]++; return nil })
	c.must(err)
	return out
}

func all(run.DeadTask) bool { return true }

func note(tag string) run.Note { return run.Note{Tag: tag, By: "someone", Why: "x", At: time.Now()} }

// insist does what an operator does whose command ended with an error: type the
// same again.
func insist(t *testing.T, do func() error) {
	t.Helper()
	for try := 0; ; try++ {
		err := do()
		if err == nil {
			return
		}
		if !errors.Is(err, fanouttest.ErrInjected) || try == 3 {
			t.Fatalf("try %d: %v", try, err)
		}
	}
}

// sweepFaults fails every operation of what do does once, before and after it
// took effect; check sees what came of it.
func sweepFaults(t *testing.T, least int, do func(*clinic) error, check func(*clinic)) {
	home, id := t.TempDir(), ""
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t)
		id = c.id
		c.must(c.h.Close())
		c.must(os.CopyFS(home, os.DirFS(c.h.Dir())))
	})
	for _, fault := range []fanouttest.Fault{fanouttest.Before, fanouttest.After} {
		swept := 0
		for n, done := 0, false; !done; n++ {
			synctest.Test(t, func(t *testing.T) {
				c := copied(t, home, id)
				defer c.h.Close()
				f := &fanouttest.Faults{Fail: func(i int, _ string) fanouttest.Fault {
					if i == n {
						return fault
					}
					return fanouttest.None
				}}
				c.inject(f)
				insist(t, func() error { return do(c) })
				ops := f.Ops()
				if n >= len(ops) {
					done = true
				} else {
					swept++
				}
				if check(c); t.Failed() {
					t.Fatalf("operation %d of %q failed, mode %d", n, ops, fault)
				}
			})
		}
		if swept < least {
			t.Errorf("only %d operations were failed", swept)
		}
	}
}

// TestReplayFaults: a replay that breaks off anywhere, and is typed again, loses
// no task and lands none twice.
func TestReplayFaults(t *testing.T) {
	t.Parallel()
	sweepFaults(t, 12, func(c *clinic) error {
		letters, err := c.rs.Pick(c.t.Context(), c.id, all)
		if err != nil {
			return err
		}
		_, err = c.rs.Replay(c.t.Context(), c.id, letters, note("r-1"))
		return err
	}, func(c *clinic) {
		v := c.work()
		if !v.Complete() || v.Done != patients {
			c.t.Errorf("verdict %+v", v)
		}
		landed := c.landed()
		for i := range patients {
			key := fmt.Sprint(i)
			want := (i + 1) % 2 // the others were fetched before it
			if c.calls[key] != want || landed[key] != 1 {
				c.t.Errorf("task %s: %d calls, want %d; %d pages count, want 1", key, c.calls[key], want, landed[key])
			}
		}
		if n := c.tokens(); n != 0 {
			c.t.Errorf("%d tokens are left", n)
		}
	})
}

// TestDiscardFaults: the same for a discarding of two of the four.
func TestDiscardFaults(t *testing.T) {
	t.Parallel()
	sweepFaults(t, 10, func(c *clinic) error {
		letters, err := c.rs.Pick(c.t.Context(), c.id, func(d run.DeadTask) bool { return d.Task.Path[0] < "4" })
		if err != nil {
			return err
		}
		_, err = c.rs.Discard(c.t.Context(), c.id, letters, note(""))
		return err
	}, func(c *clinic) {
		r, err := c.h.Runs().Get(c.t.Context(), c.id)
		c.must(err)
		v := r.Verdict
		if r.State != run.Closed || v.Discarded != 2 || v.Dead != 2 || v.Done != 4 || !v.Settled() || v.Complete() ||
			!slices.Equal(v.DiscardedNames, []string{"a 0", "a 2"}) || v.Sum() != "4 done + 0 gone + 2 dead + 2 discarded = 8 seed(s) + 0 distinct children" {
			c.t.Errorf("the run is %s with the verdict %+v", r.State, v)
		}
		if n := c.tokens(); n != 2 {
			c.t.Errorf("%d tokens, want 2", n)
		}
		rest, err := c.runs().Pick(c.t.Context(), c.id, all)
		c.must(err)
		_, err = c.runs().Discard(c.t.Context(), c.id, rest, note(""))
		c.must(err)
		if r, err = c.h.Runs().Get(c.t.Context(), c.id); err != nil || !r.Verdict.Complete() || r.Verdict.Discarded != 4 {
			c.t.Errorf("with all of the dead discarded: %+v, %v", r.Verdict, err)
		}
	})
}

// TestInterruptedInAClosedRun: a replay died after it had reopened a task, and a
// verdict from before that closed the run. Typed again, it finds the task.
func TestInterruptedInAClosedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t)
		defer c.h.Close()
		letters, err := c.rs.Pick(t.Context(), c.id, all)
		c.must(err)
		_, err = c.h.Runs().Reopen(t.Context(), c.id, letters[:1], note("r-1"))
		c.must(err)
		sent, err := c.rs.Replay(t.Context(), c.id, nil, note("r-2"))
		if err != nil || sent != 1 {
			t.Errorf("sent %d, %v; want the one that was left open", sent, err)
		}
		if v := c.work(); v.Done != patients/2+1 || v.Dead != patients/2-1 {
			t.Errorf("%+v", v)
		}
	})
}

// TestTwoReplays: two operators replay the same. The second cannot know whether
// the first lives to send what is open, and sends it, too: it is done once, and it
// is not counted as the second's.
func TestTwoReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t)
		defer c.h.Close()
		letters, err := c.rs.Pick(t.Context(), c.id, all)
		c.must(err)
		for i, want := range []int{3, 1} {
			sent, err := c.rs.Replay(t.Context(), c.id, letters[:3+i], note(fmt.Sprint("r-", i)))
			if err != nil || sent != want {
				t.Errorf("operator %d sent %d, %v; want %d", i, sent, err, want)
			}
		}
		if v := c.work(); !v.Complete() {
			t.Errorf("%+v", v)
		}
		for key, n := range c.landed() {
			want := 1 + 2*((int(key[0]-'0')+1)%2) // two in vain
			if n != 1 || c.calls[key] != want {
				t.Errorf("task %s: %d pages count, %d calls, want 1 and %d", key, n, c.calls[key], want)
			}
		}
	})
}

// TestRedrivenIntoAClosedRun: the tokens were moved back to the queue while the
// run was closed. They are no work; a replay makes them harmless.
func TestRedrivenIntoAClosedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t)
		defer c.h.Close()
		dead, source := c.h.DeadQueue("v", "a"), new(fanouttest.Queue)
		ds, err := dead.Receive(t.Context(), 100, 0, time.Minute)
		c.must(err)
		for _, d := range ds { // SQS keeps a message whatever else is on the queue
			c.must(source.Send(t.Context(), []fanout.Task{d.Task}))
			c.must(dead.Delete(t.Context(), []fanout.Receipt{d.Receipt}))
		}
		letters, err := c.rs.Pick(t.Context(), c.id, all)
		c.must(err)
		c.rs.Queue = func(string) fanout.Queue { return source }
		sent, err := c.rs.Replay(t.Context(), c.id, letters, note("r-1"))
		if err != nil || sent != 4 || len(source.Tasks()) != 8 {
			t.Fatalf("sent %d, %v; %d messages, want 4 stale ones and 4 new ones", sent, err, len(source.Tasks()))
		}
		e := &fanout.Engine{
			Tier: fanout.Tier{Name: "a"}, Queue: source, Dead: dead, Ledger: c.rs.Ledger, Landing: c.h.Landing("v"),
			Governor: new(fanouttest.Governor), Vendor: c,
		}
		rep, err := e.Drain(t.Context(), t.Context())
		c.must(err)
		if rep.Outcomes[fanout.Done] != 4 || rep.Outcomes[fanout.Duplicate] != 4 || rep.Calls != 4 {
			t.Errorf("%+v", rep)
		}
		if v := c.work(); !v.Complete() {
			t.Errorf("%+v", v)
		}
	})
}

// TestCollect: what the queue itself has moved to the dead letters is dead, a
// token whose worker is about to settle is not, and nobody looks when the queue
// shows no more than there are dead.
func TestCollect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t)
		defer c.h.Close()
		r, err := c.rs.Seed(t.Context(), fanout.Window{From: time.Unix(86400, 0), To: time.Unix(2*86400, 0)}, false)
		c.must(err)
		moved, about := r.Seeds[0], r.Seeds[1]
		about.Dead = true
		c.must(c.h.DeadQueue("v", "a").Send(t.Context(), []fanout.Task{moved, about}))
		shown := patients / 2
		c.rs.Tokens = func(context.Context, string) (int, error) { return shown, nil }
		old, err := c.h.Runs().Get(t.Context(), c.id)
		c.must(err)
		for _, want := range []int{0, 1, 1} {
			c.must(c.rs.Collect(t.Context(), []run.Run{old, r}))
			dead := 0
			c.must(c.h.Runs().DeadTasks(t.Context(), r.ID, func(d run.DeadTask) error {
				if dead++; d.Task.ID != moved.ID || d.Reason.Class != fanout.Redriven {
					t.Errorf("dead: %+v", d)
				}
				return nil
			}))
			if dead != want {
				t.Errorf("%d dead tasks, want %d", dead, want)
			}
			shown = patients/2 + 2
		}
	})
}

// TestSweepOfFew looks for the tokens of a few tasks no longer than it must.
func TestSweepOfFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t)
		defer c.h.Close()
		many := make([]fanout.Task, 3000) // dead letters of another run, behind ours
		var ends []fanout.Settlement
		for i := range many {
			path := []string{fmt.Sprint(i)}
			many[i] = fanout.Task{ID: fanout.TaskID("other", "a", path), Run: "other", Tier: "a", Life: 1, Dead: true, Node: fanout.Node{Path: path}}
			ends = append(ends, fanout.Settlement{Task: many[i], Outcome: fanout.Dead, At: time.Now()})
		}
		c.must(c.rs.Ledger.Settle(t.Context(), ends))
		c.must(c.h.DeadQueue("v", "a").Send(t.Context(), many))
		letters, err := c.rs.Pick(t.Context(), c.id, all)
		c.must(err)
		f := new(fanouttest.Faults)
		c.inject(f)
		_, err = c.rs.Replay(t.Context(), c.id, letters[:2], note("r-1"))
		c.must(err)
		receives := 0
		for _, op := range f.Ops() {
			if op == "dead.Receive" {
				receives++
			}
		}
		if receives != 1 {
			t.Errorf("%d receives of a hundred tokens, want 1: those that were replayed came with the first", receives)
		}
	})
}
