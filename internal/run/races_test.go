package run_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
	"github.com/sluicehq/sluice/internal/run"
)

// meanwhile lets something happen, once, between what a judge or an operator has
// read and what it writes.
type meanwhile struct {
	run.Store
	finish, discard func()
}

func (m *meanwhile) Finish(ctx context.Context, id string, rev int, v run.Verdict) error {
	m.once(&m.finish)
	return m.Store.Finish(ctx, id, rev, v)
}

func (m *meanwhile) Discard(ctx context.Context, id string, letters []run.Letter, n run.Note) (int, error) {
	m.once(&m.discard)
	return m.Store.Discard(ctx, id, letters, n)
}

func (m *meanwhile) once(f *func()) {
	if do := *f; do != nil {
		*f = nil
		do()
	}
}

// redrive opens the run and moves the tokens of its dead tasks back to their
// queue, as they are.
func (c *clinic) redrive() (tokens []fanout.Task) {
	c.t.Helper()
	c.must(c.h.Runs().Open(c.t.Context(), c.id))
	ds, err := c.h.DeadQueue("v", "a").Receive(c.t.Context(), 100, 0, time.Minute)
	c.must(err)
	for _, d := range ds {
		tokens = append(tokens, d.Task)
		c.must(c.h.DeadQueue("v", "a").Delete(c.t.Context(), []fanout.Receipt{d.Receipt}))
	}
	if len(tokens) != patients/2 {
		c.t.Fatalf("%d tokens, want %d", len(tokens), patients/2)
	}
	c.must(c.h.Queue("v", "a").Send(c.t.Context(), tokens))
	return tokens
}

// drain is one worker's.
func (c *clinic) drain() {
	c.t.Helper()
	rs := c.runs()
	e := &fanout.Engine{
		Tier: fanout.Tier{Name: "a"}, Queue: rs.Queue("a"), Dead: rs.Dead("a"), Ledger: rs.Ledger, Landing: c.h.Landing("v"),
		Governor: new(fanouttest.Governor), Vendor: c, Config: fanout.Config{LongPoll: 5 * time.Second},
	}
	_, err := e.Drain(c.t.Context(), c.t.Context())
	c.must(err)
}

// wantVerdict compares a run's verdict with its ledger.
func (c *clinic) wantVerdict(state run.State, done, dead, discarded int) {
	c.t.Helper()
	r, err := c.h.Runs().Get(c.t.Context(), c.id)
	c.must(err)
	n := 0
	c.must(c.h.Runs().DeadTasks(c.t.Context(), c.id, func(run.DeadTask) error { n++; return nil }))
	if v := r.Verdict; r.State != state || v.Done != done || v.Dead != dead || n != dead || v.Discarded != discarded || v.Missing != 0 {
		c.t.Errorf("the run is %s with the verdict %s, and %d are dead in the ledger; want %s, %d done, %d dead, %d discarded", r.State, v.Sum(), n, state, done, dead, discarded)
	}
}

// TestRedriveWhileClosing: a judge had computed its verdict, and before that is
// recorded a worker works the tokens that somebody has moved back.
func TestRedriveWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t)
		defer c.h.Close()
		c.redrive()
		judge := c.runs()
		judge.Store = &meanwhile{Store: c.h.Runs(), finish: c.drain}
		_, err := judge.Judge(t.Context(), c.id)
		c.must(err)
		c.wantVerdict(run.Closed, patients, 0, 0)
	})
}

// TestRedriveOfOneWhoDied: as before, and the worker dies when it has reopened
// the tasks: nothing but the tokens carries them.
func TestRedriveOfOneWhoDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t)
		defer c.h.Close()
		tokens := c.redrive()
		judge := c.runs()
		judge.Store = &meanwhile{Store: c.h.Runs(), finish: func() {
			open, err := c.h.Ledger("v").Reopen(t.Context(), tokens)
			if err != nil || len(open) != patients/2 {
				t.Errorf("reopened %d, %v", len(open), err)
			}
		}}
		v, err := judge.Judge(t.Context(), c.id)
		if err != nil || v.Missing != patients/2 {
			t.Errorf("verdict %+v, %v; want the reopened missing", v, err)
		}
		c.drain()
		_, err = c.runs().Judge(t.Context(), c.id)
		c.must(err)
		c.wantVerdict(run.Closed, patients, 0, 0)
	})
}

// TestTwoDiscards: of two judges the later verdict stands, whoever records first.
func TestTwoDiscards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t)
		defer c.h.Close()
		letters, err := c.rs.Pick(t.Context(), c.id, all)
		c.must(err)
		one, other := c.runs(), c.runs()
		one.Store = &meanwhile{Store: c.h.Runs(), finish: func() {
			n, err := other.Discard(t.Context(), c.id, letters[1:], note(""))
			if err != nil || n != len(letters)-1 {
				t.Errorf("the other discarded %d, %v", n, err)
			}
		}}
		n, err := one.Discard(t.Context(), c.id, letters[:1], note(""))
		if err != nil || n != 1 {
			t.Errorf("the one discarded %d, %v", n, err)
		}
		c.wantVerdict(run.Closed, patients/2, 0, patients/2)
	})
}

// TestDiscardWhileClosing: the run was open when the discarding began, and was
// closed before its end.
func TestDiscardWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t)
		defer c.h.Close()
		letters, err := c.rs.Pick(t.Context(), c.id, all)
		c.must(err)
		c.must(c.h.Runs().Open(t.Context(), c.id))
		op := c.runs()
		op.Store = &meanwhile{Store: c.h.Runs(), discard: func() {
			_, err := c.runs().Judge(t.Context(), c.id)
			c.must(err)
		}}
		_, err = op.Discard(t.Context(), c.id, letters, note(""))
		c.must(err)
		c.wantVerdict(run.Closed, patients/2, 0, patients/2)
	})
}

// TestInterruptedInAnOpenRun: a replay died after it had reopened a task, and
// nobody repairs the run. Typed again it sends the task, which is dead no more.
func TestInterruptedInAnOpenRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t)
		defer c.h.Close()
		letters, err := c.rs.Pick(t.Context(), c.id, all)
		c.must(err)
		c.must(c.h.Runs().Open(t.Context(), c.id))
		_, err = c.h.Runs().Reopen(t.Context(), c.id, letters[:2], note("r-1"))
		c.must(err)
		sent, err := c.rs.Replay(t.Context(), c.id, letters[2:], note("r-2"))
		if err != nil || sent != len(letters)-2 {
			t.Errorf("sent %d, %v; want all but those that may be on the queue", sent, err)
		}
		c.drain()
		_, err = c.runs().Judge(t.Context(), c.id)
		c.must(err)
		c.wantVerdict(run.Closed, patients, 0, 0)
	})
}

// TestAnotherDeath: letters were picked, and before anything is decided the task
// is replayed and dies of something else. Nobody has decided about that.
func TestAnotherDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t)
		defer c.h.Close()
		letters, err := c.rs.Pick(t.Context(), c.id, func(d run.DeadTask) bool { return d.Reason.Class == fanout.Broken })
		c.must(err)
		first := letters[:1]
		open, err := c.h.Runs().Reopen(t.Context(), c.id, first, note("r-1"))
		c.must(err)
		c.must(c.h.Ledger("v").Settle(t.Context(), []fanout.Settlement{{
			Task: open[0], Outcome: fanout.Dead, Reason: &fanout.Reason{Class: fanout.Unavailable, Message: "another cause"},
		}}))
		if n, err := c.rs.Discard(t.Context(), c.id, first, note("")); err != nil || n != 0 {
			t.Errorf("discarded %d, %v; the task is dead of another cause", n, err)
		}
		if sent, err := c.rs.Replay(t.Context(), c.id, first, note("r-2")); err != nil || sent != 0 {
			t.Errorf("sent %d, %v; the task is dead of another cause", sent, err)
		}
		if now, err := c.rs.Pick(t.Context(), c.id, all); err != nil || len(now) != len(letters) {
			t.Errorf("%d are dead, %v; want %d", len(now), err, len(letters))
		}
	})
}

// TestSweepLeavesRedriven: a token that was redriven, and that the queue has moved
// away once more, is all that carries its task.
func TestSweepLeavesRedriven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t)
		defer c.h.Close()
		tokens := c.redrive()
		_, err := c.h.Ledger("v").Reopen(t.Context(), tokens)
		c.must(err)
		dead := c.h.DeadQueue("v", "a")
		c.must(dead.Send(t.Context(), tokens))
		sent, err := c.rs.Replay(t.Context(), c.id, nil, note("r-1"))
		if err != nil || sent != 0 {
			t.Errorf("sent %d, %v: their tokens carry them", sent, err)
		}
		ds, err := dead.Receive(t.Context(), 100, 0, time.Second)
		if err != nil || len(ds) != len(tokens) {
			t.Errorf("%d tokens are left, %v; want %d", len(ds), err, len(tokens))
		}
		c.drain()
		if _, err = c.runs().Judge(t.Context(), c.id); err != nil || c.tokens() != 0 {
			t.Errorf("tokens of tasks that are done are left, %v", err)
		}
	})
}
