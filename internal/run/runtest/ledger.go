package runtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

func task(run, tier string, path ...string) fanout.Task {
	return fanout.Task{
		ID: fanout.TaskID(run, tier, path), Run: run, Tier: tier, Life: 1, Window: fanout.Window{From: day0, To: day0.AddDate(0, 0, 1)},
		Node: fanout.Node{Path: path, Carry: map[string]json.RawMessage{"n": json.RawMessage("1.10")}},
	}
}

func (p place) look(t *testing.T, ts fanout.Task) fanout.Standing {
	t.Helper()
	st, err := p.Ledger.Look(t.Context(), []fanout.Task{ts})
	ok(t, err)
	return st[0]
}

func end(ts fanout.Task, o fanout.Outcome, at time.Time) fanout.Settlement {
	e := fanout.Settlement{Task: ts, Outcome: o, Fetch: "f" + ts.ID[:4], Object: "o/" + ts.ID[:4], Chunk: 2, Children: 3, Rows: 4, Pages: 5, At: at}
	if o == fanout.Dead {
		e.Reason = &fanout.Reason{Class: fanout.Bad, Status: 500, Request: "GET x", Page: 2, Message: "why " + ts.Path[0], Excerpt: "{", At: at}
	}
	return e
}

func wholeLedger(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	p.create(t, "r2", 1, false)
	now := time.Now().UTC().Round(time.Microsecond)
	want := map[string]fanout.Settlement{}
	var ends []fanout.Settlement
	for i := range 60 {
		o := []fanout.Outcome{fanout.Done, fanout.Gone, fanout.Dead}[i%3]
		e := end(task("r1", "b", fmt.Sprint("k/ü", i)), o, now)
		ends, want[e.Task.ID] = append(ends, e), e
	}
	other := end(task("r2", "b", "of another run"), fanout.Done, now)
	ok(t, p.Ledger.Settle(t.Context(), append(ends, other)))
	rows := map[string]fanout.Listed{}
	var lists []fanout.Listed
	for i := range 30 {
		l := fanout.Listed{Run: "r1", Tier: "a", Task: task("r1", "a", fmt.Sprint(i/3)).ID, Chunk: i % 3, Fetch: fmt.Sprint("f", i), Object: "o", Children: i, Rows: 1, Pages: 2, Cursor: "c", Final: i%3 == 2}
		lists, rows[l.Task+fmt.Sprint(l.Chunk)] = append(lists, l), l
	}
	_, err := p.Ledger.List(t.Context(), lists)
	ok(t, err)
	ok(t, p.Store.Ends(t.Context(), "r1", func(e fanout.Settlement) error {
		w, known := want[e.Task.ID]
		delete(want, e.Task.ID)
		if !known || e.Task.Run != "r1" || e.Task.Tier != "b" || !slices.Equal(e.Task.Path, w.Task.Path) || e.Outcome != w.Outcome || e.Fetch != w.Fetch ||
			e.Object != w.Object || e.Chunk != w.Chunk || e.Children != w.Children || e.Rows != w.Rows || e.Pages != w.Pages || !e.At.Equal(w.At) {
			t.Errorf("end %+v\nwant %+v", e, w)
		}
		return nil
	}))
	ok(t, p.Store.Lists(t.Context(), "r1", func(l fanout.Listed) error {
		if w := rows[l.Task+fmt.Sprint(l.Chunk)]; l != w {
			t.Errorf("list %+v\nwant %+v", l, w)
		}
		delete(rows, l.Task+fmt.Sprint(l.Chunk))
		return nil
	}))
	if len(want)+len(rows) > 0 {
		t.Errorf("%d ends and %d lists are missing", len(want), len(rows))
	}
	no := fmt.Errorf("no")
	if err := p.Store.Ends(t.Context(), "r1", func(fanout.Settlement) error { return no }); err == nil {
		t.Error("an error of each is lost")
	}
}

func deadLetters(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	const n = 120
	base := time.Now().UTC().Round(time.Microsecond)
	var ends []fanout.Settlement
	for i := range n {
		ends = append(ends, end(task("r1", "b", fmt.Sprint("k", i)), fanout.Dead, base.Add(time.Duration((i*37)%n)*time.Second)))
	}
	first := ends[0].Task
	for _, f := range []string{"f1", "f2"} {
		_, err := p.Ledger.Fail(t.Context(), []fanout.Failure{{Task: first, Fetch: f, Reason: fanout.Reason{Message: f, At: base}}})
		ok(t, err)
	}
	ok(t, p.Ledger.Settle(t.Context(), append(ends, end(task("r1", "b", "fine"), fanout.Done, base))))
	var got []run.DeadTask
	ok(t, p.Store.DeadTasks(t.Context(), "r1", func(d run.DeadTask) error { got = append(got, d); return nil }))
	if len(got) != n {
		t.Fatalf("%d dead letters, want %d", len(got), n)
	}
	slices.SortFunc(got, func(a, b run.DeadTask) int { return a.At.Compare(b.At) })
	for i, d := range got {
		if want := base.Add(time.Duration(i) * time.Second); !d.At.Equal(want) {
			t.Fatalf("dead letter %d is of %v, want %v", i, d.At, want)
		}
		attempts := 0
		if d.Task.ID == first.ID {
			attempts = 2
		}
		if d.Reason.Message != "why "+d.Task.Path[0] || d.Reason.Status != 500 || d.Attempts != attempts || !same(d.Task, task("r1", "b", d.Task.Path[0])) {
			t.Errorf("%+v", d)
		}
	}
}

// counts: a root finds four nodes, of which one belongs to another already.
func counts(t *testing.T, s Settings, p place) {
	r := p.create(t, "r1", 0, false)
	ctx, now := t.Context(), time.Now().UTC()
	root := r.Seeds[0]
	ok(t, p.Queue("a").Send(ctx, r.Seeds))
	ids := []string{"1", "2", "3", "4"}
	var claims []fanout.Claim
	for _, id := range ids {
		claims = append(claims, fanout.Claim{Run: "r1", Child: task("r1", "b", id).ID, Parent: root.ID})
	}
	theirs := claims[3]
	theirs.Parent = "another"
	list := fanout.Listed{Run: "r1", Tier: "a", Task: root.ID, Fetch: "f1", Object: "o", Children: 4, Final: true}
	for range 2 { // what is repeated counts once
		_, err := p.Ledger.List(ctx, []fanout.Listed{list})
		ok(t, err)
	}
	_, err := p.Ledger.Claim(ctx, []fanout.Claim{theirs})
	ok(t, err)
	mine, err := p.Ledger.Claim(ctx, claims)
	if err != nil || fmt.Sprint(mine) != "[true true true false]" {
		t.Fatal(mine, err)
	}
	ok(t, p.Queue("b").Send(ctx, []fanout.Task{task("r1", "b", "1"), task("r1", "b", "2"), task("r1", "b", "3")}))
	dead := task("r1", "b", "2")
	for range 2 {
		ok(t, p.Ledger.Settle(ctx, []fanout.Settlement{
			end(root, fanout.Done, now), end(task("r1", "b", "1"), fanout.Done, now), end(task("r1", "b", "3"), fanout.Gone, now), end(dead, fanout.Dead, now),
		}))
	}
	check := func(want map[string]run.Count) {
		t.Helper()
		got, err := p.Store.Counts(ctx, "r1")
		ok(t, err)
		for tier, w := range want {
			c := got[tier]
			if s.Rough {
				c.Queued = w.Queued
			}
			if c != w {
				t.Errorf("tier %s: %+v, want %+v", tier, c, w)
			}
		}
	}
	check(map[string]run.Count{"a": {Known: 1, Done: 1, Rows: 4, Queued: 1}, "b": {Known: 3, Done: 1, Gone: 1, Dead: 1, Rows: 12, Queued: 3}})
	for range 2 {
		_, err = p.Store.Reopen(ctx, "r1", letters(dead), run.Note{Tag: "r-1", At: now})
		ok(t, err)
		check(map[string]run.Count{"b": {Known: 3, Done: 1, Gone: 1, Rows: 12, Queued: 3}})
	}
	dead.Life = 2
	ok(t, p.Ledger.Settle(ctx, []fanout.Settlement{end(dead, fanout.Dead, now)}))
	for range 2 {
		_, err = p.Store.Discard(ctx, "r1", letters(dead), run.Note{At: now})
		ok(t, err)
		check(map[string]run.Count{"b": {Known: 3, Done: 1, Gone: 1, Discarded: 1, Rows: 16, Queued: 3}})
	}
}
