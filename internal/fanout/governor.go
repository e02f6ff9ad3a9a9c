package fanout

import (
	"context"
	"errors"
	"time"
)

// Governor hands out permits for the whole fleet. It is safe for concurrent
// use. It fails closed: without its store it hands out nothing.
type Governor interface {
	// Outlook says what can be had for calls of a tier, without booking it.
	Outlook(ctx context.Context, tier string, within time.Duration) (Outlook, error)

	// Take waits for a permit and returns at the instant that it is for: the
	// call must start at once. The error is ErrNoPermit when no permit can
	// be had before ctx's deadline, when the fleet is braked, broken or stopped
	// for longer than is worth waiting, or when the store cannot be reached.
	Take(ctx context.Context, c Call) (Permit, error)

	// Throttled reports a 429 for a call that was sent at the given instant; it
	// brakes the whole fleet for retryAfter, or for a growing pause when that is
	// zero. Answers of calls sent before the brake do not prolong its growth.
	Throttled(ctx context.Context, sent time.Time, retryAfter time.Duration) error

	// Outage reports that the vendor is down: the fleet calls no more, except
	// for one probe at a time.
	Outage(ctx context.Context, why string) error

	// Probe makes the one call that finds out whether an outage is over, if its
	// time has come and nobody else is at it: tried tells. A nil error of call
	// means that the vendor is alive again, and ends the outage. The context of
	// call carries what WithSendBy sets.
	Probe(ctx context.Context, c Call, call func(context.Context) error) (tried bool, err error)

	// Alive reports a call that succeeded, so that a later brake starts its
	// growth anew. It never blocks and never writes on its own.
	Alive()

	// Stop stops the vendor for everybody until an operator resumes it.
	Stop(ctx context.Context, why string) error
}

// A Call is what a permit is asked for: some limits bind the calls of some tiers
// only, or those about one account.
type Call struct {
	Tier string // whose request it is; empty: no tier's, such as a login
	Node Node   // that it is about
}

// CallOf is the call that t is.
func CallOf(t Task) Call { return Call{t.Tier, t.Node} }

// A Permit is the right to start one call now.
type Permit struct {
	// Release gives back what the call holds while it is under way (a place in
	// flight). It must be called once, when the answer's body has been read.
	Release func()
	// By is when the right ends: a request that is not on its way by then must
	// not be sent. Zero: it does not end.
	By time.Time
	// Unused says that nothing was sent with it: a budget counts it no longer. Nil:
	// nobody counts.
	Unused func()
	// Cost says how much the call has counted in a limit, once its answer tells. Nil:
	// nobody asks.
	Cost func(limit string, units int)
}

// ErrTooLate is the error of a call that was not sent, because its permit had
// ended before the request could be written. Nothing has left this process.
var ErrTooLate = errors.New("the permit ended before the request could be sent")

type sendByKey struct{}

// WithSendBy tells a Vendor, beside the call, until when its request may be
// written. Between a permit's instant and the first byte there is room for a
// busy machine to stall; only who writes can tell.
func WithSendBy(ctx context.Context, by time.Time) context.Context {
	if by.IsZero() {
		return ctx
	}
	return context.WithValue(ctx, sendByKey{}, by)
}

// SendBy is until when the request at hand may be written, by WithPermits or
// WithSendBy; zero: nobody has said.
func SendBy(ctx context.Context) time.Time {
	if ps, ok := ctx.Value(permitsKey{}).(*Permits); ok {
		return ps.by()
	}
	by, _ := ctx.Value(sendByKey{}).(time.Time)
	return by
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
