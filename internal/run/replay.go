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
// discarded.
type Letter struct {
	Task, Tier string
	At         time.Time // since when it is dead
}

// Pick names the dead tasks of a run that are meant, in no order.
func (r *Runs) Pick(ctx context.Context, id string, meant func(DeadTask) bool) (letters []Letter, err error) {
	err = r.Store.DeadTasks(ctx, id, func(d DeadTask) error {
		if meant(d) {
			letters = append(letters, Letter{d.Task.ID, d.Task.Tier, d.At})
		}
		return nil
	})
	return letters, wrap(err, "reading the dead letters of run "+id)
}

// names are the IDs of letters, which are noted in done by their tiers.
func names(letters []Letter, done map[string]map[string]bool) []string {
	ids := make([]string, len(letters))
	for i, l := range letters {
		ids[i] = l.Task
		if done[l.Tier] == nil {
			done[l.Tier] = map[string]bool{}
		}
		done[l.Tier][l.Task] = true
	}
	return ids
}

// lettersAtOnce is how many dead tasks are reopened before they are sent.
const lettersAtOnce = 100

// Replay gives dead tasks another life:
//
//	run open -> task open in its next life -> run open at a later revision -> message sent -> token removed
//
// in that order, a chunk of them at a time. It may be interrupted at any point
// and repeated. What was reopened and not sent is what Repair sends, if the run is
// open, as whoever works it does; in a run that was closed meanwhile it is sent
// here. It returns how many were sent. Tasks that are not dead are passed over.
func (r *Runs) Replay(ctx context.Context, id string, letters []Letter, note Note) (sent int, err error) {
	run, err := r.Store.Get(ctx, id)
	if err != nil {
		return 0, err
	}
	left := map[string]bool{}
	if run.State == Closed { // nobody works what an interrupted replay has left here
		err := r.Store.Reopened(ctx, id, func(t fanout.Task) error {
			letters, left[t.ID] = append(letters, Letter{Task: t.ID, Tier: t.Tier}), true
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("looking for what was reopened in run %s: %w", id, err)
		}
	}
	if len(letters) > 0 {
		if err := r.open(ctx, id); err != nil {
			return 0, err
		}
	}
	done := map[string]map[string]bool{}
	for chunk := range slices.Chunk(letters, lettersAtOnce) {
		open, err := r.Store.Reopen(ctx, id, names(chunk, done), note)
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
			sent += len(some)
		}
	}
	return sent, r.sweep(ctx, run, done)
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
	done := map[string]map[string]bool{}
	for chunk := range slices.Chunk(letters, lettersAtOnce) {
		some, err := r.Store.Discard(ctx, id, names(chunk, done), note)
		if n += some; err != nil {
			return n, err
		}
	}
	if err := r.sweep(ctx, run, done); err != nil {
		return n, err
	}
	if run.State != Closed {
		return n, nil // whoever works it computes it
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
