package fanout_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
)

// TestExpiredListBeginsAnew: a cursor runs out in the middle of a list, or of a
// read. Every child is sent once and every row is there once, whatever was landed
// before; and a list whose cursors never last comes to an end that says so.
func TestExpiredListBeginsAnew(t *testing.T) {
	for _, tt := range []struct {
		name  string
		chunk int // children that close a chunk
		rows  bool
		times int32 // that the cursor has run out
		calls int   // for the root list
		dead  string
	}{
		{"once", 1000, false, 1, 3 + 1 + 5, ""},
		{"once, with rows", 1000, true, 1, 3 + 1 + 5, ""},
		{"three times", 1000, true, 3, 3*4 + 5, ""},
		{"always", 1000, true, 1 << 30, 5 * 4 * 4, "it was begun anew 3 times"},
		{"in a later part", 100, false, 1, 3 + 1 + 5, ""},
		{"in a later part, with rows", 100, true, 1 << 30, 2 + 5*2, "1 part(s) of it are recorded, and their rows would be there twice"},
		// Two pages are recorded, and two more each time that it is begun anew.
		{"always, in a later part", 100, false, 1 << 30, 0, "it was begun anew 3 times"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := fanouttest.NewWorld("", 250)
				w.Vendor.PageSize = 50
				w.Config.ChunkChildren = tt.chunk
				w.Tiers[0].Rows = tt.rows
				var calls, expired atomic.Int32
				w.Vendor.Answer = func(task fanout.Task, cursor string, n int) error {
					if task.Tier != "a" {
						return nil
					}
					calls.Add(1)
					if cursor == "150" && expired.Add(1) <= tt.times {
						return callError(fanout.Expired, 410)
					}
					return nil
				}
				if err := w.Seed(); err != nil {
					t.Fatal(err)
				}
				w.Work(t.Context(), 2*time.Hour)
				dead := 0
				if tt.dead != "" {
					dead = 1
				}
				if err := w.Check(dead); err != nil {
					t.Fatal(err)
				}
				end := w.Ledger.Ends()[w.Root().ID]
				if tt.dead != "" {
					if end.Outcome != fanout.Dead || !strings.Contains(end.Reason.Message, tt.dead) || end.Reason.Class != fanout.Expired {
						t.Errorf("%s: %+v", end.Outcome, end.Reason)
					}
				} else if ends := len(w.Ledger.Ends()); ends != 251 {
					t.Errorf("%d tasks ended, want 251", ends)
				}
				if n := int(calls.Load()); tt.calls > 0 && n != tt.calls || n > 200 {
					t.Errorf("%d calls for the list, want %d", n, tt.calls)
				}
				if rows := w.Ledger.Lists()[w.Root().ID]; tt.chunk == 1000 && tt.dead == "" && (len(rows) != 1 || rows[0].Children != 250 || rows[0].Pages != 5) {
					t.Errorf("recorded: %+v", rows)
				}
			})
		})
	}
}

// TestExpiredRead: pages of a read that was begun anew are read back once.
func TestExpiredRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 20)
		w.Vendor.LeafPages = 6
		w.Tiers[1].Rows = true
		var expired atomic.Int32
		w.Vendor.Answer = func(task fanout.Task, cursor string, n int) error {
			if task.Tier == "b" && cursor == "4" && n < 6 {
				expired.Add(1)
				return callError(fanout.Expired, 404)
			}
			return nil
		}
		if err := w.Seed(); err != nil {
			t.Fatal(err)
		}
		w.Work(t.Context(), time.Hour)
		if err := w.Check(0); err != nil { // counts each leaf's pages
			t.Fatal(err)
		}
		if all, _ := w.Vendor.Calls(); expired.Load() != 20 || all != 1+20*(5+6) {
			t.Errorf("%d cursors ran out, %d calls", expired.Load(), all)
		}
	})
}

// TestExpiredListInItsNextLife: a list that died of cursors that did not last may
// begin anew again when it is replayed.
func TestExpiredListInItsNextLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fanouttest.NewWorld("", 250)
		w.Vendor.PageSize = 50
		w.Config.ChunkChildren = 100
		var again atomic.Bool // from the start, in the second life
		w.Vendor.Answer = func(task fanout.Task, cursor string, _ int) error {
			if task.Tier == "a" && task.Life == 2 && cursor == "" {
				again.Store(true)
			}
			if task.Tier == "a" && (task.Life == 1 && cursor == "150" || task.Life == 2 && !again.Load()) {
				return callError(fanout.Expired, 410)
			}
			return nil
		}
		if err := w.Seed(); err != nil {
			t.Fatal(err)
		}
		w.Work(t.Context(), 2*time.Hour)
		if err := w.Check(1); err != nil {
			t.Fatal(err)
		}
		if err := w.Queues[0].Send(t.Context(), []fanout.Task{w.Ledger.Replay(w.Root())}); err != nil {
			t.Fatal(err)
		}
		w.Work(t.Context(), 2*time.Hour)
		if err := w.Check(0); err != nil {
			t.Fatal(err)
		}
		if ends := len(w.Ledger.Ends()); ends != 251 {
			t.Errorf("%d tasks ended, want 251", ends)
		}
	})
}
