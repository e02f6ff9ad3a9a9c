package fanout

import (
	"context"
	"errors"
	"time"
)

// Governor hands out permits for the whole fleet. It is safe for concurrent
// use. It fails closed: without its store it hands out nothing.
type Governor interface {
	// Outlook says what can be had, without booking it.
	Outlook(ctx context.Context, within time.Duration) (Outlook, error)

	// Take waits for a permit and returns at the instant that it is for: the
	// call must start at once. release gives back what the call holds while it
	// is under way (a place in flight) and must be called once, when the
	// answer's body has been read. The error is ErrNoPermit when no permit can
	// be had before ctx's deadline, when the fleet is braked, broken or stopped
	// for longer than is worth waiting, or when the store cannot be reached.
	Take(ctx context.Context) (release func(), err error)

	// Throttled reports a 429 for a call that was sent at the given instant; it
	// brakes the whole fleet for retryAfter, or for a growing pause when that is
	// zero. Answers of calls sent before the brake do not prolong its growth.
	Throttled(ctx context.Context, sent time.Time, retryAfter time.Duration) error

	// Outage reports that the vendor is down: the fleet calls no more, except
	// for one probe at a time.
	Outage(ctx context.Context, why string) error

	// Probe makes the one call that finds out whether an outage is over, if its
	// time has come and nobody else is at it: tried tells. A nil error of call
	// means that the vendor is alive again, and ends the outage.
	Probe(ctx context.Context, call func(context.Context) error) (tried bool, err error)

	// Alive reports a call that succeeded, so that a later brake starts its
	// growth anew. It never blocks and never writes on its own.
	Alive()

	// Stop stops the vendor for everybody until an operator resumes it.
	Stop(ctx context.Context, why string) error
}

// An Outlook is what a governor sees ahead for this process.
type Outlook struct {
	Calls int       // permits that this process may expect within the horizon, less those already waited for
	Next  time.Time // the earliest instant of a next permit, or of the next probe in an outage
	Hold  Hold      // why there is none now
	Why   string    // one line for people
}

// Hold is what keeps a whole fleet from calling.
type Hold string

const (
	Free    Hold = ""        // nothing but the limits themselves
	Braked  Hold = "brake"   // a 429: until Outlook.Next
	Outage  Hold = "outage"  // the breaker is open: next probe at Outlook.Next
	Stopped Hold = "stopped" // paused by an operator, or credentials refused
	Blind   Hold = "blind"   // the governor's store or clock cannot be trusted: no calls
)

// ErrNoPermit says that no permit can be had in time. The task goes back
// unharmed.
var ErrNoPermit = errors.New("no permit within reach")
