package fanouttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Settings tell a suite what a backend is like.
type Settings struct {
	// Short is a visibility after which the backend is sure to deliver again: in
	// virtual time any, on a real server a second.
	Short time.Duration
	// Dedupes: a task that is on the queue already is not put there twice.
	Dedupes bool
	// Virtual: the suite runs in virtual time.
	Virtual bool
	// Parallel: its tests run beside each other. Not in virtual time.
	Parallel bool
}

// run runs one test of a suite, in virtual time if so set. There, ctx becomes
// the test's own.
func (s Settings) run(t *testing.T, name string, ctx *context.Context, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) {
		if s.Virtual {
			synctest.Test(t, func(t *testing.T) { *ctx = t.Context(); test(t) })
			return
		}
		if s.Parallel {
			t.Parallel()
		}
		test(t)
	})
}

func task(run, tier string, path ...string) fanout.Task {
	return fanout.Task{ID: fanout.TaskID(run, tier, path), Run: run, Tier: tier, Life: 1, Node: fanout.Node{Path: path}}
}

func many(n int) (ts []fanout.Task) {
	for i := range n {
		ts = append(ts, task("r", "t", fmt.Sprint("k", i)))
	}
	return ts
}

// TestQueue is the conformance suite of fanout.Queue. open returns a fresh,
// empty queue.
func TestQueue(t *testing.T, s Settings, open func(t *testing.T) fanout.Queue) {
	ctx := t.Context()
	ok := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// all receives until n tasks have come, as a queue may give few at a time.
	all := func(t *testing.T, q fanout.Queue, n int, vis time.Duration) (ds []fanout.Delivery) {
		t.Helper()
		for range 100 {
			got, err := q.Receive(ctx, n-len(ds), 0, vis)
			ok(t, err)
			if ds = append(ds, got...); len(ds) >= n {
				return ds
			}
		}
		t.Fatalf("received %d tasks, want %d", len(ds), n)
		return nil
	}
	none := func(t *testing.T, q fanout.Queue) {
		t.Helper()
		ds, err := q.Receive(ctx, 10, 0, time.Minute)
		ok(t, err)
		if len(ds) > 0 {
			t.Fatalf("received %d deliveries, want none", len(ds))
		}
	}

	for name, test := range map[string]func(*testing.T, fanout.Queue){
		"a task comes as it was sent": func(t *testing.T, q fanout.Queue) {
			want := task("r", "t", "a/b ?#%+", "ünï\n\"")
			want.Window = fanout.Window{From: time.Unix(1, 0).UTC(), To: time.Unix(2, 0).UTC()}
			want.Carry = map[string]jsonText{"n": jsonText("12345678901234567890.10")}
			want.Life = 3
			ok(t, q.Send(ctx, []fanout.Task{want}))
			got := all(t, q, 1, time.Minute)[0].Task
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		},
		"each of many once": func(t *testing.T, q fanout.Queue) {
			ts := many(57)
			ok(t, q.Send(ctx, ts))
			seen := map[string]bool{}
			for _, d := range all(t, q, 57, time.Minute) {
				seen[d.Task.ID] = true
			}
			if len(seen) != 57 {
				t.Errorf("%d different tasks, want 57", len(seen))
			}
			none(t, q)
		},
		"never more than asked for": func(t *testing.T, q fanout.Queue) {
			ok(t, q.Send(ctx, many(20)))
			ds, err := q.Receive(ctx, 3, 0, time.Minute)
			ok(t, err)
			if len(ds) > 3 {
				t.Errorf("received %d, asked for 3", len(ds))
			}
		},
		"hidden, then delivered again with a new receipt": func(t *testing.T, q fanout.Queue) {
			ok(t, q.Send(ctx, many(1)))
			first := all(t, q, 1, s.Short)[0]
			none(t, q)
			time.Sleep(s.Short + 100*time.Millisecond)
			second := all(t, q, 1, time.Minute)[0]
			if first.Receipt == second.Receipt {
				t.Error("two deliveries with one receipt")
			}
			// What the first delivery's receipt asks for has no effect.
			err := q.Hide(ctx, []fanout.Hide{{Receipt: first.Receipt}})
			var lost *fanout.LostError
			if !errors.As(err, &lost) || !slices.Contains(lost.Receipts, first.Receipt) {
				t.Errorf("hiding with a stale receipt: %v, want a LostError that names it", err)
			}
			ok(t, q.Delete(ctx, []fanout.Receipt{first.Receipt}))
			none(t, q)
			ok(t, q.Hide(ctx, []fanout.Hide{{Receipt: second.Receipt}}))
			all(t, q, 1, time.Minute)
		},
		"a heartbeat keeps it hidden": func(t *testing.T, q fanout.Queue) {
			ok(t, q.Send(ctx, many(1)))
			d := all(t, q, 1, s.Short)[0]
			ok(t, q.Hide(ctx, []fanout.Hide{{Receipt: d.Receipt, For: time.Minute}}))
			time.Sleep(s.Short + 100*time.Millisecond)
			none(t, q)
		},
		"given back, it comes at once": func(t *testing.T, q fanout.Queue) {
			ok(t, q.Send(ctx, many(12)))
			var hides []fanout.Hide
			for _, d := range all(t, q, 12, time.Hour) {
				hides = append(hides, fanout.Hide{Receipt: d.Receipt})
			}
			ok(t, q.Hide(ctx, hides))
			all(t, q, 12, time.Minute)
		},
		"one lost receipt does not harm the others": func(t *testing.T, q fanout.Queue) {
			ok(t, q.Send(ctx, many(2)))
			ds := all(t, q, 2, time.Minute)
			ok(t, q.Delete(ctx, []fanout.Receipt{ds[0].Receipt}))
			err := q.Hide(ctx, []fanout.Hide{{Receipt: ds[0].Receipt}, {Receipt: ds[1].Receipt}})
			if err != nil && !errors.Is(err, fanout.ErrReceiptLost) {
				t.Fatal(err)
			}
			all(t, q, 1, time.Minute)
		},
		"deleted for good": func(t *testing.T, q fanout.Queue) {
			ok(t, q.Send(ctx, many(25)))
			var rs []fanout.Receipt
			for _, d := range all(t, q, 25, s.Short) {
				rs = append(rs, d.Receipt)
			}
			ok(t, q.Delete(ctx, rs))
			ok(t, q.Delete(ctx, rs)) // again: nothing to do
			time.Sleep(s.Short + 100*time.Millisecond)
			none(t, q)
		},
		"a long poll sees what comes": func(t *testing.T, q fanout.Queue) {
			var wg sync.WaitGroup
			wg.Go(func() {
				time.Sleep(s.Short / 2)
				if err := q.Send(ctx, many(1)); err != nil {
					t.Error(err)
				}
			})
			began := time.Now()
			ds, err := q.Receive(ctx, 10, 10*time.Second, time.Minute)
			wg.Wait()
			ok(t, err)
			if len(ds) != 1 || time.Since(began) > 9*time.Second {
				t.Errorf("%d deliveries after %v", len(ds), time.Since(began))
			}
		},
		"the end of the context ends a long poll without an error": func(t *testing.T, q fanout.Queue) {
			ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			defer cancel()
			if ds, err := q.Receive(ctx, 10, 15*time.Second, time.Minute); err != nil || len(ds) > 0 {
				t.Errorf("%d deliveries, %v", len(ds), err)
			}
		},
		"two receivers never hold the same": func(t *testing.T, q fanout.Queue) {
			ok(t, q.Send(ctx, many(60)))
			var mu sync.Mutex
			got := map[string]int{}
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 20 {
						ds, err := q.Receive(ctx, 10, 0, time.Minute)
						if err != nil {
							t.Error(err)
						}
						mu.Lock()
						for _, d := range ds {
							got[d.Task.ID]++
						}
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			for id, n := range got {
				if n > 1 {
					t.Errorf("task %s was held %d times at once", id, n)
				}
			}
			if len(got) != 60 {
				t.Errorf("%d tasks, want 60", len(got))
			}
		},
	} {
		s.run(t, name, &ctx, func(t *testing.T) { test(t, open(t)) })
	}
	if s.Dedupes {
		s.run(t, "sent twice, there once", &ctx, func(t *testing.T) {
			q := open(t)
			ok(t, q.Send(ctx, many(3)))
			ok(t, q.Send(ctx, many(3)))
			all(t, q, 3, time.Minute)
			none(t, q)
		})
		s.run(t, "a later life takes the place of an earlier one", &ctx, func(t *testing.T) {
			q := open(t)
			ts := many(1)
			ok(t, q.Send(ctx, ts))
			old := all(t, q, 1, time.Minute)[0]
			ts[0].Life = 2
			ok(t, q.Send(ctx, ts))
			now := all(t, q, 1, time.Minute)[0]
			if now.Task.Life != 2 {
				t.Errorf("life %d, want 2", now.Task.Life)
			}
			ok(t, q.Delete(ctx, []fanout.Receipt{old.Receipt}))
			ok(t, q.Hide(ctx, []fanout.Hide{{Receipt: now.Receipt}}))
			all(t, q, 1, time.Minute)
		})
	}
}
