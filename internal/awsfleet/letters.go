package awsfleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// atOnce is how many dead tasks are reopened or discarded at the same time: an
// operator's command leaves room for the fleet.
const atOnce = 16

// sixteen calls f for 0 to n-1, at most sixteen at once.
func sixteen(ctx context.Context, n int, f func(i int) error) error {
	lanes := min(n, atOnce)
	return each(ctx, lanes, func(lane int) error {
		for i := lane; i < n; i += lanes {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeadTasks implements run.Store: whole rows are read in one pass, a megabyte
// with each request, and none is held.
func (s *runs) DeadTasks(ctx context.Context, id string, each func(run.DeadTask) error) error {
	is := scan{filter: "#out = :dead", vals: row{":dead": str(string(fanout.Dead))}}
	return s.walk(ctx, id, is, func(r row) error {
		d, err := deadTask(r)
		if err != nil {
			return err
		}
		return each(d)
	})
}

func deadTask(r row) (d run.DeadTask, err error) {
	if d.Task, err = r.task(); err != nil {
		return d, err
	}
	why, err := r.reason()
	if why != nil {
		d.Reason = *why
	}
	d.Attempts, d.At = r.int("n"), time.Unix(0, r.num("at")).UTC()
	return d, err
}

// reason is why a task is dead.
func (r row) reason() (*fanout.Reason, error) {
	text := r.str("reason")
	if text == "" {
		return nil, nil
	}
	why := new(fanout.Reason)
	if err := json.Unmarshal([]byte(text), why); err != nil {
		return nil, fmt.Errorf("the ledger's row of task %s cannot be read: %w", r.str("sk"), err)
	}
	return why, nil
}

// Reopened implements run.Store. A row keeps its task from its first death on,
// until it is done or gone.
func (s *runs) Reopened(ctx context.Context, id string, each func(fanout.Task) error) error {
	is := scan{filter: "attribute_not_exists(#out) AND attribute_exists(#task)"}
	return s.walk(ctx, id, is, func(r row) error {
		t, err := r.task()
		if err != nil {
			return err
		}
		return each(t)
	})
}

// Reopen implements run.Store.
func (s *runs) Reopen(ctx context.Context, id string, letters []run.Letter, note run.Note) ([]fanout.Task, error) {
	rows, err := s.letters(ctx, id, letters)
	if err != nil {
		return nil, wrap(err, "reopening %d tasks of run %s", len(letters), id)
	}
	found := make([]fanout.Task, len(letters))
	first := make([]bool, len(letters))
	err = sixteen(ctx, len(letters), func(i int) (err error) {
		l := letters[i]
		found[i], first[i], err = s.reopenOne(ctx, taskKey(id, l.Task), rows[taskKey(id, l.Task)], l.Life, note)
		return wrap(err, "reopening task %s", l.Task)
	})
	fewer := tally{}
	open := found[:0]
	for i, t := range found {
		if first[i] {
			fewer.add(id, t.Tier, string(fanout.Dead), -1)
		}
		if t.ID != "" {
			open = append(open, t)
		}
	}
	s.v.count(ctx, fewer) // also what an error left behind: it is not first again
	return open, err
}

func (s *runs) letters(ctx context.Context, id string, letters []run.Letter) (map[key]row, error) {
	keys := make([]key, 0, len(letters))
	for _, l := range letters {
		if k := taskKey(id, l.Task); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return s.v.table.getAll(ctx, keys)
}

// reopenOne begins the next life of a task that is dead in this one and whose row
// was r a moment ago; without an ID there is none to begin.
func (s *runs) reopenOne(ctx context.Context, k key, r row, life int, note run.Note) (t fanout.Task, first bool, err error) {
	for {
		out := fanout.Outcome(r.str("out"))
		if out != "" && out != fanout.Dead || !r.has("task") {
			return t, false, nil // ended otherwise, unknown, or never dead
		}
		if out == fanout.Dead && life != r.life() {
			return t, false, nil
		}
		if t, err = r.task(); err != nil || out == "" {
			return t, false, err
		}
		a := run.Attempt{At: note.At, Life: t.Life + 1, What: run.Replayed, Note: &note}
		if a.Reason, err = r.reason(); err != nil {
			return t, false, err
		} else if a.Reason != nil && a.Reason.Class != fanout.Redriven {
			a.Reason = nil // it is among the failed attempts
		}
		e := expr{
			set:  "SET #life = :next, #replay = :tag, #w = list_append(if_not_exists(#w, :none), :note) REMOVE #out, #at, #n",
			only: "#out = :dead AND #life = :life",
			vals: row{":next": num(t.Life + 1), ":life": num(t.Life), ":dead": str(string(fanout.Dead)), ":tag": str(note.Tag)},
		}
		if err := e.note(a); err != nil {
			return t, false, err
		}
		_, held, err := s.v.table.update(ctx, k, e, types.ReturnValueNone)
		if err != nil {
			return fanout.Task{}, false, err
		}
		if held {
			t.Life, t.Replay = t.Life+1, note.Tag
			return t, true, nil
		}
		if r, err = s.v.table.get(ctx, k); err != nil {
			return fanout.Task{}, false, err
		}
	}
}

// note adds what an operator did to the values of a write.
func (e expr) note(a run.Attempt) error {
	doc, err := json.Marshal(a)
	if err != nil {
		return err
	}
	e.vals[":none"] = &types.AttributeValueMemberL{}
	e.vals[":note"] = &types.AttributeValueMemberL{Value: []types.AttributeValue{str(string(doc))}}
	return nil
}

// Discard implements run.Store:
//
//	tasks discarded -> run at a later revision
//
// also when they were discarded before: whoever did that may have died between.
func (s *runs) Discard(ctx context.Context, id string, letters []run.Letter, note run.Note) (int, error) {
	rows, err := s.letters(ctx, id, letters)
	if err != nil {
		return 0, wrap(err, "discarding %d tasks of run %s", len(letters), id)
	}
	is, first := make([]bool, len(letters)), make([]string, len(letters))
	err = sixteen(ctx, len(letters), func(i int) (err error) {
		l := letters[i]
		is[i], first[i], err = s.discardOne(ctx, taskKey(id, l.Task), rows[taskKey(id, l.Task)], l.Life, note)
		return wrap(err, "discarding task %s", l.Task)
	})
	n := 0
	moved := tally{}
	for i, tier := range first {
		if is[i] {
			n++
		}
		moved.add(id, tier, string(fanout.Dead), -1)
		moved.add(id, tier, string(fanout.Discarded), 1)
	}
	s.v.count(ctx, moved)
	if n > 0 {
		err = errors.Join(err, s.pass(ctx, id))
	}
	return n, err
}

// discardOne tells whether a task is discarded in this life, and its tier if it was
// not before.
func (s *runs) discardOne(ctx context.Context, k key, r row, life int, note run.Note) (is bool, tier string, err error) {
	for {
		if r.life() != life {
			return false, "", nil
		}
		if out := fanout.Outcome(r.str("out")); out != fanout.Dead {
			return out == fanout.Discarded, "", nil
		}
		e := expr{
			set:  "SET #out = :over, #w = list_append(if_not_exists(#w, :none), :note)",
			only: "#out = :dead AND #life = :life",
			vals: row{":over": str(string(fanout.Discarded)), ":dead": str(string(fanout.Dead)), ":life": num(r.life())},
		}
		if err := e.note(run.Attempt{At: note.At, Life: r.life(), What: run.Discarded, Note: &note}); err != nil {
			return false, "", err
		}
		_, held, err := s.v.table.update(ctx, k, e, types.ReturnValueNone)
		if err != nil || held {
			return held, r.str("tier"), err
		}
		if r, err = s.v.table.get(ctx, k); err != nil {
			return false, "", err
		}
	}
}

// History implements run.Store.
func (s *runs) History(ctx context.Context, id, task string) (out []run.Attempt, err error) {
	r, err := s.v.table.get(ctx, taskKey(id, task))
	if err != nil {
		return nil, wrap(err, "reading the history of task %s", task)
	}
	unreadable := func(err error) error {
		return fmt.Errorf("the ledger's row of task %s cannot be read: %w", task, err)
	}
	for _, v := range r.list("h") {
		m, _ := v.(*types.AttributeValueMemberM)
		if m == nil {
			continue
		}
		a := run.Attempt{What: run.Failed, Reason: new(fanout.Reason)}
		life, _, _ := strings.Cut(row(m.Value).str("id"), ".")
		if a.Life, err = strconv.Atoi(life); err != nil {
			return nil, unreadable(err)
		}
		if err := json.Unmarshal([]byte(row(m.Value).str("why")), a.Reason); err != nil {
			return nil, unreadable(err)
		}
		a.At = a.Reason.At
		out = append(out, a)
	}
	for _, v := range r.list("w") {
		var a run.Attempt
		doc, _ := v.(*types.AttributeValueMemberS)
		if doc == nil {
			continue
		}
		if err := json.Unmarshal([]byte(doc.Value), &a); err != nil {
			return nil, unreadable(err)
		}
		out = append(out, a)
	}
	slices.SortStableFunc(out, func(a, b run.Attempt) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Life, b.Life)) })
	return out, nil
}

// Reopen implements fanout.Ledger:
//
//	tasks open in their next life -> run open at a later revision
//
// Whoever dies between leaves tasks that are open already, and for these the run is
// opened all the same when their tokens come again.
func (l *ledger) Reopen(ctx context.Context, tasks []fanout.Task) (open []fanout.Task, err error) {
	byRun := map[string][]run.Letter{}
	lives := map[string]int{}
	for _, t := range tasks {
		byRun[t.Run], lives[t.ID] = append(byRun[t.Run], run.Letter{Task: t.ID, Life: t.Life}), t.Life
	}
	s := &runs{l.v}
	for id, letters := range byRun {
		got, err := s.Reopen(ctx, id, letters, run.Redriven())
		if err != nil {
			return nil, err
		}
		got = slices.DeleteFunc(got, func(t fanout.Task) bool {
			return t.Replay != fanout.Redrive || t.Life != lives[t.ID]+1
		})
		if len(got) == 0 {
			continue
		}
		if err := s.Open(ctx, id); errors.Is(err, run.ErrSuperseded) {
			continue
		} else if err != nil {
			return nil, err
		}
		open = append(open, got...)
	}
	return open, nil
}
