package runtest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

func note(tag string) run.Note {
	return run.Note{Tag: tag, By: "someone", Why: "because", At: time.Now().UTC().Round(time.Microsecond)}
}

// letters are those of tasks that are dead in the lives they have here.
func letters(tasks ...fanout.Task) (out []run.Letter) {
	for _, t := range tasks {
		out = append(out, run.Letter{Task: t.ID, Tier: t.Tier, Life: t.Life})
	}
	return out
}

// reopened are the tasks that are open again.
func (p place) reopened(t *testing.T) (out []fanout.Task) {
	t.Helper()
	ok(t, p.Store.Reopened(t.Context(), "r1", func(ts fanout.Task) error { out = append(out, ts); return nil }))
	return out
}

func nextLife(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	now := time.Now().UTC()
	a, fine := task("r1", "b", "x"), task("r1", "b", "fine")
	ok(t, p.Ledger.Settle(t.Context(), []fanout.Settlement{end(a, fanout.Dead, now), end(fine, fanout.Done, now)}))
	if st := p.look(t, a); st.Reason == nil || st.Reason.Message != "why x" {
		t.Errorf("why the task is dead: %+v", st.Reason)
	}
	want := a
	want.Life, want.Replay = 2, "r-1"
	for _, tag := range []string{"r-1", "r-late"} { // the second time as after an error that was none
		got, err := p.Store.Reopen(t.Context(), "r1", letters(fine, a, task("r1", "b", "unknown")), note(tag))
		ok(t, err)
		if len(got) != 1 || !same(got[0], want) {
			t.Errorf("reopened %+v, want %+v: one was dead", got, want)
		}
		if again := p.reopened(t); len(again) != 1 || !same(again[0], want) {
			t.Errorf("open again are %+v, want %+v", again, want)
		}
	}
	if st := p.look(t, a); st.Life != 2 || st.Replay != "r-1" || st.Outcome != "" || st.Reason != nil {
		t.Errorf("in its next life the task stands at %+v", st)
	}
	ends := 0
	ok(t, p.Store.Ends(t.Context(), "r1", func(fanout.Settlement) error { ends++; return nil }))
	if ends != 1 {
		t.Errorf("%d ends, want 1: a reopened task has none", ends)
	}
	ok(t, p.Ledger.Settle(t.Context(), []fanout.Settlement{end(want, fanout.Dead, now)}))
	got, err := p.Store.Reopen(t.Context(), "r1", letters(a), note("r-2"))
	if err != nil || len(got) > 0 {
		t.Fatalf("reopened %+v, %v; it has died again since its letter was read", got, err)
	}
	got, err = p.Store.Reopen(t.Context(), "r1", letters(want), note("r-2"))
	if err != nil || len(got) != 1 || got[0].Life != 3 || got[0].Replay != "r-2" {
		t.Fatalf("reopened %+v, %v; want it in life 3 by r-2", got, err)
	}
	ok(t, p.Ledger.Settle(t.Context(), []fanout.Settlement{end(got[0], fanout.Done, now)}))
	if got, err := p.Store.Reopen(t.Context(), "r1", letters(got[0]), note("r-3")); err != nil || len(got) > 0 {
		t.Errorf("reopened what is done: %+v, %v", got, err)
	}
	if again := p.reopened(t); len(again) > 0 {
		t.Errorf("done, and open again: %+v", again)
	}
}

// manyLives: a batch is larger than what any backend does in one request.
func manyLives(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	const n = 130
	var ends []fanout.Settlement
	var tasks []fanout.Task
	for i := range n {
		e := end(task("r1", "b", fmt.Sprint(i)), fanout.Dead, time.Now().UTC())
		ends, tasks = append(ends, e), append(tasks, e.Task)
	}
	ok(t, p.Ledger.Settle(t.Context(), ends))
	got, err := p.Store.Reopen(t.Context(), "r1", letters(tasks[:n-10]...), note("r-1"))
	ok(t, err)
	seen := map[string]bool{}
	for _, ts := range got {
		seen[ts.ID] = true
		if ts.Life != 2 || ts.Replay != "r-1" || ts.Run != "r1" || ts.Tier != "b" || len(ts.Path) != 1 {
			t.Fatalf("reopened %+v", ts)
		}
	}
	if len(seen) != n-10 {
		t.Errorf("%d tasks are open again, want %d", len(seen), n-10)
	}
	dead, err := p.Store.Discard(t.Context(), "r1", letters(tasks...), note(""))
	if err != nil || dead != 10 {
		t.Errorf("discarded %d, %v; want the 10 that were dead still", dead, err)
	}
	no := errors.New("no")
	if err := p.Store.Reopened(t.Context(), "r1", func(fanout.Task) error { return no }); !errors.Is(err, no) {
		t.Errorf("an error of each is lost: %v", err)
	}
}

func discarding(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	now := time.Now().UTC().Round(time.Microsecond)
	a, b, fine := task("r1", "b", "a"), task("r1", "b", "b"), task("r1", "b", "fine")
	ok(t, p.Ledger.Settle(t.Context(), []fanout.Settlement{end(a, fanout.Dead, now), end(b, fanout.Dead, now), end(fine, fanout.Done, now)}))
	for range 2 { // the second time as after an error that was none
		n, err := p.Store.Discard(t.Context(), "r1", letters(a, fine, task("r1", "b", "unknown")), note(""))
		if err != nil || n != 1 {
			t.Errorf("discarded %d, %v; want the one that was dead", n, err)
		}
	}
	if got, err := p.Store.Reopen(t.Context(), "r1", letters(a), note("r-1")); err != nil || len(got) > 0 {
		t.Errorf("reopened what is discarded: %+v, %v", got, err)
	}
	if got, err := p.Ledger.Reopen(t.Context(), []fanout.Task{a}); err != nil || len(got) > 0 {
		t.Errorf("a redrive reopened what is discarded: %+v, %v", got, err)
	}
	ok(t, p.Ledger.Settle(t.Context(), []fanout.Settlement{end(a, fanout.Done, now)}))
	if st := p.look(t, a); st.Outcome != fanout.Discarded || st.Reason == nil || st.Reason.Message != "why a" {
		t.Errorf("a discarded task stands at %+v, %+v", st, st.Reason)
	}
	var dead []string
	ok(t, p.Store.DeadTasks(t.Context(), "r1", func(d run.DeadTask) error { dead = append(dead, d.Task.ID); return nil }))
	if !slices.Equal(dead, []string{b.ID}) {
		t.Errorf("%d dead tasks, want the other one", len(dead))
	}
	count := map[fanout.Outcome]int{}
	ok(t, p.Store.Ends(t.Context(), "r1", func(e fanout.Settlement) error {
		count[e.Outcome]++
		if e.Outcome == fanout.Discarded && (e.Task.ID != a.ID || !slices.Equal(e.Task.Path, a.Path) || e.Rows != 4) {
			t.Errorf("the end of the discarded task: %+v", e)
		}
		return nil
	}))
	if fmt.Sprint(count) != "map[dead:1 discarded:1 done:1]" {
		t.Errorf("ends: %v", count)
	}
}

// oldDead: whoever judged before a discarding does not overwrite who judged after
// it, and a discarding opens nothing.
func oldDead(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	a, b := task("r1", "b", "a"), task("r1", "b", "b")
	ok(t, p.Ledger.Settle(t.Context(), []fanout.Settlement{end(a, fanout.Dead, time.Now()), end(b, fanout.Dead, time.Now())}))
	discard := func(ts fanout.Task, want int) (rev int) {
		t.Helper()
		n, err := p.Store.Discard(t.Context(), "r1", letters(ts), note(""))
		if err != nil || n != want {
			t.Errorf("discarded %d, %v; want %d", n, err, want)
		}
		return p.get(t, "r1").Rev
	}
	other := a
	other.Life = 2 // nothing has died in it
	if rev := discard(other, 0); rev != 0 {
		t.Errorf("what was not discarded has moved the run on to revision %d", rev)
	}
	before := 0
	for i, ts := range []fanout.Task{a, b} {
		rev := discard(ts, 1)
		for _, v := range []run.Verdict{settled(), unsettled()} {
			if err := p.Store.Finish(t.Context(), "r1", before, v); !errors.Is(err, run.ErrChanged) {
				t.Errorf("discarding %d: a verdict older than it: %v, want ErrChanged", i, err)
			}
		}
		if open := p.get(t, "r1").State == run.Open; open != (i == 0) {
			t.Errorf("after discarding %d the run is open: %v", i, open)
		}
		ok(t, p.Store.Finish(t.Context(), "r1", rev, settled()))
		p.open(t, false)
		before = rev
	}
	ok(t, p.Store.Open(t.Context(), "r1"))
	p.open(t, true)
}

func redriving(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	a, b := task("r1", "b", "a"), task("r1", "b", "b")
	ok(t, p.Ledger.Settle(t.Context(), []fanout.Settlement{end(a, fanout.Dead, time.Now()), end(b, fanout.Dead, time.Now())}))
	redrive := func(ts fanout.Task, want int) {
		t.Helper()
		got, err := p.Ledger.Reopen(t.Context(), []fanout.Task{ts})
		if err != nil || len(got) != want {
			t.Fatalf("reopened %+v, %v; want %d", got, err, want)
		}
	}
	before := p.get(t, "r1").Rev
	redrive(a, 1)
	if err := p.Store.Finish(t.Context(), "r1", before, settled()); !errors.Is(err, run.ErrChanged) {
		t.Errorf("a verdict older than the reopening: %v, want ErrChanged", err)
	}
	// Closed by a verdict from before, when whoever reopened had died half way.
	ok(t, p.Store.Finish(t.Context(), "r1", p.get(t, "r1").Rev, settled()))
	p.open(t, false)
	redrive(a, 1)
	p.open(t, true)
	if st := p.look(t, a); !st.RunOpen || st.Life != 2 || st.Replay != fanout.Redrive {
		t.Errorf("the task stands at %+v", st)
	}
	p.create(t, "r2", 0, true)
	redrive(b, 0)
	if r := p.get(t, "r1"); r.State != run.Superseded {
		t.Errorf("a run that was replaced is %s", r.State)
	}
}

func history(t *testing.T, p place) {
	p.create(t, "r1", 0, false)
	base := time.Now().UTC().Round(time.Microsecond).Add(-time.Hour)
	at := func(n int) time.Time { return base.Add(time.Duration(n) * time.Minute) }
	fail := func(ts fanout.Task, n int) {
		t.Helper()
		_, err := p.Ledger.Fail(t.Context(), []fanout.Failure{{Task: ts, Fetch: fmt.Sprint("f", n), Reason: fanout.Reason{Class: fanout.Bad, Message: fmt.Sprint("m", n), At: at(n)}}})
		ok(t, err)
	}
	die := func(ts fanout.Task, n int, class fanout.Class) {
		t.Helper()
		e := end(ts, fanout.Dead, at(n))
		e.Reason.Class, e.Reason.Message = class, fmt.Sprint("m", n)
		ok(t, p.Ledger.Settle(t.Context(), []fanout.Settlement{e}))
	}
	a := task("r1", "b", "x")
	fail(a, 1)
	fail(a, 2)
	die(a, 2, fanout.Bad)
	byHand := run.Note{Tag: "r-1", By: "someone", Why: "mended", At: at(3)}
	for _, n := range []run.Note{byHand, {Tag: "r-late", At: at(4)}} { // the second has nothing to do
		got, err := p.Store.Reopen(t.Context(), "r1", letters(a), n)
		ok(t, err)
		a = got[0]
	}
	die(a, 5, fanout.Redriven) // no attempt was recorded: nothing but the end tells of it
	got, err := p.Store.Reopen(t.Context(), "r1", letters(a), run.Note{Tag: "r-2", By: "another", At: at(6)})
	ok(t, err)
	a = got[0]
	fail(a, 7)
	die(a, 7, fanout.Bad)
	for range 2 {
		_, err = p.Store.Discard(t.Context(), "r1", letters(a), run.Note{By: "someone", Why: "retired", At: at(8)})
		ok(t, err)
	}
	all, err := p.Store.History(t.Context(), "r1", a.ID)
	ok(t, err)
	var lines []string
	for _, h := range all {
		line := fmt.Sprint(int(h.At.Sub(base).Minutes()), " ", h.Life, " ", h.What)
		if h.Reason != nil {
			line += " " + h.Reason.Message
		}
		if h.Note != nil {
			line += fmt.Sprintf(" %s by %s: %s", h.Note.Tag, h.Note.By, h.Note.Why)
		}
		lines = append(lines, line)
	}
	want := []string{
		"1 1 failed m1", "2 1 failed m2", "3 2 replayed r-1 by someone: mended", "6 3 replayed m5 r-2 by another: ",
		"7 3 failed m7", "8 3 discarded  by someone: retired",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("history\n%q\nwant\n%q", lines, want)
	}
	if none, err := p.Store.History(t.Context(), "r1", "unknown"); err != nil || len(none) > 0 {
		t.Errorf("the history of an unknown task: %v, %v", none, err)
	}
}
