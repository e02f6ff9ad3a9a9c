package governor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Config is what a Governor is made of. Vendor, Limits and Store are required;
// zero durations take the default.
type Config struct {
	Vendor string // names the item in the store
	Member string // names this process in the fleet; random by default
	Limits []Limit
	Store  Store

	Poll        time.Duration // how often the item is read while calls are made; 50 ms
	Stale       time.Duration // no call when the last good read is older; the same in the whole fleet; 1 s
	Patience    time.Duration // Take does not wait for a permit further away; 20 s
	CallTimeout time.Duration // no call takes longer; 30 s
	Spread      time.Duration // how far the fleet's clocks differ; 0 on one machine
	Slow        time.Duration // how long after its instant a write may take effect; 0 on one machine

	// Value is what a call has for the name of a limit's Each; empty: nothing.
	Value func(name string, c fanout.Call) string

	Now func() time.Time // this machine's clock; time.Now
	Log *slog.Logger     // nothing by default
}

const (
	lead        = 20 * time.Millisecond  // a slot is booked at least this far ahead
	pauseBook   = 10 * time.Millisecond  // between two bookings while slots are left
	rebook      = 100 * time.Millisecond // book again when the last slot is nearer
	hurry       = 40 * time.Millisecond  // book again even if it is for few
	memberLife  = 3 * time.Second        // a process counts as live this long after its last slot
	leaseLife   = 10 * time.Second       // places in flight are kept this long, and CallTimeout more
	ownInFlight = 32                     // calls at once in this process if no limit says
)

// A Governor is one process's share in the fleet's permits for one vendor. It
// is safe for concurrent use.
type Governor struct {
	cfg   Config
	rules rules
	start time.Time // with a monotonic reading: see instant

	base   context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine that this Governor started

	io   chan struct{} // held by whoever reads the item or the store's clock
	mine chan struct{} // held by whoever writes this process's own entry

	stall func() // tests: what a scheduler may do to a goroutine at any time

	alive atomic.Int64 // the latest success, Unix nanoseconds

	mu       sync.Mutex // guards everything below
	closed   bool
	running  bool
	since    time.Duration  // monotonic: when it began to run
	pacing   chan struct{}  // wakes the pacer
	keeping  chan struct{}  // wakes the keeper
	lines    []*line        // who wants a permit, and what was booked for them
	debts    map[string]int // what calls have counted beyond what was booked, by lane or calendar
	plain    *class         // all calls are of it; nil: they are of several
	expected map[string]int // what calls count whose weight only answers tell, by limit and tier
	flight   flight
	view     view
	mute     mute
	obey     time.Time     // this process's own brake, ahead of the store's
	retry    time.Duration // monotonic: no background store operation before, after one failed
	busy     time.Duration // monotonic: when somebody last waited or called
	away     time.Duration // monotonic: when somebody was last sent away, or told that there are no calls
	awayOf   *class        // of what class they were; nil: nobody knows
	clock    clockState
	purse    purse                    // what was booked and not used
	paying   bool                     // a write pays with some of it
	hearing  bool                     // what headers say is being written
	lows     map[string]time.Duration // monotonic: when headers last said no more than is known, by limit
	stats    Stats
}

var _ fanout.Governor = (*Governor)(nil)

// A view is the item as last read.
type view struct {
	item   Item
	all    rulings
	asked  instant // when the read began: it cannot be fresher
	got    instant
	failed error // why the latest read failed; nil: it did not
}

// mute is that the store takes no writes, though it may be read: whoever lacks
// the right to write would wait for a permit for ever.
type mute struct {
	since, last time.Duration // monotonic: the first and the latest write in a row that failed
	failed      error         // of the latest; nil: it did not fail
}

// muteFor is how long a failed write says that writes fail. Then somebody has to
// try again.
const muteFor = 10 * time.Second

// muted tells why nothing can be booked. g.mu is held.
func (g *Governor) muted(now instant) error {
	if m := g.mute; m.failed != nil && m.last-m.since >= g.cfg.Stale && now.mono-m.last < muteFor {
		return m.failed
	}
	return nil
}

// wrote notes how a background write ended.
func (g *Governor) wrote(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch now := g.instant().mono; {
	case err == nil:
		g.mute = mute{}
	case g.mute.failed == nil:
		g.mute = mute{now, now, err}
	default:
		g.mute.last, g.mute.failed = now, err
	}
}

// Stats counts what a Governor did since New.
type Stats struct {
	Writes    map[string]int // store updates by kind: book, lease, brake, outage, probe, said, stop, leave
	Reads     int            // item reads without a write, clock reads included
	Booked    int            // permits booked
	Used      int            // permits handed to a caller
	Forfeited int            // permits that nobody could start in time
	Voided    int            // permits withdrawn by a brake, a stop, an outage or a new limit
	Blind     int            // permits not used because the store or the clock could not be trusted
	Waited    time.Duration  // time spent in Take, over all callers
}

// New makes a Governor. It touches the store only when somebody asks for
// something. Close it.
func New(cfg Config) (*Governor, error) {
	if cfg.Vendor == "" || cfg.Store == nil {
		return nil, errors.New("governor: a vendor and a store are required")
	}
	if _, err := Check(cfg.Limits, cfg.Spread); err != nil {
		return nil, fmt.Errorf("governor of %s: %w", cfg.Vendor, err)
	}
	if cfg.Value == nil && slices.ContainsFunc(cfg.Limits, func(l Limit) bool { return l.scope().Each != "" }) {
		return nil, fmt.Errorf("governor of %s: nobody tells the values that a limit is kept for each of", cfg.Vendor)
	}
	defaults(&cfg)
	g := &Governor{
		cfg: cfg, rules: rules{cfg.Limits, cfg.Spread}, start: time.Now(),
		io: make(chan struct{}, 1), mine: make(chan struct{}, 1),
		pacing: make(chan struct{}, 1), keeping: make(chan struct{}, 1),
	}
	g.stall = func() {}
	g.base, g.cancel = context.WithCancel(context.Background())
	g.stats.Writes = map[string]int{}
	g.lows = map[string]time.Duration{}
	g.purse, g.expected, g.debts = purse{}, map[string]int{}, map[string]int{}
	if g.rules.plain() {
		g.plain = g.rules.class(fanout.Call{}, nil, nil)
	}
	return g, nil
}

func defaults(cfg *Config) {
	if cfg.Member == "" {
		cfg.Member = rand.Text()[:10]
	}
	for p, d := range map[*time.Duration]time.Duration{
		&cfg.Poll: 50 * time.Millisecond, &cfg.Stale: time.Second,
		&cfg.Patience: 20 * time.Second, &cfg.CallTimeout: 30 * time.Second,
	} {
		if *p <= 0 {
			*p = d
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
}

// Close sends whoever waits in Take away, ends all goroutines of g, and gives
// back what this process holds in the item. Calls under way are not waited for:
// their places in flight are kept in the item until they expire.
func (g *Governor) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	g.refuse("the governor was closed")
	g.mu.Unlock()
	g.cancel()
	g.wg.Wait()
	return g.leave()
}

// leave takes this process out of the item, if it ever was in it.
func (g *Governor) leave() error {
	g.mu.Lock()
	w := g.stats.Writes
	member := w["book"]+w["lease"]+w["probe"] > 0
	for _, l := range g.lines {
		for _, s := range l.slots {
			g.wasted(s)
		}
	}
	g.lines = nil
	inUse, unspent := g.flight.inUse, g.purse
	g.purse = purse{}
	g.mu.Unlock()
	if !member {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	debts := g.owed()
	_, err := g.update(ctx, "leave", func(it *Item, now time.Time) error {
		refunded := it.refund(unspent) || len(debts) > 0
		g.rules.owe(it, g.rules.rulings(it, now), debts, now, g.blindFor())
		m, ok := it.Members[g.cfg.Member]
		if !ok && !refunded {
			return errUnchanged
		}
		if m.Units = min(m.Units, inUse); m.Units > 0 {
			m.Want, m.Expires = 0, now
			it.Members[g.cfg.Member] = m
			return nil
		}
		delete(it.Members, g.cfg.Member)
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// Stats returns the counters so far.
func (g *Governor) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Writes = maps.Clone(s.Writes)
	return s
}

// errUnchanged ends an update that finds nothing to write. What it read counts
// as read.
var errUnchanged = errors.New("nothing to change")

// update writes the item and adopts the result as the latest view.
func (g *Governor) update(ctx context.Context, kind string, fn func(it *Item, now time.Time) error) (Item, error) {
	asked := g.instant()
	var out Item
	err := g.cfg.Store.Update(ctx, g.cfg.Vendor, func(it *Item) error {
		now := utc(g.cfg.Now())
		it.prune(now)
		err := fn(it, now)
		if err == nil {
			it.Rev++
		}
		out = it.clone()
		return err
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err == nil:
		g.stats.Writes[kind]++
	case errors.Is(err, errUnchanged):
		g.stats.Reads++
	default:
		g.stats.Writes[kind]++
		g.failed(err)
		return Item{}, fmt.Errorf("governor of %s: writing a %s: %w", g.cfg.Vendor, kind, err)
	}
	g.adopt(out, asked)
	return out, err
}

// adopt takes an item that was asked for at the given instant as the latest
// view, unless a later one is known. g.mu is held.
func (g *Governor) adopt(it Item, asked instant) {
	if it.Rev < g.view.item.Rev && asked.mono <= g.view.got.mono {
		return // overtaken by a newer read
	}
	now := g.instant()
	first := g.view.got.mono == 0
	fresh := g.view.asked
	if first || asked.mono >= fresh.mono {
		fresh = asked
	}
	g.view = view{item: it, all: g.rules.rulings(&it, now.wall), asked: fresh, got: now}
	g.retry = 0
	g.dropVoid()
	wake(g.pacing)
}

// failed notes that the store did not answer. g.mu is held.
func (g *Governor) failed(err error) {
	g.view.failed = err
	g.retry = g.instant().mono + g.cfg.Poll
}

// load reads the item.
func (g *Governor) load(ctx context.Context) error {
	asked := g.instant()
	it, err := g.cfg.Store.Load(ctx, g.cfg.Vendor)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Reads++
	if err != nil {
		g.failed(err)
		return fmt.Errorf("governor of %s: reading its item: %w", g.cfg.Vendor, err)
	}
	it.prune(asked.wall)
	g.adopt(it, asked)
	return nil
}

// refresh makes sure that the view is younger than Poll and the clock checked.
func (g *Governor) refresh(ctx context.Context) error {
	select {
	case g.io <- struct{}{}:
		defer func() { <-g.io }()
	case <-ctx.Done():
		return ctx.Err()
	}
	now := g.instant()
	g.mu.Lock()
	check, read := g.clock.due(now), g.view.failed != nil || !g.seen(now, g.cfg.Poll)
	g.mu.Unlock()
	if check {
		if err := g.checkClock(ctx); err != nil {
			return err
		}
	}
	if read {
		return g.load(ctx)
	}
	return nil
}

// seen tells whether the view was read less than age ago. g.mu is held.
func (g *Governor) seen(now instant, age time.Duration) bool {
	v := g.view
	return v.got.mono != 0 && now.mono-v.asked.mono < age && now.wall.Sub(v.asked.wall) < age
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func utc(t time.Time) time.Time { return t.Round(0).UTC() }
