package fanout

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Permits are what one Call of a Vendor is allowed: one request, and after it
// others if the Call needs more than one (a login, the hop of a redirect), each
// under a permit of its own. There is one at a time: whoever asks for the next has
// done with the one before, so that a vendor that allows one call at a time can be
// logged in to.
type Permits struct {
	what Call
	take func(context.Context, Call) (Permit, error)

	mu  sync.Mutex
	now Permit
	at  time.Time // when it was taken
	n   int
}

type permitsKey struct{}

// WithPermits is a context for one Call: p is the permit of its first request, which
// is what it is called for, and take gets others.
func WithPermits(ctx context.Context, p Permit, what Call, take func(context.Context, Call) (Permit, error)) (context.Context, *Permits) {
	ps := &Permits{what: what, take: take, now: p, at: time.Now(), n: 1}
	return context.WithValue(ctx, permitsKey{}, ps), ps
}

// ErrAnswered is NextPermit's error where there is one permit and no more, as for a
// probe: the vendor has answered, and the call takes another request.
var ErrAnswered = fmt.Errorf("%w for another request: the vendor has answered one", ErrNoPermit)

// NextPermit releases the permit that a Call holds and waits for that of its next
// request. The error is ErrNoPermit if there is none to be had; the Call then
// returns it.
func NextPermit(ctx context.Context) error {
	ps, _ := ctx.Value(permitsKey{}).(*Permits)
	if ps == nil {
		return ErrAnswered
	}
	return ps.next(ctx, ps.what)
}

// YieldPermit gives up the permit that a Call holds, with which nothing was sent:
// the Call has to wait for others, and they may need its place. It tells whether
// the Call needs another permit now; who has but one keeps it.
func YieldPermit(ctx context.Context) bool {
	ps, _ := ctx.Value(permitsKey{}).(*Permits)
	if ps == nil {
		return false
	}
	ps.Unused()
	ps.Release()
	return true
}

// LoginPermit waits for a permit to log in with, after YieldPermit: other limits
// may bind a login. Who has but one permit logs in with that.
func LoginPermit(ctx context.Context) error {
	ps, _ := ctx.Value(permitsKey{}).(*Permits)
	if ps == nil {
		return nil
	}
	return ps.next(ctx, Call{})
}

func (ps *Permits) next(ctx context.Context, c Call) error {
	ps.Release()
	p, err := ps.take(ctx, c)
	if err != nil {
		return err
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.now, ps.at = p, time.Now()
	ps.n++
	return nil
}

// taken is how many permits were used, and when the last one was taken.
func (ps *Permits) taken() (n int, last time.Time) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.n, ps.at
}

// Release gives back what the permit at hand holds; again it does nothing.
func (ps *Permits) Release() {
	ps.mu.Lock()
	release := ps.now.Release
	ps.now.Release = nil
	ps.mu.Unlock()
	if release != nil {
		release()
	}
}

// Unused says that nothing was sent with the permit at hand.
func (ps *Permits) Unused() {
	ps.mu.Lock()
	unused := ps.now.Unused
	ps.now.Unused = nil
	ps.n--
	ps.mu.Unlock()
	if unused != nil {
		unused()
	}
}

// cost tells how much the request at hand has counted.
func (ps *Permits) cost(limits map[string]Said) {
	ps.mu.Lock()
	tell := ps.now.Cost
	ps.mu.Unlock()
	for name, s := range limits {
		if tell != nil && s.Cost > 0 {
			tell(name, s.Cost)
		}
	}
}

// by is until when the permit at hand is one.
func (ps *Permits) by() time.Time {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.now.By
}
