package fanouttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// ErrInjected is what a failed operation returns.
var ErrInjected = errors.New("injected fault")

// Faults counts port operations and fails chosen ones, before or after they
// have taken effect. The zero value fails none. It is safe for concurrent use.
type Faults struct {
	// Fail decides about the n-th operation (0, 1, ...) named op.
	Fail func(n int, op string) Fault
	// Stall, if set, may hold an operation up before it is done.
	Stall func(op string)

	mu  sync.Mutex
	n   int
	ops []string
}

// Fault is what happens to one operation.
type Fault int

const (
	None   Fault = iota
	Before       // it does nothing and reports an error
	After        // it does all and reports an error
)

// Do runs one operation under the injector.
func (f *Faults) Do(op string, do func() error) error {
	if f == nil {
		return do()
	}
	if f.Stall != nil {
		f.Stall(op)
	}
	f.mu.Lock()
	n := f.n
	f.n++
	f.ops = append(f.ops, op)
	var fault Fault
	if f.Fail != nil {
		fault = f.Fail(n, op)
	}
	f.mu.Unlock()
	if fault == Before {
		return fmt.Errorf("%s: %w", op, ErrInjected)
	}
	err := do()
	if err == nil && fault == After {
		err = fmt.Errorf("%s: %w", op, ErrInjected)
	}
	return err
}

// Hold holds operations of that name up until the channel is closed, after
// whatever Stall does.
func (f *Faults) Hold(op string, until <-chan struct{}) {
	before := f.Stall
	f.Stall = func(o string) {
		if before != nil {
			before(o)
		}
		if o == op {
			<-until
		}
	}
}

// Ops lists the operations so far.
func (f *Faults) Ops() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.ops...)
}

// Queue puts the injector before a queue.
func (f *Faults) Queue(name string, q fanout.Queue) fanout.Queue { return faultyQueue{f, name, q} }

type faultyQueue struct {
	f    *Faults
	name string
	q    fanout.Queue
}

func (q faultyQueue) Send(ctx context.Context, ts []fanout.Task) error {
	return q.f.Do(q.name+".Send", func() error { return q.q.Send(ctx, ts) })
}

func (q faultyQueue) Receive(ctx context.Context, max int, wait, vis time.Duration) (ds []fanout.Delivery, err error) {
	err = q.f.Do(q.name+".Receive", func() (err error) { ds, err = q.q.Receive(ctx, max, wait, vis); return err })
	if err != nil {
		ds = nil // received, hidden, and never known to us
	}
	return ds, err
}

func (q faultyQueue) Hide(ctx context.Context, hs []fanout.Hide) error {
	return q.f.Do(q.name+".Hide", func() error { return q.q.Hide(ctx, hs) })
}

func (q faultyQueue) Delete(ctx context.Context, rs []fanout.Receipt) error {
	return q.f.Do(q.name+".Delete", func() error { return q.q.Delete(ctx, rs) })
}

// Ledger puts the injector before a ledger.
func (f *Faults) Ledger(l fanout.Ledger) fanout.Ledger { return faultyLedger{f, l} }

type faultyLedger struct {
	f *Faults
	l fanout.Ledger
}

func (l faultyLedger) AnyOpen(ctx context.Context) (ok bool, err error) {
	err = l.f.Do("ledger.AnyOpen", func() (err error) { ok, err = l.l.AnyOpen(ctx); return err })
	return ok, err
}

func (l faultyLedger) Look(ctx context.Context, ts []fanout.Task) (out []fanout.Standing, err error) {
	err = l.f.Do("ledger.Look", func() (err error) { out, err = l.l.Look(ctx, ts); return err })
	return out, err
}

func (l faultyLedger) List(ctx context.Context, rows []fanout.Listed) (out []fanout.Listed, err error) {
	err = l.f.Do("ledger.List", func() (err error) { out, err = l.l.List(ctx, rows); return err })
	return out, err
}

func (l faultyLedger) MarkSent(ctx context.Context, rows []fanout.Listed) error {
	return l.f.Do("ledger.MarkSent", func() error { return l.l.MarkSent(ctx, rows) })
}

func (l faultyLedger) Claim(ctx context.Context, cs []fanout.Claim) (mine []bool, err error) {
	err = l.f.Do("ledger.Claim", func() (err error) { mine, err = l.l.Claim(ctx, cs); return err })
	return mine, err
}

func (l faultyLedger) Fail(ctx context.Context, fs []fanout.Failure) (n []int, err error) {
	err = l.f.Do("ledger.Fail", func() (err error) { n, err = l.l.Fail(ctx, fs); return err })
	return n, err
}

func (l faultyLedger) Settle(ctx context.Context, ends []fanout.Settlement) error {
	return l.f.Do("ledger.Settle", func() error { return l.l.Settle(ctx, ends) })
}

func (l faultyLedger) Reopen(ctx context.Context, ts []fanout.Task) (out []fanout.Task, err error) {
	err = l.f.Do("ledger.Reopen", func() (err error) { out, err = l.l.Reopen(ctx, ts); return err })
	return out, err
}

// Landing puts the injector before a landing.
func (f *Faults) Landing(l fanout.Landing) fanout.Landing { return faultyLanding{f, l} }

type faultyLanding struct {
	f *Faults
	l fanout.Landing
}

func (l faultyLanding) Begin(run, tier string) fanout.LandingBatch {
	return faultyBatch{l.l.Begin(run, tier), l.f}
}

func (l faultyLanding) Children(ctx context.Context, row fanout.Listed) (out []fanout.Node, err error) {
	err = l.f.Do("landing.Children", func() (err error) { out, err = l.l.Children(ctx, row); return err })
	return out, err
}

type faultyBatch struct {
	fanout.LandingBatch
	f *Faults
}

func (b faultyBatch) Commit(ctx context.Context) error {
	return b.f.Do("landing.Commit", func() error { return b.LandingBatch.Commit(ctx) })
}
