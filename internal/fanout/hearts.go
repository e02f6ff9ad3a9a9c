package fanout

import (
	"context"
	"errors"
	"sync"
	"time"
)

// hearts keeps the deliveries in hand hidden. It extends, in one call for all,
// those that come near the end of their visibility; most tasks end before they
// need it. A delivery whose receipt is lost, or whose extension cannot be
// confirmed before its visibility ends, has its context cancelled with
// ErrReceiptLost.
type hearts struct {
	queue      Queue
	visibility time.Duration

	mu    sync.Mutex
	held  map[Receipt]*beat
	tasks map[string]Receipt // by task ID: what is held of it

	beating chan struct{} // holds a token while an extension is under way
}

type beat struct {
	task        string
	hiddenUntil time.Time
	lost        context.CancelCauseFunc
}

func newHearts(q Queue, visibility time.Duration) *hearts {
	return &hearts{queue: q, visibility: visibility, held: make(map[Receipt]*beat), tasks: make(map[string]Receipt), beating: make(chan struct{}, 1)}
}

// run beats until ctx ends.
func (h *hearts) run(ctx context.Context) {
	tick := time.NewTicker(h.visibility / 12)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.once(ctx)
		}
	}
}

// keep starts to keep a delivery that was received after asked. The returned
// context ends when it is lost, let go, or ctx ends. A second delivery of a task
// that is held already is not kept: ok is false.
func (h *hearts) keep(ctx context.Context, d Delivery, asked time.Time) (_ context.Context, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, held := h.tasks[d.Task.ID]; held {
		return nil, false
	}
	ctx, cancel := context.WithCancelCause(ctx)
	h.held[d.Receipt] = &beat{task: d.Task.ID, hiddenUntil: asked.Add(h.visibility), lost: cancel}
	h.tasks[d.Task.ID] = d.Receipt
	return ctx, true
}

// drop ends the keeping of a delivery for a reason; nil: its work is done.
func (h *hearts) drop(r Receipt, why error) {
	if b := h.held[r]; b != nil {
		b.lost(why)
		delete(h.held, r)
		delete(h.tasks, b.task)
	}
}

// letGo stops keeping deliveries, before the last queue call about them: when
// it returns, no heartbeat for them is under way or will follow.
func (h *hearts) letGo(rs ...Receipt) {
	h.beating <- struct{}{}
	defer func() { <-h.beating }()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range rs {
		h.drop(r, nil)
	}
}

func (h *hearts) once(ctx context.Context) {
	h.beating <- struct{}{}
	defer func() { <-h.beating }()
	now := time.Now()
	due := h.due(now)
	if len(due) == 0 {
		return
	}
	err := h.queue.Hide(ctx, due)
	var lost *LostError
	if errors.As(err, &lost) {
		h.lose(lost.Receipts...)
	} else if err != nil {
		return // unknown: those that stay unconfirmed are lost when their time is up
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range due {
		if b := h.held[d.Receipt]; b != nil {
			b.hiddenUntil = now.Add(h.visibility)
		}
	}
}

// due lists what needs a heartbeat and drops what came too late for one.
func (h *hearts) due(now time.Time) (due []Hide) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for r, b := range h.held {
		switch left := b.hiddenUntil.Sub(now); {
		case left <= 0:
			h.drop(r, ErrReceiptLost)
		case left <= h.visibility/3:
			due = append(due, Hide{Receipt: r, For: h.visibility, Keep: true})
		}
	}
	return due
}

func (h *hearts) lose(rs ...Receipt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range rs {
		h.drop(r, ErrReceiptLost)
	}
}
