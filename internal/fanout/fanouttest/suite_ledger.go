package fanouttest

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

type jsonText = json.RawMessage

// TestLedger is the conformance suite of fanout.Ledger. open returns a fresh
// ledger, the ID of an open run in it, and a function that begins a dead task's
// next life.
func TestLedger(t *testing.T, s Settings, open func(t *testing.T) (l fanout.Ledger, run string, reopen func(fanout.Task) fanout.Task)) {
	ctx := t.Context()
	ok := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	look := func(t *testing.T, l fanout.Ledger, ts ...fanout.Task) []fanout.Standing {
		t.Helper()
		st, err := l.Look(ctx, ts)
		ok(t, err)
		if len(st) != len(ts) {
			t.Fatalf("%d standings for %d tasks", len(st), len(ts))
		}
		return st
	}
	end := func(ts fanout.Task, o fanout.Outcome, fetch string) fanout.Settlement {
		return fanout.Settlement{Task: ts, Outcome: o, Fetch: fetch, At: time.Now().UTC()}
	}
	type reopener = func(fanout.Task) fanout.Task
	for name, test := range map[string]func(*testing.T, fanout.Ledger, string, reopener){
		"nothing is known of a new task": func(t *testing.T, l fanout.Ledger, run string, _ reopener) {
			if open, err := l.AnyOpen(ctx); err != nil || !open {
				t.Errorf("AnyOpen: %v, %v", open, err)
			}
			st := look(t, l, task(run, "a", "x"))[0]
			if !st.RunOpen || st.Life != 1 || st.Outcome != "" || st.Attempts != 0 || st.Reason != nil || st.Last != nil {
				t.Errorf("%+v", st)
			}
			if look(t, l, task("other-run", "a", "x"))[0].RunOpen {
				t.Error("an unknown run is open")
			}
		},
		"looks are answered in the order asked": func(t *testing.T, l fanout.Ledger, run string, _ reopener) {
			var ts []fanout.Task
			for i := range 40 {
				ts = append(ts, task(run, "a", fmt.Sprint(i)))
			}
			ok(t, l.Settle(ctx, []fanout.Settlement{end(ts[7], fanout.Gone, "f"), end(ts[31], fanout.Done, "f")}))
			ts = append(ts, ts[7])
			for i, st := range look(t, l, ts...) {
				want := map[int]fanout.Outcome{7: fanout.Gone, 31: fanout.Done, 40: fanout.Gone}[i]
				if st.Outcome != want {
					t.Errorf("task %d: %q, want %q", i, st.Outcome, want)
				}
			}
		},
		"the first settle wins": func(t *testing.T, l fanout.Ledger, run string, _ reopener) {
			a := task(run, "a", "x")
			ok(t, l.Settle(ctx, []fanout.Settlement{end(a, fanout.Dead, "f1")}))
			ok(t, l.Settle(ctx, []fanout.Settlement{end(a, fanout.Done, "f2")}))
			if st := look(t, l, a)[0]; st.Outcome != fanout.Dead {
				t.Errorf("%+v", st)
			}
		},
		"a settle of an earlier life is refused": func(t *testing.T, l fanout.Ledger, run string, reopen reopener) {
			a := task(run, "a", "x")
			ok(t, l.Settle(ctx, []fanout.Settlement{end(a, fanout.Dead, "f1")}))
			b := reopen(a)
			if b.Life != 2 {
				t.Fatalf("life %d after a reopening, want 2", b.Life)
			}
			ok(t, l.Settle(ctx, []fanout.Settlement{end(a, fanout.Done, "late")}))
			if st := look(t, l, b)[0]; st.Outcome != "" || st.Life != 2 {
				t.Errorf("a late worker of the first life has settled the second: %+v", st)
			}
			ok(t, l.Settle(ctx, []fanout.Settlement{end(b, fanout.Done, "f2")}))
			if st := look(t, l, b)[0]; st.Outcome != fanout.Done {
				t.Errorf("%+v", st)
			}
		},
		"the first list of a chunk wins": func(t *testing.T, l fanout.Ledger, run string, _ reopener) {
			a := task(run, "a", "x")
			row := func(chunk int, fetch string, final bool) fanout.Listed {
				return fanout.Listed{Run: run, Tier: "a", Task: a.ID, Chunk: chunk, Fetch: fetch, Object: "o/" + fetch, Children: 3, Rows: 2, Pages: 4, Cursor: "c ü", Final: final}
			}
			first := row(0, "f1", false)
			for _, r := range []fanout.Listed{first, row(0, "f2", true)} {
				won, err := l.List(ctx, []fanout.Listed{r})
				ok(t, err)
				if len(won) != 1 || won[0] != first {
					t.Errorf("won %+v, want %+v", won, first)
				}
			}
			second := row(1, "f3", true)
			won, err := l.List(ctx, []fanout.Listed{second, row(0, "f4", true)})
			ok(t, err)
			if won[0] != second || won[1] != first {
				t.Errorf("won %+v", won)
			}
			if st := look(t, l, a)[0]; st.Last == nil || *st.Last != second {
				t.Errorf("last chunk %+v, want %+v", st.Last, second)
			}
		},
		"a chunk is marked sent": func(t *testing.T, l fanout.Ledger, run string, _ reopener) {
			a := task(run, "a", "x")
			row := fanout.Listed{Run: run, Tier: "a", Task: a.ID, Fetch: "f1"}
			_, err := l.List(ctx, []fanout.Listed{row})
			ok(t, err)
			other := row
			other.Fetch = "f2"
			ok(t, l.MarkSent(ctx, []fanout.Listed{other}))
			if look(t, l, a)[0].Last.Sent {
				t.Error("marked sent for a fetch that does not count")
			}
			ok(t, l.MarkSent(ctx, []fanout.Listed{row}))
			if !look(t, l, a)[0].Last.Sent {
				t.Error("not marked sent")
			}
		},
		"a child belongs to the parent that asked first": func(t *testing.T, l fanout.Ledger, run string, _ reopener) {
			c := func(parent, child string) fanout.Claim { return fanout.Claim{Run: run, Child: child, Parent: parent} }
			for _, step := range []struct {
				claims []fanout.Claim
				want   []bool
			}{
				{[]fanout.Claim{c("p", "1"), c("p", "2")}, []bool{true, true}},
				{[]fanout.Claim{c("q", "2"), c("q", "3")}, []bool{false, true}},
				{[]fanout.Claim{c("p", "1"), c("p", "3")}, []bool{true, false}},
			} {
				got, err := l.Claim(ctx, step.claims)
				ok(t, err)
				if fmt.Sprint(got) != fmt.Sprint(step.want) {
					t.Errorf("%v: %v, want %v", step.claims, got, step.want)
				}
			}
		},
		"a dead task whose message came back begins its next life": func(t *testing.T, l fanout.Ledger, run string, reopen reopener) {
			a, b, c, d := task(run, "a", "x"), task(run, "a", "done"), task(run, "a", "open"), task(run, "a", "replayed")
			why := end(a, fanout.Dead, "f1")
			why.Reason = &fanout.Reason{Class: fanout.Redriven, Message: "m", At: why.At}
			ok(t, l.Settle(ctx, []fanout.Settlement{why, end(b, fanout.Done, "f"), end(d, fanout.Dead, "f")}))
			if st := look(t, l, a)[0]; st.Reason == nil || st.Reason.Class != fanout.Redriven {
				t.Errorf("a dead task's standing has the reason %+v", st.Reason)
			}
			if next := reopen(d); next.Replay == "" || next.Replay == fanout.Redrive {
				t.Fatalf("replayed as %+v", next)
			}
			late := a
			late.Life = 2
			for range 2 { // the second time as after an error that was none
				got, err := l.Reopen(ctx, []fanout.Task{late})
				ok(t, err)
				if len(got) > 0 {
					t.Fatalf("reopened %+v in a life that it has not died in", got)
				}
				got, err = l.Reopen(ctx, []fanout.Task{a, b, c, d})
				ok(t, err)
				if len(got) != 1 || got[0].ID != a.ID || got[0].Life != 2 || got[0].Replay != fanout.Redrive {
					t.Fatalf("reopened %+v, want the dead one in its second life", got)
				}
			}
			if st := look(t, l, a, d); st[0].Outcome != "" || st[0].Life != 2 || st[0].Replay != fanout.Redrive || st[0].Attempts != 0 || st[1].Replay == fanout.Redrive {
				t.Errorf("%+v", st)
			}
		},
		"attempts are counted by fetch and by life": func(t *testing.T, l fanout.Ledger, run string, reopen reopener) {
			a := task(run, "a", "x")
			fail := func(ts fanout.Task, fetch string, want int) {
				t.Helper()
				got, err := l.Fail(ctx, []fanout.Failure{{Task: ts, Fetch: fetch, Reason: fanout.Reason{Class: fanout.Bad, Message: fetch, At: time.Now().UTC()}}})
				ok(t, err)
				if got[0] != want {
					t.Errorf("%d attempts, want %d", got[0], want)
				}
			}
			fail(a, "f1", 1)
			fail(a, "f1", 1) // the same attempt, told twice
			time.Sleep(time.Millisecond)
			fail(a, "f2", 2)
			st := look(t, l, a)[0]
			if st.Attempts != 2 || st.Reason == nil || st.Reason.Message != "f2" || st.Reason.Class != fanout.Bad {
				t.Errorf("%+v %+v", st, st.Reason)
			}
			ok(t, l.Settle(ctx, []fanout.Settlement{end(a, fanout.Dead, "f2")}))
			b := reopen(a)
			if st := look(t, l, b)[0]; st.Attempts != 0 {
				t.Errorf("a new life begins with %d attempts", st.Attempts)
			}
			fail(b, "f3", 1)
		},
		"attempts are counted at the chunk that they were for": func(t *testing.T, l fanout.Ledger, run string, _ reopener) {
			a := task(run, "a", "x")
			fail := func(chunk int, fetch string) int {
				t.Helper()
				got, err := l.Fail(ctx, []fanout.Failure{{Task: a, Fetch: fetch, Chunk: chunk, Reason: fanout.Reason{Message: fetch, At: time.Now().UTC()}}})
				ok(t, err)
				return got[0]
			}
			fail(0, "f1")
			if n := fail(0, "f2"); n != 2 {
				t.Errorf("%d attempts at the first chunk, want 2", n)
			}
			_, err := l.List(ctx, []fanout.Listed{{Run: run, Tier: "a", Task: a.ID, Fetch: "f2", Cursor: "c"}})
			ok(t, err)
			if st := look(t, l, a)[0]; st.Attempts != 0 || st.Reason != nil {
				t.Errorf("%d attempts after the list got on", st.Attempts)
			}
			if n := fail(1, "f3"); n != 1 {
				t.Errorf("%d attempts at the second chunk, want 1", n)
			}
			if st := look(t, l, a)[0]; st.Attempts != 1 || st.Reason == nil || st.Reason.Message != "f3" {
				t.Errorf("%+v", st)
			}
		},
		"of many writers one wins": func(t *testing.T, l fanout.Ledger, run string, _ reopener) {
			a := task(run, "a", "x")
			var mu sync.Mutex
			winners := map[string]bool{}
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					won, err := l.List(ctx, []fanout.Listed{{Run: run, Tier: "a", Task: a.ID, Fetch: fmt.Sprint(i)}})
					mine, errC := l.Claim(ctx, []fanout.Claim{{Run: run, Child: "c", Parent: fmt.Sprint(i)}})
					if err != nil || errC != nil {
						t.Error(err, errC)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					winners["list "+won[0].Fetch] = true
					if mine[0] {
						winners["claim"+fmt.Sprint(i)] = true
					}
				})
			}
			wg.Wait()
			if len(winners) != 2 {
				t.Errorf("winners: %v, want one list and one claim", winners)
			}
		},
	} {
		s.run(t, name, &ctx, func(t *testing.T) {
			l, run, reopen := open(t)
			test(t, l, run, reopen)
		})
	}
}

// TestLanding is the conformance suite of fanout.Landing. read calls each for
// every record of an object.
func TestLanding(t *testing.T, open func(t *testing.T) fanout.Landing, read func(t *testing.T, l fanout.Landing, object string, each func(*fanout.Record))) {
	ctx := t.Context()
	l := open(t)
	parent := task("r", "a", "x/y")
	list := fanout.Record{Kind: "list", Task: parent, Fetch: "f1", Chunk: 2, Children: []fanout.Node{
		{Path: []string{"x/y", "ü"}, Carry: map[string]jsonText{"n": jsonText("1.10")}}, {Path: []string{"x/y", "2"}},
	}}
	b := l.Begin("r", "a")
	for _, r := range []fanout.Record{
		{Kind: "page", Task: parent, Fetch: "f1", Status: 200, Rows: 3, Cursor: `{"o":1}`, At: time.Unix(5, 0).UTC(), Body: []byte(`{"big": 12345678901234567890.1230, "s": "a\u0000b"}`)},
		list,
		{Kind: "list", Task: parent, Fetch: "f2", Chunk: 2, Children: []fanout.Node{{Path: []string{"other"}}}},
	} {
		if err := b.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	row := fanout.Listed{Run: "r", Tier: "a", Task: parent.ID, Chunk: 2, Fetch: "f1", Object: b.Object(), Children: 2}
	if _, err := l.Children(ctx, row); err == nil {
		t.Error("an object is there before its commit")
	}
	for range 2 { // the second time as after an error that was none
		if err := b.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	nodes, err := l.Children(ctx, row)
	if err != nil || fmt.Sprintf("%q", nodes) != fmt.Sprintf("%q", list.Children) {
		t.Errorf("children %q, %v; want %q", nodes, err, list.Children)
	}
	row.Fetch = "f9"
	if nodes, err := l.Children(ctx, row); err == nil {
		t.Errorf("children of a fetch that is not there: %q", nodes)
	}
	var bodies []string
	read(t, l, b.Object(), func(r *fanout.Record) {
		if r.Kind == "page" {
			bodies = append(bodies, string(r.Body))
			if r.Rows != 3 || r.Status != 200 || r.Cursor != `{"o":1}` || !r.At.Equal(time.Unix(5, 0)) || r.Task.ID != parent.ID {
				t.Errorf("page came back as %+v", r)
			}
		}
	})
	if want := `{"big":12345678901234567890.1230,"s":"a\u0000b"}`; len(bodies) != 1 || bodies[0] != want {
		t.Errorf("bodies %q, want %q", bodies, want)
	}
	if one, two := l.Begin("r", "a"), l.Begin("r", "a"); one.Object() == two.Object() {
		t.Error("two objects with one name")
	}
}
