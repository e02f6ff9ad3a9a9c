package governor

import (
	"fmt"
	"time"
)

// After a brake the rate does not jump back to what has just been too much: each
// limit that recovers is halved, and rises from the brake's end in small steps.
// What an error does to a share never makes it larger, then or at any later
// instant:
//
//	brake escalates  -> share = half of what it is now, and stays so until the end
//	from the end on  -> a sixteenth of the rate more every eighth of Recover
//	brake prolonged  -> all of that later
//
// Shares are whole 64ths, so that every process computes the same, and so few
// steps that what is booked ahead stays one short list of segments.

const (
	whole        = 64          // a full share
	easeStep     = whole / 16  // what one step gives back
	stepsToTwice = 8           // steps from half to full: in Recover
	leastRecover = time.Second // a shorter recovery would be none
)

// An Ease is what brakes have left of a limit's rate: Share 64ths of it until
// From, and rising from then on.
type Ease struct {
	Share int           `json:"share"`
	From  time.Time     `json:"from"` // the brake's end
	Over  time.Duration `json:"over"` // how long half of the rate takes to come back
}

// at is the share at t, in 64ths.
func (e Ease) at(t time.Time) int {
	if e.Share <= 0 || e.Over < stepsToTwice {
		return whole // there is none
	}
	steps := max(t.Sub(e.From), 0) / (e.Over / stepsToTwice)
	return int(min(time.Duration(e.Share)+easeStep*steps, whole))
}

// steps calls yield with each instant after t at which the share rises.
func (e Ease) steps(t time.Time, yield func(time.Time)) {
	if e.at(t) == whole {
		return
	}
	share := e.Share
	for at := e.From; share < whole; share += easeStep {
		at = at.Add(e.Over / stepsToTwice)
		if at.After(t) {
			yield(at)
		}
	}
}

// share is what brakes have left of a limit's rate at t, in 64ths.
func (it *Item) share(limit string, t time.Time) int {
	e, ok := it.Eases[limit]
	if !ok {
		return whole
	}
	return e.at(t)
}

// ease halves the present share of every limit that recovers, from now until
// the brake's end.
func (it *Item) ease(limits []Limit, now time.Time) {
	for _, l := range limits {
		if l.Recover == 0 || !l.paced() {
			continue
		}
		e := Ease{Share: max(it.share(l.Name, now)/2, 1), From: it.Brake.Until, Over: l.Recover}
		if old := it.Eases[l.Name]; old.at(now) < whole { // neither sooner nor faster than without this brake
			e.From, e.Over = latest(e.From, old.From), max(e.Over, old.Over)
		}
		if it.Eases == nil {
			it.Eases = map[string]Ease{}
		}
		it.Eases[l.Name] = e
	}
}

// postpone lets no limit recover before the brake's new end.
func (it *Item) postpone(end time.Time) {
	for name, e := range it.Eases {
		e.From = latest(e.From, end)
		it.Eases[name] = e
	}
}

// brakeText says what a brake does.
func (it *Item) brakeText(limits []Limit, now time.Time) string {
	s := "until " + it.Brake.Until.Format(time.TimeOnly) + " UTC"
	for _, l := range limits {
		if share := it.share(l.Name, now); share < whole {
			s += fmt.Sprintf(", limit %s at %s", l.Name, fraction(share))
		}
	}
	return s
}

// fraction writes 64ths as people do.
func fraction(share int) string {
	of := whole
	for share%2 == 0 && of > 1 {
		share, of = share/2, of/2
	}
	return fmt.Sprintf("%d/%d", share, of)
}
