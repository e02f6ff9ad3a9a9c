package vendorapi

import (
	"container/list"
	"context"
	"sync"
)

// The byte budget bounds what all bodies of one client hold, from before they
// are read until the engine has landed them.
//
// A body's size is not known before it is read, so its memory is reserved in
// three stages, each from a pool of its own and always in the same order: up
// to 64 KiB, up to 1 MiB, up to the bound. The last pool holds exactly one
// body's rest. That cannot deadlock: whoever holds the last stage waits for
// nothing; whoever waits for it holds only earlier stages; and so on down. Most
// bodies are small and never meet the pools of the large.
const (
	smallBody = 64 << 10
	midBody   = 1 << 20

	// DefaultBudget is what a client's bodies may hold, in bytes.
	DefaultBudget = 12 << 20
)

type budget struct {
	pools  [3]pool
	edges  [3]int // where each stage ends, in bytes of one body
	starve func()
}

// newBudget divides total bytes for bodies of at most limit bytes. A total that
// could not hold one largest body and a few small ones is raised.
func newBudget(total, limit int, starve func()) *budget {
	b := &budget{edges: [3]int{min(smallBody, limit), min(midBody, limit), limit}, starve: starve}
	last := max(limit-midBody, 0)
	rest := max(total-last, 4*smallBody+midBody)
	mid := max(b.edges[1]-b.edges[0], rest*3/5)
	if b.edges[1] == b.edges[0] {
		mid = 0
	}
	b.pools[0].free = max(rest-mid, b.edges[0])
	b.pools[1].free = mid
	b.pools[2].free = last
	return b
}

// reservation is what one body holds.
type reservation struct {
	b    *budget
	held [3]int
	once sync.Once
}

// grow makes the reservation cover n bytes and returns what is then covered. n
// must be a stage's edge, or the body's known length: a body that came back
// for more of the same stage could deadlock with another that does.
func (r *reservation) grow(ctx context.Context, n int) (int, error) {
	covered, from := 0, 0
	for i, edge := range r.b.edges {
		want := min(n, edge) - from
		if want > r.held[i] {
			if err := r.b.take(ctx, i, want-r.held[i]); err != nil {
				return 0, err
			}
			r.held[i] = want
		}
		covered += r.held[i]
		from = edge
		if n <= edge {
			break
		}
	}
	return covered, nil
}

// shrink gives back what a body of n bytes does not need.
func (r *reservation) shrink(n int) {
	from := 0
	for i, edge := range r.b.edges {
		keep := max(min(n, edge)-from, 0)
		if r.held[i] > keep {
			r.b.pools[i].give(r.held[i] - keep)
			r.held[i] = keep
		}
		from = edge
	}
}

// release gives all back; more than once is harmless.
func (r *reservation) release() { r.once.Do(func() { r.shrink(0) }) }

func (b *budget) take(ctx context.Context, i, n int) error {
	if b.pools[i].try(n) {
		return nil
	}
	if b.starve != nil {
		b.starve()
	}
	return b.pools[i].take(ctx, n)
}

// pool is a number of bytes that are handed out in the order of asking, so
// that a large request is not passed by small ones for ever.
type pool struct {
	mu    sync.Mutex
	free  int
	queue list.List // of *waiter
}

type waiter struct {
	n     int
	ready chan struct{}
}

func (p *pool) try(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queue.Len() > 0 || p.free < n {
		return false
	}
	p.free -= n
	return true
}

func (p *pool) take(ctx context.Context, n int) error {
	p.mu.Lock()
	if p.queue.Len() == 0 && p.free >= n {
		p.free -= n
		p.mu.Unlock()
		return nil
	}
	w := &waiter{n, make(chan struct{})}
	at := p.queue.PushBack(w)
	p.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.ready: // it came after all
		p.free += n
	default:
		p.queue.Remove(at)
	}
	p.serve() // those behind may fit now
	return context.Cause(ctx)
}

func (p *pool) give(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free += n
	p.serve()
}

// serve hands out what is free; p.mu is held.
func (p *pool) serve() {
	for e := p.queue.Front(); e != nil; e = p.queue.Front() {
		w := e.Value.(*waiter)
		if w.n > p.free {
			return
		}
		p.free -= w.n
		p.queue.Remove(e)
		close(w.ready)
	}
}
