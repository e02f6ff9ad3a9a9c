package vendorapi

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// watch ends a call that takes too long. Its context ends with the caller's,
// or with an errTimeout as its cause.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	idle   time.Duration
	total  *time.Timer
	phase  *time.Timer
	why    atomic.Pointer[errTimeout]
}

// errTimeout is one of the client's own time limits.
type errTimeout struct{ text string }

func (e *errTimeout) Error() string { return e.text }

func newWatch(parent context.Context, t Timeouts) *watch {
	w := &watch{idle: t.Idle}
	w.ctx, w.cancel = context.WithCancelCause(parent)
	w.why.Store(&errTimeout{fmt.Sprintf("no answer within %s", t.FirstByte)})
	w.total = time.AfterFunc(t.Total, func() { w.cancel(&errTimeout{fmt.Sprintf("no complete answer within %s", t.Total)}) })
	w.phase = time.AfterFunc(t.FirstByte, func() { w.cancel(w.why.Load()) })
	return w
}

// reading starts the idle clock, again for each piece of the body.
func (w *watch) reading() {
	w.why.Store(&errTimeout{fmt.Sprintf("the answer stood still for %s", w.idle)})
	w.phase.Reset(w.idle)
}

// waiting stops the idle clock while the client itself is what is slow. The
// total goes on: the call's place in flight is held no longer than that.
func (w *watch) waiting() { w.phase.Stop() }

func (w *watch) stop() {
	w.total.Stop()
	w.phase.Stop()
	w.cancel(nil)
}
