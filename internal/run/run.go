// Package run is a run's life: seed, resume, close with a verdict that anyone
// can recompute, repair, replay.
//
// A run is one seeding and all that follows from it, for one vendor and one
// window of data. Its verdict is a comparison of two sets, never a count that
// somebody kept: the tasks that the ledger says are settled, and the tasks that
// must exist because they are seeds or children in a recorded list, which the
// landing holds.
package run

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// A Run is one seeding and what became of it.
type Run struct {
	ID       string        `json:"id"`
	Vendor   string        `json:"vendor"`
	Window   fanout.Window `json:"window"`
	Tiers    []string      `json:"tiers"` // top first, as the spec had them when it was seeded
	Seeds    []fanout.Task `json:"seeds"`
	Opened   time.Time     `json:"opened"`
	State    State         `json:"state"`
	Closed   time.Time     `json:"closed,omitzero"`
	Verdict  *Verdict      `json:"verdict,omitempty"` // the last one computed
	Origin   Origin        `json:"origin,omitzero"`
	Rev      int           `json:"rev,omitempty"`      // grows with each opening and discarding: a verdict from before is not recorded
	Previous string        `json:"previous,omitempty"` // the run of this vendor that was seeded before it
	Marks    []string      `json:"marks,omitempty"`    // what has been noted about it, each once
}

// Whole tells whether the run was closed with a verdict over a whole tree, and
// not only over its seeds: others are compared with it.
func (r Run) Whole() bool {
	return r.State == Closed && r.Verdict != nil && r.Verdict.Known > len(r.Seeds)
}

// Origin is what a run was seeded with, so that the command that goes on with
// it can be named. It holds no secret.
type Origin struct {
	Spec     string   `json:"spec,omitempty"`     // path or name
	Settings []string `json:"settings,omitempty"` // NAME=VALUE
}

// State is whether a run's tasks are worked.
type State string

const (
	Open       State = "open"
	Closed     State = "closed"     // every known task is settled
	Superseded State = "superseded" // a new run of the same window took its place before it was closed
)

// ErrNoRun says that there is no such run.
var ErrNoRun = errors.New("no such run")

// ErrSuperseded says that a newer run of the same window has taken this one's place.
var ErrSuperseded = errors.New("a newer run of the same window has taken its place")

// ErrChanged says that a run was opened, or tasks of it discarded, while its
// verdict was computed.
var ErrChanged = errors.New("the run was opened or tasks of it discarded while its verdict was computed")

// Store keeps runs and gives the whole ledger of one to those who judge it. It
// is safe for concurrent use.
type Store interface {
	// Create makes r the run of its vendor and window, unless there is one
	// already: that one is returned. With again, a new run takes its place, unless
	// that is r itself, which was made before.
	Create(ctx context.Context, r Run, again bool) (Run, error)
	// Get returns a run; the error wraps ErrNoRun when there is none.
	Get(ctx context.Context, id string) (Run, error)
	// List returns a vendor's runs, newest first; all vendors' if vendor is empty.
	List(ctx context.Context, vendor string) ([]Run, error)
	// Finish records a verdict, and closes the run if its tasks are all settled.
	// ErrChanged: the run is no longer at rev.
	Finish(ctx context.Context, id string, rev int, v Verdict) error
	// Open opens a closed run again. ErrSuperseded: it is to stay as it is.
	Open(ctx context.Context, id string) error

	// Mark notes a text with a run, unless it is there: first.
	Mark(ctx context.Context, id, text string) (first bool, err error)

	// Ends calls each for every settled task of a run, in no order.
	Ends(ctx context.Context, run string, each func(fanout.Settlement) error) error
	// Lists calls each for every recorded chunk of a run, in no order.
	Lists(ctx context.Context, run string, each func(fanout.Listed) error) error
	// DeadTasks calls each for every dead task of a run, in no order: there may be
	// very many, and they are not held.
	DeadTasks(ctx context.Context, run string, each func(DeadTask) error) error
	// Reopened calls each for every task that was opened again and has not ended
	// since, in no order.
	Reopened(ctx context.Context, run string, each func(fanout.Task) error) error
	// Reopen begins the next life of tasks that are dead in the lives of their
	// letters, with the note's tag, and returns them as they are to be sent, in no
	// order. Those that are open already after a reopening are returned as they are;
	// what is unknown, has ended otherwise or has died in another life is left out.
	Reopen(ctx context.Context, run string, letters []Letter, note Note) ([]fanout.Task, error)
	// Discard settles tasks that are dead in the lives of their letters as discarded,
	// for good. It tells how many of them are discarded now, by this call or an
	// earlier one; the others are passed over. If there are any, the run is at a
	// later revision when it returns, and as open as it was.
	Discard(ctx context.Context, run string, letters []Letter, note Note) (int, error)
	// History tells what is known of how a task failed and what was done about it,
	// oldest first. Of very many failures the last ones are kept.
	History(ctx context.Context, run, task string) ([]Attempt, error)
	// Counts tells how far each tier is. They are for people to look at; the
	// verdict does not use them.
	Counts(ctx context.Context, run string) (map[string]Count, error)
}

// A DeadTask is a dead letter: a task that ended dead, with its reason.
type DeadTask struct {
	Task     fanout.Task
	Reason   fanout.Reason
	Attempts int
	At       time.Time
}

// A Note says who has decided something about dead tasks, and why.
type Note struct {
	Tag string    `json:"tag,omitempty"` // of a replay: its tasks carry it
	By  string    `json:"by,omitempty"`
	Why string    `json:"why,omitempty"`
	At  time.Time `json:"at"`
}

// Redriven is the note of tasks that the queue's own redrive brings back.
func Redriven() Note {
	return Note{Tag: fanout.Redrive, By: "a redrive of the queue", At: time.Now().UTC()}
}

// An Attempt is one thing in a task's history: a failed attempt, a replay, the
// end by an operator's decision.
type Attempt struct {
	At     time.Time      `json:"at"`
	Life   int            `json:"life"` // that it failed in; that a replay began
	What   Deed           `json:"what"`
	Reason *fanout.Reason `json:"reason,omitempty"` // of a failure; of the death that a replay ended
	Note   *Note          `json:"note,omitempty"`   // of a replay or a discarding
}

// Deed is what happened in an Attempt.
type Deed string

const (
	Failed    Deed = "failed"
	Replayed  Deed = "replayed"
	Discarded Deed = "discarded"
)

// Count is how far a tier is.
type Count struct {
	Known, Done, Gone, Dead, Discarded int
	Rows                               int
	Queued                             int // on its queue, in hand or hidden
	InHand                             int // of these, held by a worker; on AWS also those that are hidden until their next attempt
}

// Settled is how many tasks have ended.
func (c Count) Settled() int { return c.Done + c.Gone + c.Dead + c.Discarded }

// newID names a run for people: vendor, first instant of its window, and enough
// random bits to tell runs of one window apart, or as many that follow from what
// is asked for.
func newID(vendor string, w fanout.Window, zone *time.Location, from string) string {
	var b [4]byte
	if from == "" {
		rand.Read(b[:]) // never fails
	} else {
		sum := sha256.Sum256([]byte(from))
		copy(b[:], sum[:])
	}
	start := w.From.In(zone)
	layout := "20060102"
	if h, m, s := start.Clock(); h+m+s != 0 {
		layout = "20060102T150405"
	}
	tail := strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))[:6]
	return fmt.Sprintf("%s-%s-%s", vendor, start.Format(layout), tail)
}

// Yesterday is the default window: the day before now, in the vendor's zone.
func Yesterday(now time.Time, zone *time.Location) fanout.Window {
	y, m, d := now.In(zone).Date()
	return fanout.Window{From: time.Date(y, m, d-1, 0, 0, 0, 0, zone), To: time.Date(y, m, d, 0, 0, 0, 0, zone)}
}
