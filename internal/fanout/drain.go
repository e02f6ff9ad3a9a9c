package fanout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// receiveBatch is how many deliveries a queue gives at once at best (SQS: ten).
// Receiving fewer costs requests, so a drain waits until as many are wanted.
const receiveBatch = 10

// drain is one run of Engine.Drain.
type drain struct {
	*Engine
	Config
	log   *slog.Logger
	meter *Meter

	soft, hard context.Context
	stop       context.CancelCauseFunc // ends soft, with the reason
	cancel     func()                  // ends everything

	hearts     *hearts
	commits    *committer
	fetching   sync.WaitGroup // one per task in hand
	background sync.WaitGroup // heartbeats, probes, the hard timer

	blind time.Time // since when the governor could not be asked; the receiving goroutine's

	mu     sync.Mutex
	inHand int           // tasks being fetched
	fresh  int           // of these, how many the governor does not know to be waiting yet
	freed  chan struct{} // holds a token when inHand has fallen
}

func newDrain(e *Engine, soft, hard context.Context) *drain {
	d := &drain{Engine: e, Config: e.Config.withDefaults(), log: e.Log, meter: e.Meter, freed: make(chan struct{}, 1)}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.meter == nil {
		d.meter = new(Meter)
	}
	var stopHard context.CancelFunc
	d.hard, stopHard = context.WithCancel(hard)
	d.soft, d.stop = context.WithCancelCause(soft)
	// An end of hard is an end of soft, too.
	release := context.AfterFunc(d.hard, func() { d.stop(context.Cause(d.hard)) })
	d.cancel = func() { release(); d.stop(nil); stopHard() }

	d.hearts = newHearts(e.Queue, d.Visibility)
	d.commits = newCommitter(d)
	d.background.Go(func() { d.hearts.run(d.hard) })
	d.background.Go(d.watchOutage)
	d.background.Go(func() { // grace: soft's end brings hard's
		select {
		case <-d.hard.Done():
			return
		case <-d.soft.Done():
		}
		grace := d.Grace
		if d.cause() != nil && !errors.Is(d.cause(), ErrStopped) {
			grace = min(grace, d.StorePatience) // a store is down: waiting longer mends nothing
		}
		if pause(d.hard, grace) {
			stopHard()
		}
	})
	return d
}

// cause is why the drain ended before its time, if it did.
func (d *drain) cause() error {
	err := context.Cause(d.soft)
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// anyOpen tells whether there is a run to work for.
func (d *drain) anyOpen() bool {
	for {
		began := time.Now()
		open, err := d.Ledger.AnyOpen(d.soft)
		if err == nil {
			return open
		}
		if !d.storeFailed(began, "looking for an open run", err) {
			return false
		}
	}
}

// receive takes work from the queue until it stays empty, there is no permit
// within reach, or soft ends.
//
// The first receive is a short poll, made twice because SQS asks only a sample
// of its hosts: an empty queue is left within milliseconds. A drain that has
// had work ends with two empty long polls.
func (d *drain) receive() {
	worked := false
	for empty := 0; empty < 2; {
		n := d.room()
		if n == 0 {
			return
		}
		wait := time.Duration(0)
		if worked {
			wait = d.LongPoll
		}
		asked := time.Now()
		batch, err := d.Queue.Receive(d.soft, n, wait, d.Visibility)
		if err != nil {
			if !d.storeFailed(asked, "receiving from the queue of "+d.Tier.Name, err) {
				return
			}
			continue
		}
		d.meter.setTrouble(reading, "")
		if len(batch) > 0 {
			worked, empty = true, 0
			d.dispatch(batch, asked)
			continue
		}
		if d.busy() { // what is in hand may yet come back
			if !d.await(100 * time.Millisecond) {
				return
			}
			continue
		}
		empty++
	}
}

// room says how many deliveries to ask for: never more than will soon be
// allowed to be sent, and not fewer than make a worthwhile request. It returns
// 0 when the drain is to end.
func (d *drain) room() int {
	for d.soft.Err() == nil {
		look, err := d.Governor.Outlook(d.soft, d.Tier.Name, d.Ahead)
		if err != nil {
			look = Outlook{Hold: Blind, Why: err.Error(), Next: time.Now().Add(time.Second)}
		}
		d.meter.held(look)
		if look.Hold != Free {
			if !d.waitOut(look) {
				return 0
			}
			continue
		}
		d.blind = time.Time{}
		if away := time.Until(look.Next); d.held() == 0 && away > d.Patience {
			if !d.Wait {
				return 0 // sleeping is what costs; the next tick comes
			}
			if !d.await(min(away-d.Patience, 5*time.Second)) { // nobody would be given a permit yet
				return 0
			}
			continue
		}
		held, fresh := d.hand()
		n := min(d.Slots-held, look.Calls-fresh)
		if held == 0 {
			n = max(n, 1)
		}
		if n >= min(receiveBatch, max(held, 1)) {
			return n
		}
		if !d.await(100 * time.Millisecond) {
			return 0
		}
	}
	return 0
}

// waitOut waits while the whole fleet is held; false means leave.
func (d *drain) waitOut(look Outlook) bool {
	if look.Hold == Stopped {
		d.stop(fmt.Errorf("%w: %s", ErrStopped, look.Why))
		return false
	}
	if look.Hold != Blind {
		d.blind = time.Time{}
	} else if d.blind.IsZero() {
		d.blind = time.Now()
	} else if !d.Wait && time.Since(d.blind) > d.Patience {
		d.stop(fmt.Errorf("no calls without the governor: %s", look.Why))
		return false
	}
	if !d.Wait && time.Until(look.Next) > d.Patience {
		return false
	}
	return d.await(min(max(time.Until(look.Next), 20*time.Millisecond), 250*time.Millisecond))
}

// await waits until a task in hand has ended, or for as long as given. It
// returns false when soft has ended.
func (d *drain) await(longest time.Duration) bool {
	t := time.NewTimer(longest)
	defer t.Stop()
	select {
	case <-d.soft.Done():
		return false
	case <-d.freed:
	case <-t.C:
	}
	return true
}

// dispatch asks the ledger about every delivery, in one read, before a permit
// is spent on any.
func (d *drain) dispatch(batch []Delivery, asked time.Time) {
	kept := batch[:0]
	var ctxs []context.Context
	var tasks []Task
	for _, del := range batch {
		ctx, ok := d.hearts.keep(d.hard, del, asked)
		if !ok { // a second copy of what is in hand: by the time it comes back, that has ended
			d.giveBack(del, d.Visibility/2, Returned)
			continue
		}
		kept, ctxs, tasks = append(kept, del), append(ctxs, ctx), append(tasks, del.Task)
	}
	batch = kept
	if len(batch) == 0 {
		return
	}
	stands, err := d.Ledger.Look(d.hard, tasks)
	if err == nil {
		err = d.redriven(batch, stands)
	}
	if err != nil {
		for _, del := range batch {
			d.giveBack(del, time.Second, Returned)
		}
		d.storeFailed(time.Now(), "asking the ledger where tasks stand", err)
		return
	}
	var over []Delivery
	for i, del := range batch {
		switch st := stands[i]; {
		case !st.RunOpen, st.Outcome != "", del.Task.Life < st.Life:
			over = append(over, del) // an earlier delivery has ended it; spend no permit
		case st.Last != nil && (st.Last.Final || !st.Last.Sent): // what is recorded counts, whatever failed since
			d.commits.add(d.recorded(del, *st.Last))
		case st.Attempts >= d.MaxAttempts:
			d.commits.add(d.buried(del, st))
		default:
			d.start(ctxs[i], del, st)
		}
	}
	d.drop(over)
}

// start fetches a task in a goroutine of its own.
func (d *drain) start(ctx context.Context, del Delivery, st Standing) {
	d.mu.Lock()
	d.inHand++
	d.fresh++
	d.mu.Unlock()
	d.meter.phase(1, 0, 0)
	d.fetching.Go(func() {
		defer func() {
			d.mu.Lock()
			d.inHand--
			d.mu.Unlock()
			d.meter.phase(-1, 0, 0)
			select {
			case d.freed <- struct{}{}:
			default:
			}
		}()
		f := newFetch(d, del, st)
		f.run(ctx)
	})
}

// held is how many tasks are being fetched.
func (d *drain) held() int {
	held, _ := d.hand()
	return held
}

func (d *drain) hand() (held, fresh int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inHand, d.fresh
}

// asks notes that a task is about to ask the governor for its first permit.
func (d *drain) asks() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fresh--
}

// busy tells whether anything received has not ended.
func (d *drain) busy() bool { return d.held() > 0 || d.commits.pending() > 0 }

// drop deletes deliveries of tasks that had ended before.
func (d *drain) drop(over []Delivery) {
	if len(over) == 0 {
		return
	}
	rs := receipts(over)
	d.hearts.letGo(rs...)
	d.meter.outcome(Duplicate, len(rs))
	if err := d.Queue.Delete(d.hard, rs); err != nil {
		d.log.Warn("deleting what an earlier delivery has ended", "tier", d.Tier.Name, "err", err)
	}
}

// giveBack returns a delivery to its queue, hidden for a while. If that fails
// its visibility ends in time.
func (d *drain) giveBack(del Delivery, after time.Duration, o Outcome) {
	d.hearts.letGo(del.Receipt)
	if d.hard.Err() != nil {
		d.meter.outcome(o, 1)
		return
	}
	err := d.Queue.Hide(d.hard, []Hide{{Receipt: del.Receipt, For: after}})
	if errors.Is(err, ErrReceiptLost) {
		o = Abandoned
	} else if err != nil {
		d.log.Debug("a task comes back when its visibility ends", "tier", d.Tier.Name, "task", del.Task.ID, "err", err)
	}
	d.meter.outcome(o, 1)
}

// storeFailed notes that one of our own stores failed, and waits a little. It
// returns false when that has lasted too long, or soft has ended: nothing more
// is started then.
func (d *drain) storeFailed(since time.Time, doing string, err error) bool {
	if d.soft.Err() != nil {
		return false
	}
	err = fmt.Errorf("%s: %w", doing, err)
	d.meter.setTrouble(reading, err.Error())
	d.log.Warn("a store failed; trying again", "tier", d.Tier.Name, "err", err)
	if !d.outages.storeTrouble(since, d.StorePatience) {
		d.stop(err)
		return false
	}
	return d.await(250 * time.Millisecond)
}

// persist does op until it succeeds or hard ends. A write that fails is
// repeated in place, never by a new call to the vendor.
func (d *drain) persist(doing string, op func(context.Context) error) error {
	began := time.Now()
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := op(d.hard)
		if err == nil {
			if wait > 20*time.Millisecond {
				d.meter.setTrouble(writing, "")
			}
			return nil
		}
		err = fmt.Errorf("%s: %w", doing, err)
		if d.hard.Err() != nil {
			return err
		}
		d.meter.setTrouble(writing, err.Error())
		d.log.Warn("a write failed; repeating it", "tier", d.Tier.Name, "err", err)
		if time.Since(began) >= d.StorePatience {
			d.stop(err)
		}
		if !pause(d.hard, wait) {
			return err
		}
	}
}

func receipts(ds []Delivery) []Receipt {
	rs := make([]Receipt, len(ds))
	for i, d := range ds {
		rs[i] = d.Receipt
	}
	return rs
}

// pause sleeps; false means that ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// backoff is how long a task stays hidden after its n-th failed attempt: 1, 2,
// 4, ... s up to 5 minutes, spread by half so that failures do not march in step.
func backoff(n int) time.Duration {
	full := min(time.Second<<min(max(n-1, 0), 16), 5*time.Minute)
	return full/2 + rand.N(full)
}
