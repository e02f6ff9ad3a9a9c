package awsfleet

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/sluicehq/sluice/internal/fanout"
)

// ledger implements fanout.Ledger. The rows of a batch are written side by
// side, each by one conditional write.
type ledger struct{ v *Vendor }

// List implements fanout.Ledger.
func (l *ledger) List(ctx context.Context, rows []fanout.Listed) ([]fanout.Listed, error) {
	won := make([]fanout.Listed, len(rows))
	first := make([]bool, len(rows))
	err := each(ctx, len(rows), func(i int) (err error) {
		won[i], first[i], err = l.list(ctx, rows[i])
		return err
	})
	if err != nil {
		return nil, wrap(err, "recording %d lists", len(rows))
	}
	found := tally{}
	for i, r := range rows {
		l.v.tiers.remember(r.Task, r.Tier)
		if first[i] {
			found.add(r.Run, r.Tier, "found", r.Children)
		}
	}
	l.v.count(ctx, found)
	return won, nil
}

// list records one chunk, or finds the one that holds. (DynamoDB could return
// it with the refusal; not every server that speaks its protocol can.)
func (l *ledger) list(ctx context.Context, r fanout.Listed) (won fanout.Listed, first bool, err error) {
	l.v.cloud.usage.count("ledger.list", 1)
	k := chunkKey(r.Run, r.Task, r.Chunk)
	_, first, err = l.v.table.update(ctx, k, expr{
		set:  "SET #l = :l, #ttl = :ttl",
		only: "attribute_not_exists(#l)",
		vals: row{":l": packListed(r), ":ttl": l.v.ttl()},
	}, types.ReturnValueNone)
	if err != nil || first {
		return r, first, err
	}
	held, err := l.v.table.get(ctx, k)
	if err != nil {
		return r, false, err
	}
	if !held.has("l") {
		return r, false, fmt.Errorf("chunk %d of task %s is recorded and cannot be read", r.Chunk, r.Task)
	}
	return unpackListed(held, r.Run), false, nil
}

// MarkSent implements fanout.Ledger.
func (l *ledger) MarkSent(ctx context.Context, rows []fanout.Listed) error {
	err := each(ctx, len(rows), func(i int) error {
		l.v.cloud.usage.count("ledger.sent", 1)
		r := rows[i]
		_, _, err := l.v.table.update(ctx, chunkKey(r.Run, r.Task, r.Chunk), expr{
			set:  "SET #l.#s = :yes",
			only: "#l.#f = :fetch",
			vals: row{":yes": yes(true), ":fetch": str(r.Fetch)},
		}, types.ReturnValueNone)
		return err
	})
	return wrap(err, "noting %d chunks as sent", len(rows))
}

// Claim implements fanout.Ledger: one write that always succeeds and tells who
// owned the child before.
func (l *ledger) Claim(ctx context.Context, claims []fanout.Claim) ([]bool, error) {
	mine := make([]bool, len(claims))
	err := each(ctx, len(claims), func(i int) error {
		l.v.cloud.usage.count("ledger.claim", 1)
		c := claims[i]
		old, _, err := l.v.table.update(ctx, claimKey(c.Run, c.Child), expr{
			set:  "SET #parent = if_not_exists(#parent, :parent), #ttl = if_not_exists(#ttl, :ttl)",
			vals: row{":parent": str(c.Parent), ":ttl": l.v.ttl()},
		}, types.ReturnValueAllOld)
		mine[i] = old.str("parent") == "" || old.str("parent") == c.Parent
		return err
	})
	if err != nil {
		return nil, wrap(err, "claiming %d children", len(claims))
	}
	shared := tally{}
	for i, c := range claims {
		if !mine[i] {
			shared.add(c.Run, l.v.tiers.of(c.Parent), "shared", 1)
		}
	}
	l.v.count(ctx, shared)
	return mine, nil
}

// Fail implements fanout.Ledger.
func (l *ledger) Fail(ctx context.Context, fs []fanout.Failure) ([]int, error) {
	attempts := make([]int, len(fs))
	err := each(ctx, len(fs), func(i int) (err error) {
		attempts[i], err = l.fail(ctx, fs[i])
		return err
	})
	return attempts, wrap(err, "recording %d failed attempts", len(fs))
}

// keepReasons is how many failed attempts a task remembers.
const keepReasons = 20

// fail adds an attempt to the task's set of them, and its reason to the history.
func (l *ledger) fail(ctx context.Context, f fanout.Failure) (int, error) {
	l.v.cloud.usage.count("ledger.fail", 1)
	reason, err := json.Marshal(f.Reason)
	if err != nil {
		return 0, err
	}
	k := taskKey(f.Task.Run, f.Task.ID)
	at := attemptPrefix(f.Task.Life, f.Chunk)
	vals := row{
		":id": str(at + f.Fetch), ":ids": &types.AttributeValueMemberSS{Value: []string{at + f.Fetch}},
		":one": num(1), ":none": &types.AttributeValueMemberL{}, ":ttl": l.v.ttl(),
		":why": &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberM{Value: row{"id": str(at), "why": str(string(reason))}}}},
	}
	r, first, err := l.v.table.update(ctx, k, expr{
		set:  "ADD #f :ids, #n :one SET #h = list_append(if_not_exists(#h, :none), :why), #ttl = :ttl",
		only: "NOT contains(#f, :id) AND " + inLife(f.Task.Life, vals),
		vals: vals,
	}, types.ReturnValueAllNew)
	if err == nil && !first {
		r, err = l.v.table.get(ctx, k)
	}
	if err != nil {
		return 0, err
	}
	n := r.attempts(f.Task.Life, f.Chunk)
	if !first && r.life() != f.Task.Life {
		return n + 1, nil // reopened since: nobody asks about that life again
	}
	if first && len(r.list("h")) > keepReasons {
		l.forget(ctx, k, r, f)
	}
	return n, nil
}

// forget drops the oldest reasons, and the attempts at what is over. It does not
// matter if it fails.
func (l *ledger) forget(ctx context.Context, k key, r row, f fanout.Failure) {
	e := expr{only: "size(#h) = :n", vals: row{":n": num(len(r.list("h")))}}
	for i := range len(r.list("h")) - keepReasons {
		e.set += fmt.Sprintf(", #h[%d]", i)
	}
	e.set = "REMOVE " + e.set[2:]
	if old := r.otherAttempts(f.Task.Life, f.Chunk); len(old) > 0 {
		e.set += " DELETE #f :old"
		e.vals[":old"] = &types.AttributeValueMemberSS{Value: old}
	}
	if _, _, err := l.v.table.update(ctx, k, e, types.ReturnValueNone); err != nil {
		l.v.cloud.log.Debug("shortening the history of a task", "task", f.Task.ID, "err", err)
	}
}

// Settle implements fanout.Ledger. A row is written once per life: where a
// replay has opened the task again, only a worker of the new life may end it.
func (l *ledger) Settle(ctx context.Context, ends []fanout.Settlement) error {
	first := make([]bool, len(ends))
	err := each(ctx, len(ends), func(i int) error {
		l.v.cloud.usage.count("ledger.settle", 1)
		e, err := settlement(ends[i], l.v.ttl())
		if err != nil {
			return err
		}
		_, first[i], err = l.v.table.update(ctx, taskKey(ends[i].Task.Run, ends[i].Task.ID), e, types.ReturnValueNone)
		return err
	})
	settled := tally{}
	for i, e := range ends {
		if first[i] {
			settled.add(e.Task.Run, e.Task.Tier, string(e.Outcome), 1)
			settled.add(e.Task.Run, e.Task.Tier, "rows", e.Rows)
		}
	}
	l.v.count(ctx, settled) // also what an error left behind: it is not first again
	return wrap(err, "settling %d tasks", len(ends))
}

// settlement is the write of a task's end. What a task that succeeded carried
// and how it failed on the way is dropped with it, so that the row stays small.
func settlement(e fanout.Settlement, ttl types.AttributeValue) (expr, error) {
	vals := row{
		":life": num(e.Task.Life), ":out": str(string(e.Outcome)), ":fetch": str(e.Fetch), ":object": str(e.Object),
		":chunk": num(e.Chunk), ":children": num(e.Children), ":rows": num(e.Rows), ":pages": num(e.Pages),
		":at": num(e.At.UnixNano()), ":tier": str(e.Task.Tier), ":ttl": ttl,
	}
	set := "SET #life = :life, #out = :out, #fetch = :fetch, #object = :object, #chunk = :chunk, #children = :children, " +
		"#rows = :rows, #pages = :pages, #at = :at, #tier = :tier, #ttl = :ttl"
	keep := func(name string, doc any) error {
		text, err := json.Marshal(doc)
		if err != nil {
			return fmt.Errorf("packing task %s: %w", e.Task.ID, err)
		}
		vals[":"+name] = str(string(text))
		set += ", #" + name + " = :" + name
		return nil
	}
	var err error
	if e.Outcome == fanout.Dead {
		if err = keep("task", e.Task); err == nil && e.Reason != nil {
			err = keep("reason", e.Reason)
		}
	} else {
		err = keep("path", e.Task.Path)
		set += " REMOVE #task, #reason, #f, #h, #n"
	}
	return expr{set: set, only: "attribute_not_exists(#out) AND " + inLife(e.Task.Life, vals), vals: vals}, err
}

// inLife is the condition that a task is in a life. A row that says none is in
// its first.
func inLife(life int, vals row) string {
	vals[":life"] = num(life)
	if life <= 1 {
		return "(attribute_not_exists(#life) OR #life = :life)"
	}
	return "#life = :life"
}

// ttl is when a row of a run that is written now may go.
func (v *Vendor) ttl() types.AttributeValue { return v.expiry(v.stack.KeepDays) }

func (v *Vendor) expiry(days int) types.AttributeValue {
	return num(time.Now().AddDate(0, 0, days).Unix())
}

// A tally is what to add to the counters: by run and tier, by name.
type tally map[[2]string]map[string]int

func (t tally) add(run, tier, what string, n int) {
	if n == 0 || tier == "" {
		return
	}
	k := [2]string{run, tier}
	if t[k] == nil {
		t[k] = map[string]int{}
	}
	t[k][what] += n
}

// count adds to the counters that people look at. They are not exact where
// something fails, and that is not worth failing for.
func (v *Vendor) count(ctx context.Context, t tally) {
	for k, add := range t {
		v.cloud.usage.count("ledger.count", 1)
		e := expr{set: "SET #ttl = :ttl ADD ", vals: row{":ttl": v.ttl()}}
		sep := ""
		for what, n := range add {
			e.set += sep + "#" + what + " :" + what
			e.vals[":"+what] = num(n)
			sep = ", "
		}
		if _, _, err := v.table.update(ctx, key{runPK(k[0]), countPrefix + k[1]}, e, types.ReturnValueNone); err != nil {
			v.cloud.log.Warn("the counters of a run are behind", "run", k[0], "tier", k[1], "err", err)
		}
	}
}

// tierMemory remembers which tier the latest parents are of: a claim names the
// parent only. It forgets the older half when it is full.
type tierMemory struct {
	mu       sync.Mutex
	now, old map[string]string
}

const tiersRemembered = 4096

func newTierMemory() *tierMemory { return &tierMemory{now: map[string]string{}} }

func (m *tierMemory) remember(task, tier string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.now) >= tiersRemembered {
		m.now, m.old = map[string]string{}, m.now
	}
	m.now[task] = tier
}

func (m *tierMemory) of(task string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.now[task]; t != "" {
		return t
	}
	return m.old[task]
}
