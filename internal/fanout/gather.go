package fanout

import (
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
	if it.end != nil && !it.recorded {
		c.d.meter.update(func(r *Report) { r.Fetched++ })
	}
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
