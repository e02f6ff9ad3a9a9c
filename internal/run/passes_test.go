package run_test

import (
	"context"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/localfleet"
	"github.com/sluicehq/sluice/internal/run"
)

// big makes a small run look like one of 300,000 tasks, and lets something
// happen between the passes of its verdict.
type big struct {
	run.Store
	passes  int
	between func()
}

func (b *big) Lists(ctx context.Context, id string, each func(fanout.Listed) error) error {
	return b.Store.Lists(ctx, id, func(l fanout.Listed) error {
		if l.Children > 0 {
			l.Children = 300_000
		}
		return each(l)
	})
}

func (b *big) Ends(ctx context.Context, id string, each func(fanout.Settlement) error) error {
	if b.passes++; b.passes == 2 {
		b.between()
	}
	return b.Store.Ends(ctx, id, each)
}

// TestGrowingRun: a run so large that it is judged in several passes grows
// between two of them. It is not closed while a known task is open.
func TestGrowingRun(t *testing.T) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for try := range 12 { // how tasks fall into the passes is random
		h, err := localfleet.Open(ctx, t.TempDir())
		must(err)
		w := fanout.Window{From: time.Unix(0, 0), To: time.Unix(86400, 0)}
		seed := func(k string) fanout.Task {
			return fanout.Task{ID: fanout.TaskID("r", "a", []string{k}), Run: "r", Tier: "a", Life: 1, Window: w, Node: fanout.Node{Path: []string{k}}}
		}
		s0, T := seed("s0"), seed("T")
		led, land := h.Ledger("v"), h.Landing("v")
		list := func(parent fanout.Task, child string) fanout.Task {
			n := fanout.Node{Path: append(append([]string{}, parent.Path...), child)}
			b := land.Begin("r", "a")
			must(b.Add(fanout.Record{Kind: "list", Task: parent, Fetch: "f", Children: []fanout.Node{n}}))
			must(b.Commit(ctx))
			_, err := led.List(ctx, []fanout.Listed{{Run: "r", Tier: "a", Task: parent.ID, Fetch: "f", Object: b.Object(), Children: 1, Final: true}})
			must(err)
			must(led.Settle(ctx, []fanout.Settlement{{Task: parent, Outcome: fanout.Done, Fetch: "f", Children: 1, At: time.Now()}}))
			return parent.Child("b", n)
		}
		st := &big{Store: h.Runs()}
		st.between = func() { list(T, "c") } // a worker lists and settles T; its child c is on the queue
		_, err = st.Create(ctx, run.Run{ID: "r", Vendor: "v", Window: w, Tiers: []string{"a", "b"}, Seeds: []fanout.Task{s0, T}, Opened: time.Now(), State: run.Open}, false)
		must(err)
		k := list(s0, "k")
		must(led.Settle(ctx, []fanout.Settlement{{Task: k, Outcome: fanout.Done, Fetch: "f", At: time.Now()}}))
		rs := &run.Runs{Vendor: "v", Zone: time.UTC, Tiers: []string{"a", "b"}, Store: st, Ledger: led, Landing: land,
			Queue: func(tier string) fanout.Queue { return h.Queue("v", tier) }, Dead: func(tier string) fanout.Queue { return h.DeadQueue("v", tier) }}
		v, err := rs.Judge(ctx, "r")
		must(err)
		got, err := h.Runs().Get(ctx, "r")
		must(err)
		h.Close()
		if got.State == run.Closed {
			t.Fatalf("try %d: the run is closed (%s, complete: %v) though a known task is not settled", try, v.Sum(), v.Complete())
		}
	}
}
