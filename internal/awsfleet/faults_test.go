package awsfleet_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
)

// TestWireFaults fails every request of a run's life in turn, before and after
// it took effect. Whoever gets an error does the same again, as the engine
// does, and in the end all is as it would have been.
func TestWireFaults(t *testing.T) {
	for name, fault := range map[string]awstest.Fault{
		"it did nothing":              awstest.Before,
		"it did all":                  awstest.After,
		"it did nothing, tried again": awstest.HiccupFirst,
		"it did all, tried again":     awstest.HiccupLast,
		"the answer was cut off":      awstest.CutAfter,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, v := open(t, "a", "b")
			for n := 0; ; n++ {
				hit, op := false, ""
				s.ResetRecord()
				s.Inject(func(i int, r awstest.Request) awstest.Fault {
					if i != n {
						return awstest.Fault{}
					}
					hit, op = true, r.Service+"."+r.Action
					return fault
				})
				life := &life{t: t, v: v, n: n, id: fmt.Sprintf("r%03d", n)}
				life.live()
				s.Inject(nil)
				life.check()
				if t.Failed() {
					t.Fatalf("failed at request %d, %s", n, op)
				}
				if !hit {
					if n < 30 {
						t.Errorf("only %d requests", n)
					}
					return
				}
			}
		})
	}
}

// A life is one run from its seeding to its verdict, and all that is kept beside.
type life struct {
	t  *testing.T
	v  *awsfleet.Vendor
	n  int
	id string
	r  run.Run
}

// step does something until it succeeds.
func (l *life) step(what string, do func(context.Context) error) {
	l.t.Helper()
	var err error
	for range 4 {
		if err = do(l.t.Context()); err == nil {
			return
		}
	}
	l.t.Fatalf("%s: %v", what, err)
}

func (l *life) task(key string) fanout.Task { return task(l.id, "b", key) }

func (l *life) end(ts fanout.Task, o fanout.Outcome) fanout.Settlement {
	e := fanout.Settlement{Task: ts, Outcome: o, Fetch: "f", Rows: 1, At: time.Now().UTC()}
	if o == fanout.Dead {
		e.Reason = &fanout.Reason{Message: "why", At: e.At}
	}
	return e
}

func (l *life) live() {
	runs, ledger, a, b := l.v.Runs(), l.v.Ledger(vendor), l.v.Queue(vendor, "a"), l.v.Queue(vendor, "b")
	window := newRun(l.id, l.n, "a", "b")
	l.step("await", func(ctx context.Context) error { return l.v.Await(ctx, awsfleet.Waiting{Window: window.Window}) })
	l.step("create", func(ctx context.Context) (err error) { l.r, err = runs.Create(ctx, window, false); return err })
	l.step("forget", func(ctx context.Context) error { return l.v.Forget(ctx, window.Window) })
	root := l.r.Seeds[0]
	l.step("seed", func(ctx context.Context) error { return a.Send(ctx, l.r.Seeds) })
	l.lease()
	l.governor()
	l.drain(a, 1, func(ds []fanout.Delivery) {
		l.land(root)
		l.list(ledger, b, root)
		l.step("settle", func(ctx context.Context) error {
			return ledger.Settle(ctx, []fanout.Settlement{l.end(root, fanout.Done)})
		})
	})
	x, y := l.task("x"), l.task("y")
	l.drain(b, 2, func([]fanout.Delivery) {
		l.step("fail", func(ctx context.Context) error {
			_, err := ledger.Fail(ctx, []fanout.Failure{{Task: y, Fetch: "f1", Reason: fanout.Reason{Message: "why"}}})
			return err
		})
		l.step("settle", func(ctx context.Context) error {
			return ledger.Settle(ctx, []fanout.Settlement{l.end(x, fanout.Done), l.end(y, fanout.Dead)})
		})
	})
	closed := run.Verdict{At: time.Now().UTC(), Known: 3, Done: 2, Dead: 1}
	l.step("finish", func(ctx context.Context) error { return runs.Finish(ctx, l.id, l.r.Rev, closed) })
	l.step("open", func(ctx context.Context) error { return runs.Open(ctx, l.id) })
	l.step("reopen", func(ctx context.Context) error {
		next, err := runs.Reopen(ctx, l.id, []run.Letter{{Task: l.task("y").ID, Life: 1}}, run.Note{Tag: "r-1", At: time.Now()})
		if err == nil && len(next) != 1 {
			err = errors.New("it is not dead")
		}
		if err == nil {
			y = next[0]
		}
		return err
	})
	l.step("settle", func(ctx context.Context) error { return ledger.Settle(ctx, []fanout.Settlement{l.end(y, fanout.Dead)}) })
	dead := y
	l.step("redrive", func(ctx context.Context) error {
		next, err := ledger.Reopen(ctx, []fanout.Task{dead})
		if err == nil && len(next) != 1 {
			err = errors.New("it is not dead")
		}
		if err == nil {
			y = next[0]
		}
		return err
	})
	l.step("settle", func(ctx context.Context) error { return ledger.Settle(ctx, []fanout.Settlement{l.end(y, fanout.Done)}) })
	l.step("get", func(ctx context.Context) (err error) { l.r, err = runs.Get(ctx, l.id); return err })
	l.step("finish", func(ctx context.Context) error { return runs.Finish(ctx, l.id, l.r.Rev, closed) })
	l.step("verdict", func(ctx context.Context) error { return l.v.PutVerdict(ctx, l.id, []byte("{}")) })
}

// drain takes n different tasks off a queue, works them, and deletes them.
func (l *life) drain(q fanout.Queue, n int, work func([]fanout.Delivery)) {
	var ds []fanout.Delivery
	seen := map[string]bool{}
	for deadline := time.Now().Add(10 * time.Second); len(seen) < n && time.Now().Before(deadline); {
		// What an answer that was lost had taken comes again after a second.
		got, err := q.Receive(l.t.Context(), 10, time.Second, time.Second)
		if err == nil {
			ds = append(ds, got...)
		}
		for _, d := range got {
			seen[d.Task.ID] = true
		}
	}
	if len(seen) != n {
		l.t.Fatalf("received %d different tasks, want %d", len(seen), n)
	}
	var hides []fanout.Hide
	var receipts []fanout.Receipt
	for _, d := range ds {
		hides, receipts = append(hides, fanout.Hide{Receipt: d.Receipt, For: time.Minute, Keep: true}), append(receipts, d.Receipt)
	}
	l.step("heartbeat", func(ctx context.Context) error {
		if err := q.Hide(ctx, hides); !errors.Is(err, fanout.ErrReceiptLost) {
			return err
		}
		return nil
	})
	work(ds)
	l.step("delete", func(ctx context.Context) error { return q.Delete(ctx, receipts) })
	l.step("sweep", func(ctx context.Context) error { // what was sent twice
		rest, err := q.Receive(ctx, 10, 0, time.Minute)
		if err != nil || len(rest) == 0 {
			return err
		}
		var rs []fanout.Receipt
		for _, d := range rest {
			rs = append(rs, d.Receipt)
		}
		return q.Delete(ctx, rs)
	})
}

// list records a list of two chunks, claims its children and sends them.
func (l *life) list(ledger fanout.Ledger, below fanout.Queue, root fanout.Task) {
	rows := []fanout.Listed{
		{Run: l.id, Tier: "a", Task: root.ID, Fetch: "f0", Object: "o", Children: 1, Cursor: "c"},
		{Run: l.id, Tier: "a", Task: root.ID, Chunk: 1, Fetch: "f1", Object: "o", Children: 1, Final: true},
	}
	for _, row := range rows {
		l.step("list", func(ctx context.Context) error {
			won, err := ledger.List(ctx, []fanout.Listed{row})
			if err == nil && won[0].Fetch != row.Fetch {
				err = fmt.Errorf("somebody else's list %+v won", won)
			}
			return err
		})
	}
	x, y := l.task("x"), l.task("y")
	l.step("claim", func(ctx context.Context) error {
		mine, err := ledger.Claim(ctx, []fanout.Claim{{Run: l.id, Child: x.ID, Parent: root.ID}, {Run: l.id, Child: y.ID, Parent: root.ID}})
		if err == nil && (!mine[0] || !mine[1]) {
			err = errors.New("our own claim is refused")
		}
		return err
	})
	l.step("send", func(ctx context.Context) error { return below.Send(ctx, []fanout.Task{x, y}) })
	l.step("mark", func(ctx context.Context) error { return ledger.MarkSent(ctx, rows[:1]) })
	l.step("look", func(ctx context.Context) error {
		st, err := ledger.Look(ctx, []fanout.Task{root, x})
		if err == nil && (st[0].Last == nil || st[0].Last.Chunk != 1 || !st[0].RunOpen || st[1].Outcome != "") {
			err = fmt.Errorf("standings %+v", st)
		}
		return err
	})
}

// land puts a batch into the landing and reads it back.
func (l *life) land(root fanout.Task) {
	b := l.v.Landing(vendor).Begin(l.id, "a")
	if err := b.Add(fanout.Record{Kind: "list", Task: root, Fetch: "f1", Children: []fanout.Node{{Path: []string{"x"}}}}); err != nil {
		l.t.Fatal(err)
	}
	l.step("land", b.Commit)
	l.step("read back", func(ctx context.Context) error {
		n := 0
		err := l.v.Landing(vendor).Records(ctx, l.id, "a", func(*fanout.Record) error { n++; return nil })
		if err == nil && n != 1 {
			err = fmt.Errorf("%d records", n)
		}
		return err
	})
}

func (l *life) lease() {
	now := time.Now()
	mine := awsfleet.Lease{Owner: "me" + l.id, Soft: now.Add(time.Minute), Expires: now.Add(2 * time.Minute)}
	held := func(ok bool, err error) error {
		if err == nil && !ok {
			err = errors.New("refused")
		}
		return err
	}
	l.step("acquire", func(ctx context.Context) error { return held(l.v.Acquire(ctx, "a", 0, mine, now)) })
	mine.HandingOver = true
	l.step("renew", func(ctx context.Context) error { return held(l.v.Renew(ctx, "a", 0, mine)) })
	l.step("peek", func(ctx context.Context) error {
		open, leases, err := l.v.Peek(ctx, "a", 1)
		if err == nil && (!open || leases[0].Owner != mine.Owner || !leases[0].HandingOver) {
			err = fmt.Errorf("open %v, leases %+v", open, leases)
		}
		return err
	})
	l.step("release", func(ctx context.Context) error { return l.v.Release(ctx, "a", 0, mine.Owner) })
}

// governor makes a change that is logged, twice, so that the first is moved out.
func (l *life) governor() {
	store := l.v.Governor()
	for i := range 2 {
		epoch, at := int64(10*l.n+i+1), time.Now().UTC()
		l.step("governor", func(ctx context.Context) error {
			return store.Update(ctx, vendor, func(it *governor.Item) error {
				it.Rev++
				if it.Epoch != epoch { // or it was done
					it.Epoch = epoch
					it.Log = append(it.Log, governor.Entry{At: at, By: "me", What: fmt.Sprint("change ", epoch)})
				}
				return nil
			})
		})
	}
}

func (l *life) check() {
	ctx, t := l.t.Context(), l.t
	r, err := l.v.Runs().Get(ctx, l.id)
	if err != nil || r.State != run.Closed || r.Verdict == nil {
		t.Errorf("the run: %+v, %v; want it closed", r, err)
	}
	if open, err := l.v.Ledger(vendor).AnyOpen(ctx); err != nil || open {
		t.Errorf("an open run is left: %v, %v", open, err)
	}
	if waiting, err := l.v.Awaiting(ctx); err != nil || len(waiting) > 0 {
		t.Errorf("a window still waits: %v, %v", waiting, err)
	}
	all, err := l.v.Runs().List(ctx, vendor)
	if err != nil || len(all) != l.n+1 {
		t.Errorf("%d runs are listed, %v; want %d", len(all), err, l.n+1)
	}
	ends := map[string]int{}
	ok(t, l.v.Runs().Ends(ctx, l.id, func(e fanout.Settlement) error { ends[string(e.Outcome)]++; return nil }))
	lists := 0
	ok(t, l.v.Runs().Lists(ctx, l.id, func(fanout.Listed) error { lists++; return nil }))
	if ends["done"] != 3 || len(ends) != 1 || lists != 2 {
		t.Errorf("ends %v, %d chunks; want 3 done, 2 chunks", ends, lists)
	}
	root := l.r.Seeds[0]
	if n, err := l.v.Ledger(vendor).Fail(ctx, []fanout.Failure{{Task: root, Fetch: "new"}}); err != nil || n[0] != 1 {
		t.Errorf("attempts %v, %v", n, err)
	}
	l.checkLog()
}

func (l *life) checkLog() {
	h, isHistorian := l.v.Governor().(governor.Historian)
	if !isHistorian {
		l.t.Fatal("the store keeps no history")
	}
	entries, err := h.History(l.t.Context(), vendor)
	ok(l.t, err)
	seen := map[string]int{}
	for i, e := range entries {
		seen[e.What]++
		if i > 0 && e.At.Before(entries[i-1].At) {
			l.t.Error("the history is out of order")
		}
	}
	for i := range 2 {
		if what := fmt.Sprint("change ", 10*l.n+i+1); seen[what] != 1 {
			l.t.Errorf("%q is %d times in the history", what, seen[what])
		}
	}
}
