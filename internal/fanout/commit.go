package fanout

import (
	"context"
	"errors"
	"sync"
	"time"
)

// idleFlush is how long a batch waits for more when nothing is being fetched.
const idleFlush = 300 * time.Millisecond

// An item is one delivery on its way to its end.
type item struct {
	del      Delivery
	fetch    string
	chunk    int
	part     *Listed       // chunk of a list, or of a read that was cut short
	recorded bool          // part is in the ledger already
	nodes    []Node        // children in part
	end      *Settlement   // nil: the task goes on, or is tried again, after a pause
	after    time.Duration // that pause
	outcome  Outcome       // of the delivery, when end is nil
}

// committer gathers results across tasks and commits them together:
//
//	landing object durable -> lists recorded -> children claimed -> children sent
//	-> tasks settled -> messages deleted
//
// One batch is committed at a time, in order, while the next one fills: pages
// of a task may lie in an earlier batch than its end, never in a later one.
type committer struct {
	d    *drain
	done chan struct{} // closed when run has returned
	kick chan struct{} // holds a token when a batch may be due

	mu        sync.Mutex
	space     *sync.Cond // signalled when the open batch has been taken
	open      openBatch
	committed int       // items in the batch being committed
	touched   time.Time // last change, for idleFlush
	closed    bool
	broken    bool // a batch could not be committed before hard: what follows may depend on it
}

type openBatch struct {
	objects  map[string]LandingBatch // by run
	pages    int
	items    []item
	children int
	since    time.Time // when the first thing came in
}

func (b openBatch) isEmpty() bool { return b.pages == 0 && len(b.items) == 0 }

func newCommitter(d *drain) *committer {
	c := &committer{d: d, done: make(chan struct{}), kick: make(chan struct{}, 1)}
	c.space = sync.NewCond(&c.mu)
	go c.run() // owned by close, which waits for it
	return c
}

// close commits what there is and waits for it.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.poke()
	<-c.done
}

// page packs a page into the open batch and returns the object that it will be
// durable in.
func (c *committer) page(r Record) (object string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waitForSpace()
	first := c.open.isEmpty()
	object = c.pack(r)
	c.open.pages++
	c.grown(first)
	return object
}

// add takes over a delivery: it will be ended by a commit.
func (c *committer) add(it item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waitForSpace()
	first := c.open.isEmpty()
	if it.part != nil && !it.recorded && len(it.nodes) > 0 {
		it.part.Object = c.pack(Record{Kind: "list", Task: it.del.Task, Fetch: it.fetch, Chunk: it.chunk, At: time.Now().UTC(), Children: it.nodes})
	}
	c.open.items = append(c.open.items, it)
	c.open.children += len(it.nodes)
	c.grown(first)
}

func (c *committer) pack(r Record) (object string) {
	b := c.open.objects[r.Task.Run]
	if b == nil {
		if c.open.objects == nil {
			c.open.objects = make(map[string]LandingBatch, 1)
		}
		b = c.d.Landing.Begin(r.Task.Run, c.d.Tier.Name)
		c.open.objects[r.Task.Run] = b
	}
	if err := b.Add(r); err != nil { // nothing but a bug can cause this: the record is plain data
		c.d.stop(err)
		c.broken = true
	}
	return b.Object()
}

func (c *committer) grown(first bool) {
	c.touched = time.Now()
	if first {
		c.open.since = c.touched
	}
	if first || c.due(c.touched) {
		c.poke()
	}
}

// waitForSpace bounds what waits for a commit: fetching stops when committing
// is slower.
func (c *committer) waitForSpace() {
	for !c.broken && (len(c.open.items) >= 2*c.d.FlushResults || c.bytes() >= 2*c.d.FlushBytes || c.open.children >= 4*c.d.ChunkChildren) {
		c.space.Wait()
	}
}

func (c *committer) bytes() (n int) {
	for _, o := range c.open.objects {
		n += o.Size()
	}
	return n
}

// pending is how many deliveries wait for the end of a commit.
func (c *committer) pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open.items) + c.committed
}

func (c *committer) poke() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// due tells whether the open batch should be committed now.
func (c *committer) due(now time.Time) bool {
	switch {
	case c.open.isEmpty():
		return false
	case c.closed, len(c.open.items) >= c.d.FlushResults, c.bytes() >= c.d.FlushBytes, c.open.children >= 2*c.d.ChunkChildren:
		return true
	case now.Sub(c.open.since) >= c.d.FlushEvery:
		return true
	}
	return c.d.held() == 0 && now.Sub(c.touched) >= idleFlush
}

// run commits batches as they fall due, until closed and empty.
func (c *committer) run() {
	defer close(c.done)
	for {
		batch, more := c.next()
		if !more {
			return
		}
		err := c.commit(batch)
		c.mu.Lock()
		c.committed = 0
		c.broken = c.broken || err != nil
		c.mu.Unlock()
		c.space.Broadcast()
	}
}

// next waits for a batch that is due and opens a new one.
func (c *committer) next() (b openBatch, more bool) {
	c.mu.Lock()
	for !c.due(time.Now()) {
		if c.closed {
			c.mu.Unlock()
			return b, false
		}
		filling := !c.open.isEmpty()
		c.mu.Unlock()
		if filling {
			t := time.NewTimer(idleFlush / 3)
			select {
			case <-c.kick:
			case <-t.C:
			}
			t.Stop()
		} else {
			<-c.kick
		}
		c.mu.Lock()
	}
	b, c.open = c.open, openBatch{}
	c.committed = len(b.items)
	c.mu.Unlock()
	c.space.Broadcast()
	return b, true
}

// commit carries a batch through the engine's order of writes. Each step is
// repeated in place until it succeeds or hard ends; between two steps a comment
// says what is true.
func (c *committer) commit(b openBatch) error {
	d := c.d
	c.mu.Lock()
	broken := c.broken
	c.mu.Unlock()
	if broken {
		d.meter.outcome(Returned, len(b.items))
		return context.Cause(d.hard)
	}
	for _, o := range b.objects {
		if err := d.persist("landing "+o.Object(), o.Commit); err != nil {
			d.meter.outcome(Returned, len(b.items))
			return err
		}
		d.meter.update(func(r *Report) { r.Objects++ })
	}
	items := b.items
	// All results of these items are durable. A receipt may have been lost since:
	// that does not matter, for of two workers' writes the first counts.
	steps := []struct {
		doing string
		do    func(context.Context, []item) error
	}{
		{"asking the ledger about lists that ended badly", c.checkLists},
		{"recording lists in the ledger", c.list},
		// Each list has one recorded form, durable in the landing: its nodes.
		{"claiming and sending children", c.send},
		// All children are on the queue below.
		{"noting that children are on the queue", c.markSent},
		{"sending dead letters", c.sendDead},
		{"settling tasks in the ledger", c.settle},
		// Every task that has an end is settled.
	}
	for _, s := range steps {
		if err := d.persist(s.doing, func(ctx context.Context) error { return s.do(ctx, items) }); err != nil {
			d.meter.outcome(Returned, len(items))
			return err
		}
	}
	c.conclude(items)
	return nil
}

// checkLists looks again at lists that are to end gone or dead: a list that
// another worker has recorded meanwhile counts, whatever came later.
func (c *committer) checkLists(ctx context.Context, items []item) error {
	if c.d.Tier.Below == "" {
		return nil
	}
	var at []int
	var tasks []Task
	for i, it := range items {
		if it.end != nil && it.end.Outcome != Done {
			at, tasks = append(at, i), append(tasks, it.del.Task)
		}
	}
	if len(at) == 0 {
		return nil
	}
	stands, err := c.d.Ledger.Look(ctx, tasks)
	if err != nil {
		return err
	}
	for j, i := range at {
		if last := stands[j].Last; last != nil && last.Chunk >= items[i].chunk && last.Fetch != items[i].fetch {
			items[i] = c.d.recorded(items[i].del, *last)
		}
	}
	return nil
}

// list records the chunks and adopts the rows that hold: of two fetches of one
// chunk the first recorded is the one that counts.
func (c *committer) list(ctx context.Context, items []item) error {
	var at []int
	var rows []Listed
	for i, it := range items {
		if it.part != nil && !it.recorded {
			at, rows = append(at, i), append(rows, *it.part)
		}
	}
	if len(rows) > 0 {
		won, err := c.d.Ledger.List(ctx, rows)
		if err != nil {
			return err
		}
		for j, i := range at {
			if won[j].Fetch != items[i].fetch {
				items[i] = c.d.recorded(items[i].del, won[j])
			}
		}
	}
	for i := range items {
		it := &items[i]
		if !it.recorded || it.part == nil || it.part.Sent || it.part.Children == 0 || it.nodes != nil {
			continue
		}
		nodes, err := c.d.Landing.Children(ctx, *it.part)
		if err != nil {
			return err
		}
		it.nodes = nodes
	}
	return nil
}

// send puts the children of all lists on the queue below, in one go. Children
// of a unique tier that another parent owns are not ours to send.
func (c *committer) send(ctx context.Context, items []item) error {
	d := c.d
	var children []Task
	var claims []Claim
	for _, it := range items {
		if it.recorded && it.part.Sent { // by the delivery that recorded it
			continue
		}
		for _, n := range it.nodes {
			child := it.del.Task.Child(d.Tier.Below, n)
			children = append(children, child)
			if d.Tier.Unique {
				claims = append(claims, Claim{Run: child.Run, Child: child.ID, Parent: it.del.Task.ID})
			}
		}
	}
	if len(claims) > 0 {
		mine, err := d.Ledger.Claim(ctx, claims)
		if err != nil {
			return err
		}
		owned := children[:0]
		for i, child := range children {
			if mine[i] {
				owned = append(owned, child)
			}
		}
		children = owned
	}
	if len(children) == 0 {
		return nil
	}
	if err := d.Next.Send(ctx, children); err != nil {
		return err
	}
	d.meter.update(func(r *Report) { r.Children += len(children) })
	return nil
}

// markSent notes it for chunks whose task goes on; a settled task needs no note.
func (c *committer) markSent(ctx context.Context, items []item) error {
	var rows []Listed
	for _, it := range items {
		if it.part != nil && !it.part.Final {
			rows = append(rows, *it.part)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return c.d.Ledger.MarkSent(ctx, rows)
}

func (c *committer) sendDead(ctx context.Context, items []item) error {
	var dead []Task
	for _, it := range items {
		if it.end != nil && it.end.Outcome == Dead {
			dead = append(dead, it.del.Task)
		}
	}
	if len(dead) == 0 {
		return nil
	}
	return c.d.Dead.Send(ctx, dead)
}

func (c *committer) settle(ctx context.Context, items []item) error {
	var ends []Settlement
	for _, it := range items {
		if it.end != nil {
			ends = append(ends, *it.end)
		}
	}
	if len(ends) == 0 {
		return nil
	}
	return c.d.Ledger.Settle(ctx, ends)
}

// conclude makes the one queue call that each delivery ends with. No heartbeat
// follows it. If it fails the task is delivered again, and found settled.
func (c *committer) conclude(items []item) {
	d := c.d
	var settled []Receipt
	var hides []Hide
	for _, it := range items {
		d.hearts.letGo(it.del.Receipt)
		if it.end != nil {
			settled = append(settled, it.del.Receipt)
			d.meter.outcome(it.end.Outcome, 1)
		} else {
			hides = append(hides, Hide{Receipt: it.del.Receipt, For: it.after})
			d.meter.outcome(it.outcome, 1)
		}
	}
	if len(settled) > 0 {
		if err := d.persist("deleting messages", func(ctx context.Context) error { return d.Queue.Delete(ctx, settled) }); err != nil {
			d.log.Warn("settled tasks stay on the queue; their next delivery removes them", "tier", d.Tier.Name, "err", err)
		}
	}
	if len(hides) > 0 {
		err := d.persist("giving chunked tasks back", func(ctx context.Context) error {
			if err := d.Queue.Hide(ctx, hides); !errors.Is(err, ErrReceiptLost) {
				return err
			}
			return nil
		})
		if err != nil {
			d.log.Warn("chunked tasks come back when their visibility ends", "tier", d.Tier.Name, "err", err)
		}
	}
}

// recorded is the ending of a delivery whose latest chunk the ledger has: its
// children are sent from the landing, without a call to the vendor.
func (d *drain) recorded(del Delivery, row Listed) item {
	it := item{del: del, fetch: row.Fetch, chunk: row.Chunk, part: &row, recorded: true, outcome: Returned}
	if row.Final {
		it.end = &Settlement{
			Task: del.Task, Outcome: Done, Fetch: row.Fetch, Object: row.Object, Chunk: row.Chunk,
			Children: row.Children, Rows: row.Rows, Pages: row.Pages, At: time.Now().UTC(),
		}
	}
	return it
}

// buried is the ending of a delivery whose task has used up its attempts.
func (d *drain) buried(del Delivery, st Standing) item {
	chunk := 0
	if st.Last != nil {
		chunk = st.Last.Chunk + 1
	}
	return item{del: del, chunk: chunk, end: &Settlement{
		Task: del.Task, Outcome: Dead, Chunk: chunk, Reason: st.Reason, At: time.Now().UTC(),
	}}
}
