package run

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// NewTag names a replay.
func NewTag() string {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return "r-" + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))[:6]
}

// A Letter names a dead task: what is held of each that is to be replayed or
// discarded. What is decided about it is decided about this death: one that was
// replayed meanwhile, and has died again, may have died of something else.
type Letter struct {
	Task, Tier string
	Life       int       // in which it is dead
	At         time.Time // since when
}

// Pick names the dead tasks of a run that are meant, in no order.
func (r *Runs) Pick(ctx context.Context, id string, meant func(DeadTask) bool) (letters []Letter, err error) {
	err = r.Store.DeadTasks(ctx, id, func(d DeadTask) error {
		if meant(d) {
			letters = append(letters, Letter{d.Task.ID, d.Task.Tier, d.Task.Life, d.At})
		}
		return nil
	})
	return letters, wrap(err, "reading the dead letters of run "+id)
}

// noted is what letters are decided about, by tier.
func noted(letters []Letter) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, l := range letters {
		if out[l.Tier] == nil {
			out[l.Tier] = map[string]bool{}
		}
		out[l.Tier][l.Task] = true
	}
	return out
}

// lettersAtOnce is how many dead tasks are reopened before they are sent.
const lettersAtOnce = 100

// Replay gives dead tasks another life:
//
//	run open -> task open in its next life -> run open at a later revision -> message sent -> token removed
//
// in that order, a chunk of them at a time. It may be interrupted at any point
// and repeated: whatever is open after a reopening is sent as well, since a replay
// that was interrupted may have left it so. It returns how many were sent, but for
// those that may have been on the queue of an open run before. Tasks that are not
// dead are passed over.
func (r *Runs) Replay(ctx context.Context, id string, letters []Letter, note Note) (sent int, err error) {
	run, err := r.Store.Get(ctx, id)
	if err != nil {
		return 0, err
	}
	letters, left, err := r.withLeft(ctx, run, letters)
	if err != nil {
		return 0, fmt.Errorf("looking for what was reopened in run %s: %w", id, err)
	}
	if len(letters) > 0 {
		if err := r.open(ctx, id); err != nil {
			return 0, err
		}
	}
	for chunk := range slices.Chunk(letters, lettersAtOnce) {
		open, err := r.Store.Reopen(ctx, id, chunk, note)
		if err != nil {
			return sent, err
		}
		// What somebody else has replayed meanwhile is theirs to send.
		open = slices.DeleteFunc(open, func(t fanout.Task) bool { return t.Replay != note.Tag && !left[t.ID] })
		// Once more: a verdict that was computed before they were reopened must not
		// close the run, or its workers would drop them.
		if err := r.open(ctx, id); err != nil {
			return sent, err
		}
		for tier, some := range byTier(open) {
			if err := r.Queue(tier).Send(ctx, some); err != nil {
				return sent, fmt.Errorf("sending reopened tasks to tier %s (repair sends them again): %w", tier, err)
			}
			for _, t := range some {
				if run.State != Open || !left[t.ID] {
					sent++
				}
			}
		}
	}
	return sent, r.sweep(ctx, run, noted(letters))
}

// withLeft adds what an interrupted replay may have left open in a run, and tells
// which tasks these are. In an open run what was redriven is not among them: its
// tokens carry it.
func (r *Runs) withLeft(ctx context.Context, run Run, letters []Letter) (all []Letter, left map[string]bool, err error) {
	left = map[string]bool{}
	var found []Letter
	err = r.Store.Reopened(ctx, run.ID, func(t fanout.Task) error {
		if run.State != Open || t.Replay != fanout.Redrive {
			found, left[t.ID] = append(found, Letter{Task: t.ID, Tier: t.Tier, Life: t.Life - 1}), true
		}
		return nil
	})
	for _, l := range letters {
		if !left[l.Task] {
			found = append(found, l)
		}
	}
	return found, left, err
}

func (r *Runs) open(ctx context.Context, id string) error {
	if err := r.Store.Open(ctx, id); err != nil {
		return fmt.Errorf("opening run %s: %w", id, err)
	}
	return nil
}

func byTier(tasks []fanout.Task) map[string][]fanout.Task {
	out := map[string][]fanout.Task{}
	for _, t := range tasks {
		out[t.Tier] = append(out[t.Tier], t)
	}
	return out
}

// Discard settles dead tasks for good: it is an operator's decision that they are
// not needed.
//
//	task discarded -> token removed -> verdict computed again
//
// The run stays as it is, open or closed. It may be interrupted at any point and
// repeated, without letters too. It returns how many of them are discarded now.
func (r *Runs) Discard(ctx context.Context, id string, letters []Letter, note Note) (n int, err error) {
	run, err := r.Store.Get(ctx, id)
	if err != nil {
		return 0, err
	}
	for chunk := range slices.Chunk(letters, lettersAtOnce) {
		some, err := r.Store.Discard(ctx, id, chunk, note)
		if n += some; err != nil {
			return n, err
		}
	}
	if err := r.sweep(ctx, run, noted(letters)); err != nil {
		return n, err
	}
	// It may have been closed meanwhile, by a verdict from before.
	if run, err = r.Store.Get(ctx, id); err != nil || run.State != Closed {
		return n, err // of an open run whoever works it computes the verdict
	}
	if n == 0 {
		if is, err := r.current(ctx, run); err != nil || is {
			return n, err
		}
	}
	_, err = r.Judge(ctx, id)
	return n, err
}

// current tells whether a run's last verdict has as many dead as there are.
func (r *Runs) current(ctx context.Context, run Run) (bool, error) {
	counts, err := r.Store.Counts(ctx, run.ID)
	if err != nil || run.Verdict == nil {
		return false, err
	}
	dead := 0
	for _, c := range counts {
		dead += c.Dead
	}
	return dead == run.Verdict.Dead, nil
}
