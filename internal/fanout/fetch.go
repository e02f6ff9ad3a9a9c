package fanout

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// A fetch is one attempt at a task: its pages, each with a permit of its own,
// up to the end of the list or of a chunk.
type fetch struct {
	d   *drain
	del Delivery
	id  string
	st  Standing

	chunk  int
	cursor string
	object string // landing object of the last page
	pages  int
	rows   int
	nodes  []Node
	seen   map[string]struct{} // IDs of nodes, so that a list that names one twice sends it once
	anew   int                 // how often the list was begun anew
}

func newFetch(d *drain, del Delivery, st Standing) *fetch {
	f := &fetch{d: d, del: del, id: newFetchID(), st: st}
	if st.Last != nil { // the list was cut short here
		f.chunk = st.Last.Chunk + 1
		f.anew, f.cursor = begun(st.Last.Cursor, st.Life)
	}
	return f
}

// newFetchID is 64 random bits: fetches are told apart within one task only.
func newFetchID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// run fetches until the task, or the chunk, is complete; then the committer has
// it. Whatever happens, the delivery has exactly one ending.
func (f *fetch) run(ctx context.Context) {
	f.d.asks()
	for {
		sent, page, err := f.call(ctx)
		switch {
		case err == nil:
		case errors.Is(err, ErrTooLate) && f.d.hard.Err() == nil:
			continue // nothing was sent: another permit
		case errors.Is(context.Cause(ctx), ErrReceiptLost):
			f.d.meter.outcome(Abandoned, 1) // another worker has it
			return
		case f.d.hard.Err() != nil:
			f.d.giveBack(f.del, 0, Returned)
			return
		case errors.Is(err, ErrNoPermit):
			f.interrupted(f.shortPause())
			return
		case !isCallError(err): // a store of ours that the call needs
			f.d.storeFailed(sent, "preparing a call", err)
			f.interrupted(f.shortPause())
			return
		default:
			if f.failed(sent, err) {
				return
			}
			continue // throttled, or begun anew: not failed
		}
		f.d.answered(f.del.Task, f.chunk == 0 && f.pages == 0)
		f.take(page)
		switch {
		case page.Next == "":
			f.complete()
			return
		case len(f.nodes) >= f.d.ChunkChildren, f.d.soft.Err() != nil:
			f.cursor = page.Next
			f.interrupted(0)
			return
		}
		f.cursor = page.Next
	}
}

// call waits for a permit and makes one call.
func (f *fetch) call(ctx context.Context) (sent time.Time, p Page, err error) {
	d := f.d
	until, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(d.soft, cancel)()
	defer cancel()
	asked := time.Now()
	d.meter.phase(0, 1, 0)
	permit, err := d.Governor.Take(until, CallOf(f.del.Task))
	sent = time.Now()
	d.meter.phase(0, -1, 0)
	if err != nil {
		return sent, p, err
	}
	d.meter.phase(0, 0, 1)
	began := sent
	calling, permits := WithPermits(ctx, permit, CallOf(f.del.Task), func(_ context.Context, c Call) (Permit, error) { return d.Governor.Take(until, c) })
	p, err = d.Vendor.Call(calling, f.del.Task, f.cursor)
	d.meter.phase(0, 0, -1)
	permits.Release()
	if errors.Is(err, ErrTooLate) {
		permits.Unused()
		d.meter.update(func(r *Report) { r.TooLate++ })
	}
	calls, sent := permits.taken()
	if calls == 0 {
		return sent, p, err
	}
	took := time.Since(began)
	d.meter.update(func(r *Report) {
		r.Calls += calls
		r.Permits += began.Sub(asked)
		r.Vendor += took
		r.Took.Add(took)
	})
	d.said(ctx, CallOf(f.del.Task), permits, p, err)
	return sent, p, err
}

// said tells the governor what an answer says about limits, if it wants to know.
// The call counts whatever becomes of that: it is said again.
func (d *drain) said(ctx context.Context, c Call, permits *Permits, p Page, err error) {
	limits := p.Limits
	var ce *CallError
	if errors.As(err, &ce) {
		limits = ce.Limits
	}
	if len(limits) == 0 {
		return
	}
	permits.cost(limits)
	if g, ok := d.Governor.(interface {
		Said(ctx context.Context, c Call, sent time.Time, limits map[string]Said) error
	}); ok {
		_, sent := permits.taken()
		_ = g.Said(ctx, c, sent, limits)
	}
}

// take lands a page and notes what it found.
func (f *fetch) take(p Page) {
	d := f.d
	f.object = d.commits.page(Record{
		Kind: "page", Task: f.del.Task, Fetch: f.id, Chunk: f.chunk, Page: f.pages,
		At: time.Now().UTC(), Cursor: f.cursor, Status: p.Status, Rows: p.Rows, Body: p.Body,
	})
	if p.Release != nil {
		p.Release()
	}
	f.pages++
	f.rows += p.Rows
	d.meter.update(func(r *Report) { r.Pages++; r.Rows += p.Rows })
	if d.Tier.Below == "" {
		return
	}
	if f.seen == nil {
		f.seen = make(map[string]struct{}, len(p.Children))
	}
	for _, n := range p.Children {
		id := TaskID(f.del.Task.Run, d.Tier.Below, n.Path)
		if _, twice := f.seen[id]; !twice {
			f.seen[id] = struct{}{}
			f.nodes = append(f.nodes, n)
		}
	}
}

// complete hands the whole task to the committer.
func (f *fetch) complete() {
	it := f.item()
	it.end = f.settlement(Done, nil)
	if f.d.Tier.Below != "" {
		it.part = f.part(true)
	}
	f.d.commits.add(it)
}

// interrupted ends a delivery whose task is not at fault. What it has fetched
// is recorded as a chunk, so that nobody fetches it again.
func (f *fetch) interrupted(after time.Duration) {
	if f.pages == 0 {
		f.d.giveBack(f.del, after, Returned)
		return
	}
	it := f.item()
	it.part, it.after, it.outcome = f.part(false), after, Returned
	f.d.commits.add(it)
}

// shortPause keeps a task that could have no permit from coming straight back.
func (f *fetch) shortPause() time.Duration {
	if f.d.soft.Err() != nil {
		return 0
	}
	return time.Second
}

func (f *fetch) item() item {
	return item{del: f.del, fetch: f.id, chunk: f.chunk, nodes: f.nodes}
}

func (f *fetch) part(final bool) *Listed {
	t := f.del.Task
	p := &Listed{
		Run: t.Run, Tier: t.Tier, Task: t.ID, Chunk: f.chunk, Fetch: f.id, Object: f.object,
		Children: len(f.nodes), Rows: f.rows, Pages: f.pages, Final: final,
	}
	if !final {
		p.Cursor = begunCursor(f.anew, f.chunk, f.st.Life, f.cursor)
	}
	return p
}

func (f *fetch) settlement(o Outcome, why *Reason) *Settlement {
	return &Settlement{
		Task: f.del.Task, Outcome: o, Fetch: f.id, Object: f.object, Chunk: f.chunk,
		Children: len(f.nodes), Rows: f.rows, Pages: f.pages, Reason: why, At: time.Now().UTC(),
	}
}

// failed ends a delivery by what the vendor answered. It returns false when the
// call is to be made again under a new permit.
func (f *fetch) failed(sent time.Time, err error) (ended bool) {
	d := f.d
	var ce *CallError
	errors.As(err, &ce)
	d.meter.update(func(r *Report) { r.Failed[ce.Class]++ })
	why := ce.reason()
	switch ce.Class {
	case Throttled:
		if err := d.Governor.Throttled(d.hard, sent, ce.RetryAfter); err != nil {
			d.log.Warn("braking the fleet", "tier", d.Tier.Name, "err", err)
		}
		return false
	case Unavailable:
		f.unavailable(why, ce.RetryAfter)
	case Refused:
		d.refused(ce)
		f.interrupted(0)
	case Missing:
		d.judge(d.outages.alive(""))
		if len(f.del.Task.Path) > 0 && f.del.Task.Tier != d.Fallback.Tier {
			f.ended(Gone, &why)
		} else { // a root list that is not there is a wrong spec, not an empty vendor
			f.attempt(why, d.MaxBroken)
		}
	case Expired:
		d.judge(d.outages.alive(""))
		return f.expired(ce)
	case Broken, Rejected:
		d.judge(d.outages.alive(""))
		f.attempt(why, d.MaxBroken)
	default:
		f.attempt(why, d.MaxAttempts)
	}
	return true
}

// unavailable gives the task back without counting the failure, until it is
// known whose failure it was.
func (f *fetch) unavailable(why Reason, retryAfter time.Duration) {
	d := f.d
	judged, outage := d.outages.failed(Failure{Task: f.del.Task, Fetch: f.id, Chunk: f.chunk, Reason: why})
	if judged {
		f.attempt(why, d.MaxAttempts)
		return
	}
	if outage {
		d.log.Warn("the vendor is down: nothing is sent until a probe succeeds", "tier", d.Tier.Name, "last", why.Message)
		if err := d.Governor.Outage(d.hard, why.Message); err != nil {
			d.log.Warn("opening the breaker", "tier", d.Tier.Name, "err", err)
		}
	}
	f.interrupted(max(backoff(f.st.Attempts+1), min(retryAfter, d.Visibility)))
}

// attempt counts a failed attempt, and ends the task with the last one allowed.
func (f *fetch) attempt(why Reason, allowed int) {
	d := f.d
	var n []int
	err := d.persist("recording a failed attempt", func(ctx context.Context) (err error) {
		n, err = d.Ledger.Fail(ctx, []Failure{{Task: f.del.Task, Fetch: f.id, Chunk: f.chunk, Reason: why}})
		return err
	})
	switch {
	case err != nil:
		d.giveBack(f.del, 0, Returned)
	case n[0] >= allowed:
		f.ended(Dead, &why)
	case f.pages > 0:
		it := f.item()
		it.part, it.after, it.outcome = f.part(false), backoff(n[0]), Retried
		d.commits.add(it)
	default:
		d.giveBack(f.del, backoff(n[0]), Retried)
	}
}

// ended settles a task that failed for good or is gone. Pages that it had
// before are kept as a chunk.
func (f *fetch) ended(o Outcome, why *Reason) {
	it := f.item()
	it.end = f.settlement(o, why)
	if f.pages > 0 {
		it.part = f.part(false)
		it.end.Chunk++
		it.end.Object, it.end.Children, it.end.Rows, it.end.Pages = "", 0, 0, 0
	}
	f.d.commits.add(it)
}

func isCallError(err error) bool {
	var ce *CallError
	return errors.As(err, &ce)
}

func (e *CallError) reason() Reason {
	return Reason{
		Class: e.Class, Status: e.Status, Request: e.Request, Page: e.Page,
		Message: e.Err.Error(), Excerpt: e.Excerpt, At: time.Now().UTC(),
	}
}

// answered notes a success: the vendor is alive, and this call can be repeated
// to find out whether it is.
func (d *drain) answered(t Task, first bool) {
	d.Governor.Alive()
	if first {
		d.outages.succeeded(t)
	}
	d.judge(d.outages.alive(t.ID))
}

// judge counts failures that turned out to be their tasks' own. Their messages
// are on the queue already: the next delivery sees the count.
func (d *drain) judge(failures []Failure) {
	if len(failures) == 0 {
		return
	}
	err := d.persist("recording failed attempts", func(ctx context.Context) error {
		_, err := d.Ledger.Fail(ctx, failures)
		return err
	})
	if err != nil {
		d.log.Warn("failed attempts were not recorded", "tier", d.Tier.Name, "err", err)
	}
}

// refused stops the vendor for everybody: one clear error, not one per task.
func (d *drain) refused(ce *CallError) {
	why := fmt.Sprintf("the vendor refused the credentials: %v", ce)
	if err := d.Governor.Stop(d.hard, why); err != nil {
		d.log.Error("stopping the vendor", "tier", d.Tier.Name, "err", err)
	}
	d.stop(fmt.Errorf("%w: %s", ErrStopped, why))
}
