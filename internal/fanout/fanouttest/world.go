package fanouttest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// A World is a whole fleet in memory: a vendor with a tree, a queue per tier,
// one ledger, landing and governor, and any number of workers.
type World struct {
	Run      string
	Tiers    []fanout.Tier
	Vendor   *Vendor
	Queues   []*Queue
	Dead     []*Queue
	Ledger   *Ledger
	Landing  *Landing
	Governor fanout.Governor
	Faults   *Faults
	Config   fanout.Config
}

// NewWorld makes a world whose vendor has a tree of the given fan-outs: with
// (3, 2) the root list has 3 nodes, each of them 2, and each of those is a leaf.
// The nodes of tier unique (if any) are shared: every list of that tier also
// finds the first node of its neighbour.
func NewWorld(unique string, fan ...int) *World {
	w := &World{
		Run: "r1", Vendor: &Vendor{fan: fan, unique: unique, PageSize: 1000, Latency: 10 * time.Millisecond},
		Ledger: NewLedger(), Landing: new(Landing), Governor: new(Governor),
		Config: fanout.Config{LongPoll: time.Second},
	}
	for i := range len(fan) + 1 {
		t := fanout.Tier{Name: TierName(i), Unique: TierName(i) == unique}
		if i < len(fan) {
			t.Below = TierName(i + 1)
		}
		w.Tiers = append(w.Tiers, t)
		w.Queues = append(w.Queues, new(Queue))
		w.Dead = append(w.Dead, new(Queue))
	}
	return w
}

// TierName names the i-th tier.
func TierName(i int) string { return string(rune('a' + i)) }

// Root is the run's one seed.
func (w *World) Root() fanout.Task {
	return fanout.Task{ID: fanout.TaskID(w.Run, w.Tiers[0].Name, nil), Run: w.Run, Tier: w.Tiers[0].Name, Life: 1}
}

// Seed sends the root list.
func (w *World) Seed() error { return w.Queues[0].Send(context.Background(), []fanout.Task{w.Root()}) }

// Engine is a worker for the i-th tier.
func (w *World) Engine(i int) *fanout.Engine {
	e := &fanout.Engine{
		Tier:  w.Tiers[i],
		Queue: w.Faults.Queue("queue", w.Queues[i]), Dead: w.Faults.Queue("dead", w.Dead[i]),
		Ledger: w.Faults.Ledger(w.Ledger), Landing: w.Faults.Landing(w.Landing),
		Governor: w.Governor, Vendor: w.Vendor, Fallback: w.Root(), Config: w.Config,
	}
	if i+1 < len(w.Queues) {
		e.Next = w.Faults.Queue("next", w.Queues[i+1])
	}
	return e
}

// Work ticks every tier, as a scheduler would, until no queue holds anything or
// the time is up. A drain's error is not the end: the next tick comes.
func (w *World) Work(ctx context.Context, longest time.Duration) []error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for i := range w.Tiers {
		wg.Go(func() {
			e := w.Engine(i)
			for ctx.Err() == nil && !w.Quiet() {
				if _, err := e.Drain(ctx, ctx); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		})
	}
	wg.Wait()
	return errs
}

// Quiet tells whether every queue is empty.
func (w *World) Quiet() bool {
	for _, q := range w.Queues {
		if len(q.Tasks()) > 0 {
			return false
		}
	}
	return true
}

// Check recomputes the verdict from the ledger and the landing and compares
// what is read back with the tree that the recorded lists tell of. dead names
// how many tasks may have ended dead.
func (w *World) Check(dead int) error {
	ends, lists := w.Ledger.Ends(), w.Ledger.Lists()
	known := map[string]bool{w.Root().ID: true}
	for _, rows := range lists {
		for _, row := range rows {
			nodes, err := w.Landing.Children(context.Background(), row)
			if err != nil && row.Children > 0 {
				return fmt.Errorf("recorded list is not durable: %w", err)
			}
			below := w.Tiers[w.tier(row.Tier)].Below
			for _, n := range nodes {
				known[fanout.TaskID(w.Run, below, n.Path)] = true
			}
		}
	}
	count := map[fanout.Outcome]int{}
	for id, end := range ends {
		if !known[id] {
			return fmt.Errorf("task %s (%s %q) is settled but no list has it", id, end.Task.Tier, end.Task.Path)
		}
		count[end.Outcome]++
	}
	if settled := count[fanout.Done] + count[fanout.Gone] + count[fanout.Dead]; settled != len(known) {
		return fmt.Errorf("%d tasks known, %d settled (%v)", len(known), settled, count)
	}
	if count[fanout.Dead] != dead {
		return fmt.Errorf("%d dead, want %d", count[fanout.Dead], dead)
	}
	return w.checkLeaves(ends, lists)
}

// checkLeaves reads back: each page of each settled leaf exactly once.
func (w *World) checkLeaves(ends map[string]fanout.Settlement, lists map[string][]fanout.Listed) error {
	last := w.Tiers[len(w.Tiers)-1].Name
	got := map[string]int{}
	for _, r := range w.Landing.Records() {
		end, ok := ends[r.Task.ID]
		if r.Kind != "page" || r.Task.Tier != last || !ok {
			continue
		}
		counts := r.Chunk == end.Chunk && r.Fetch == end.Fetch
		for _, row := range lists[r.Task.ID] {
			counts = counts || row.Chunk == r.Chunk && row.Chunk < end.Chunk && row.Fetch == r.Fetch
		}
		if counts {
			got[r.Task.ID]++
		}
	}
	for id, end := range ends {
		if want := w.Vendor.pages(end.Task); end.Task.Tier == last && end.Outcome == fanout.Done && got[id] != want {
			return fmt.Errorf("leaf %q: %d of its pages are read back, want %d", end.Task.Path, got[id], want)
		}
	}
	return nil
}

func (w *World) tier(name string) int {
	return slices.IndexFunc(w.Tiers, func(t fanout.Tier) bool { return t.Name == name })
}

// A Vendor is a vendor with a tree, for tests of the engine.
type Vendor struct {
	PageSize  int           // children in a page
	LeafPages int           // pages of a leaf (1)
	Latency   time.Duration // of each call
	// Answer may fail the n-th call (1, 2, ...) of a task; nil: it succeeds.
	Answer func(t fanout.Task, cursor string, n int) error
	// Extra makes lists change: the n-th fetch of a list has n-1 more children.
	Extra bool
	// Stutter makes every list name its first child twice.
	Stutter bool

	fan    []int
	unique string
	mu     sync.Mutex
	calls  map[string]int    // by tier and path
	first  map[string]string // by tier and path and cursor: nothing yet, or fetched
	again  int
	flying int
	peak   int
	at     []time.Time
}

// Call implements fanout.Vendor.
func (v *Vendor) Call(ctx context.Context, t fanout.Task, cursor string) (fanout.Page, error) {
	n := v.enter(t, cursor)
	defer func() { v.mu.Lock(); v.flying--; v.mu.Unlock() }()
	timer := time.NewTimer(v.Latency)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fanout.Page{}, context.Cause(ctx)
	case <-timer.C:
	}
	if v.Answer != nil {
		if err := v.Answer(t, cursor, n); err != nil {
			return fanout.Page{}, err
		}
	}
	return v.page(t, cursor, n), nil
}

func (v *Vendor) enter(t fanout.Task, cursor string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.calls == nil {
		v.calls, v.first = map[string]int{}, map[string]string{}
	}
	k := fmt.Sprint(t.Tier, t.Path)
	v.calls[k]++
	if v.first[k+cursor] != "" {
		v.again++
	}
	v.first[k+cursor] = "fetched"
	v.flying++
	v.peak = max(v.peak, v.flying)
	v.at = append(v.at, time.Now())
	return v.calls[k]
}

func (v *Vendor) page(t fanout.Task, cursor string, n int) fanout.Page {
	depth := int(t.Tier[0] - 'a')
	var from int
	fmt.Sscan(cursor, &from)
	p := fanout.Page{Status: 200, Body: fmt.Appendf(nil, `{"tier":%q,"path":%q,"from":%d}`, t.Tier, fmt.Sprint(t.Path), from), Rows: 1}
	if depth == len(v.fan) {
		if from+1 < max(1, v.LeafPages) {
			p.Next = fmt.Sprint(from + 1)
		}
		return p
	}
	size := v.fan[depth]
	if v.Extra {
		size += n - 1
	}
	for i := from; i < min(size, from+v.PageSize); i++ {
		p.Children = append(p.Children, v.node(t, i))
	}
	if t.Tier == v.unique && from == 0 && len(t.Path) > 0 {
		p.Children = append(p.Children, fanout.Node{Path: []string{"shared-0"}})
	}
	if v.Stutter {
		p.Children = append(p.Children, p.Children[0])
	}
	if from+v.PageSize < size {
		p.Next = fmt.Sprint(from + v.PageSize)
	}
	return p
}

func (v *Vendor) node(t fanout.Task, i int) fanout.Node {
	k := fmt.Sprintf("%s%d", t.Tier, i)
	if t.Tier == v.unique {
		return fanout.Node{Path: []string{fmt.Sprint(t.Path, k)}}
	}
	return fanout.Node{Path: append(slices.Clone(t.Path), k)}
}

func (v *Vendor) pages(t fanout.Task) int {
	if int(t.Tier[0]-'a') == len(v.fan) {
		return max(1, v.LeafPages)
	}
	return 1
}

// Calls is how many calls were made; again counts those for a page that had
// been asked for before.
func (v *Vendor) Calls() (all, again int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for n := range maps.Values(v.calls) {
		all += n
	}
	return all, v.again
}

// Times are the instants at which calls arrived.
func (v *Vendor) Times() []time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.at)
}
