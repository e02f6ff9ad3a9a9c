package fanouttest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Queue is a model of a fanout.Queue: at least once, receipts that go stale.
type Queue struct {
	mu   sync.Mutex
	seq  int
	msgs []*message
	// Skew makes the queue's clock differ from the workers'.
	Skew time.Duration
	// Twice makes the queue deliver every n-th message twice at once, as SQS may.
	Twice int

	requests int
	empty    int
}

type message struct {
	task    fanout.Task
	visible time.Time
	receipt fanout.Receipt
}

func (q *Queue) now() time.Time { return time.Now().Add(q.Skew) }

func tens(n int) int { return (n + 9) / 10 }

// Send implements fanout.Queue.
func (q *Queue) Send(ctx context.Context, tasks []fanout.Task) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.requests += tens(len(tasks))
	for _, t := range tasks {
		q.msgs = append(q.msgs, &message{task: t})
	}
	return nil
}

// Receive implements fanout.Queue; it gives at most ten at once.
func (q *Queue) Receive(ctx context.Context, max int, wait, visibility time.Duration) ([]fanout.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(wait)
	for {
		if out := q.take(min(max, 10), visibility); len(out) > 0 {
			return out, nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			q.mu.Lock()
			q.empty++
			q.mu.Unlock()
			return nil, nil
		}
		t := time.NewTimer(min(left, 50*time.Millisecond))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, nil
		case <-t.C:
		}
	}
}

func (q *Queue) take(max int, visibility time.Duration) (out []fanout.Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	for _, m := range q.msgs {
		if len(out) == max {
			break
		}
		if m.visible.After(now) {
			continue
		}
		q.seq++
		m.receipt = fanout.Receipt(fmt.Sprint("r", q.seq))
		if q.Twice == 0 || q.seq%q.Twice != 0 {
			m.visible = now.Add(visibility)
		}
		out = append(out, fanout.Delivery{Task: m.task, Receipt: m.receipt})
	}
	if len(out) > 0 {
		q.requests++
	}
	return out
}

// Hide implements fanout.Queue.
func (q *Queue) Hide(ctx context.Context, hides []fanout.Hide) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.requests += tens(len(hides))
	now := q.now()
	var lost []fanout.Receipt
	for _, h := range hides {
		m := q.find(h.Receipt)
		if m == nil || !m.visible.After(now) {
			lost = append(lost, h.Receipt)
			continue
		}
		m.visible = now.Add(h.For)
	}
	if lost != nil {
		return &fanout.LostError{Receipts: lost}
	}
	return nil
}

// Delete implements fanout.Queue.
func (q *Queue) Delete(ctx context.Context, receipts []fanout.Receipt) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.requests += tens(len(receipts))
	q.msgs = slices.DeleteFunc(q.msgs, func(m *message) bool {
		return m.receipt != "" && slices.Contains(receipts, m.receipt)
	})
	return nil
}

func (q *Queue) find(r fanout.Receipt) *message {
	for _, m := range q.msgs {
		if m.receipt == r {
			return m
		}
	}
	return nil
}

// Tasks lists what is on the queue, hidden or not.
func (q *Queue) Tasks() (out []fanout.Task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.msgs {
		out = append(out, m.task)
	}
	return out
}

// Counts tells how many requests were made, as SQS bills them (batches of ten),
// and how many receives found nothing.
func (q *Queue) Counts() (requests, empty int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.requests, q.empty
}

// Expire ends the visibility of everything at once, as a long stall would.
func (q *Queue) Expire() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.msgs {
		m.visible, m.receipt = time.Time{}, ""
	}
}

// Ledger is a model of a fanout.Ledger.
type Ledger struct {
	mu       sync.Mutex
	Closed   map[string]bool // runs that are not open
	lives    map[string]int
	tags     map[string]string            // of replays
	ends     map[string]fanout.Settlement // by run/task
	lists    map[string][]fanout.Listed
	owner    map[string]string
	failures map[string]map[string]fanout.Reason // by run/task/life/chunk, then fetch
	last     map[string]fanout.Reason
	Writes   map[string]int // by kind
}

// NewLedger returns an empty ledger in which every run is open.
func NewLedger() *Ledger {
	return &Ledger{
		Closed: map[string]bool{}, lives: map[string]int{}, tags: map[string]string{}, ends: map[string]fanout.Settlement{},
		lists: map[string][]fanout.Listed{}, owner: map[string]string{},
		failures: map[string]map[string]fanout.Reason{}, last: map[string]fanout.Reason{}, Writes: map[string]int{},
	}
}

func key(run, task string) string { return run + "/" + task }

func (l *Ledger) life(k string) int { return max(1, l.lives[k]) }

func chunkKey(k string, life, chunk int) string { return fmt.Sprint(k, "#", life, ".", chunk) }

// AnyOpen implements fanout.Ledger.
func (l *Ledger) AnyOpen(ctx context.Context) (bool, error) { return true, ctx.Err() }

// Look implements fanout.Ledger.
func (l *Ledger) Look(ctx context.Context, tasks []fanout.Task) ([]fanout.Standing, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]fanout.Standing, len(tasks))
	for i, t := range tasks {
		k := key(t.Run, t.ID)
		st := fanout.Standing{RunOpen: !l.Closed[t.Run], Life: l.life(k), Replay: l.tags[k]}
		lk := chunkKey(k, st.Life, len(l.lists[k]))
		st.Attempts = len(l.failures[lk])
		if r, ok := l.last[lk]; ok {
			st.Reason = &r
		}
		if rows := l.lists[k]; len(rows) > 0 {
			st.Last = &rows[len(rows)-1]
		}
		if end, ok := l.ends[k]; ok {
			if st.Outcome = end.Outcome; st.Outcome == fanout.Dead {
				st.Reason = end.Reason
			}
		}
		out[i] = st
	}
	return out, ctx.Err()
}

// List implements fanout.Ledger.
func (l *Ledger) List(ctx context.Context, rows []fanout.Listed) ([]fanout.Listed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]fanout.Listed, len(rows))
	for i, r := range rows {
		l.Writes["list"]++
		k := key(r.Run, r.Task)
		have := l.lists[k]
		switch {
		case r.Chunk < len(have):
			out[i] = have[r.Chunk]
		case r.Chunk == len(have):
			l.lists[k] = append(slices.Clip(have), r)
			out[i] = r
		default:
			return nil, fmt.Errorf("chunk %d of task %s comes before chunk %d", r.Chunk, r.Task, len(have))
		}
	}
	return out, nil
}

// MarkSent implements fanout.Ledger.
func (l *Ledger) MarkSent(ctx context.Context, rows []fanout.Listed) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range rows {
		l.Writes["sent"]++
		k := key(r.Run, r.Task)
		have := slices.Clone(l.lists[k])
		if r.Chunk < len(have) && have[r.Chunk].Fetch == r.Fetch {
			have[r.Chunk].Sent = true
			l.lists[k] = have
		}
	}
	return ctx.Err()
}

// Claim implements fanout.Ledger.
func (l *Ledger) Claim(ctx context.Context, claims []fanout.Claim) ([]bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]bool, len(claims))
	for i, c := range claims {
		l.Writes["claim"]++
		k := key(c.Run, c.Child)
		if l.owner[k] == "" {
			l.owner[k] = c.Parent
		}
		out[i] = l.owner[k] == c.Parent
	}
	return out, ctx.Err()
}

// Fail implements fanout.Ledger.
func (l *Ledger) Fail(ctx context.Context, fs []fanout.Failure) ([]int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]int, len(fs))
	for i, f := range fs {
		l.Writes["fail"]++
		k := chunkKey(key(f.Task.Run, f.Task.ID), f.Task.Life, f.Chunk)
		if l.failures[k] == nil {
			l.failures[k] = map[string]fanout.Reason{}
		}
		l.failures[k][f.Fetch] = f.Reason
		l.last[k] = f.Reason
		out[i] = len(l.failures[k])
	}
	return out, ctx.Err()
}

// Settle implements fanout.Ledger.
func (l *Ledger) Settle(ctx context.Context, ends []fanout.Settlement) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range ends {
		l.Writes["settle"]++
		k := key(e.Task.Run, e.Task.ID)
		if _, ended := l.ends[k]; !ended && e.Task.Life == l.life(k) {
			l.ends[k] = e
		}
	}
	return nil
}

// Reopen implements fanout.Ledger.
func (l *Ledger) Reopen(ctx context.Context, tasks []fanout.Task) (out []fanout.Task, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range tasks {
		k := key(t.Run, t.ID)
		end, ended := l.ends[k]
		if ended && end.Outcome == fanout.Dead && t.Life == l.life(k) {
			l.Writes["reopen"]++
			l.begin(k, fanout.Redrive)
			ended = false
		}
		if !ended && l.tags[k] == fanout.Redrive && l.life(k) == t.Life+1 {
			t.Life, t.Replay, t.Dead = l.life(k), fanout.Redrive, false
			out = append(out, t)
			l.Closed[t.Run] = false
		}
	}
	return out, nil
}

// Replay begins a task's next life, as an operator's replay does.
func (l *Ledger) Replay(t fanout.Task) fanout.Task {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := key(t.Run, t.ID)
	l.begin(k, "r-test")
	t.Life, t.Replay, t.Dead = l.life(k), "r-test", false
	return t
}

func (l *Ledger) begin(k, tag string) {
	l.lives[k] = l.life(k) + 1
	l.tags[k] = tag
	delete(l.ends, k)
}

// Ends returns the settlements by task ID.
func (l *Ledger) Ends() map[string]fanout.Settlement {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]fanout.Settlement, len(l.ends))
	for _, e := range l.ends {
		out[e.Task.ID] = e
	}
	return out
}

// Lists returns the recorded chunks by task ID.
func (l *Ledger) Lists() map[string][]fanout.Listed {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string][]fanout.Listed{}
	for _, rows := range l.lists {
		out[rows[0].Task] = slices.Clone(rows)
	}
	return out
}
