package vendorapi

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A large request that gives up must not leave those behind it waiting.
func TestPoolServesThoseBehindOneThatGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{free: 10}
		if err := p.take(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		gaveUp := make(chan error, 1)
		go func() { gaveUp <- p.take(ctx, 8) }()
		synctest.Wait()
		behind := make(chan error, 1)
		go func() { behind <- p.take(t.Context(), 3) }()
		synctest.Wait()
		select {
		case <-behind:
			t.Error("a small request passed a large one that came first")
		default:
		}
		cancel(why)
		if err := <-gaveUp; err != why {
			t.Errorf("gave up with %v", err)
		}
		select {
		case err := <-behind:
			if err != nil || p.free != 2 {
				t.Errorf("%v, %d free", err, p.free)
			}
		case <-time.After(time.Second):
			t.Error("what is behind still waits")
			p.give(5) // let it go
			<-behind
		}
	})
}

// A spec's bound above the default budget still leaves room for one such body.
func TestBudgetHoldsTheLargestBody(t *testing.T) {
	for _, limit := range []int{100, 64 << 10, 1 << 20, 8 << 20, 64 << 20} {
		b := newBudget(DefaultBudget, limit, nil)
		r := &reservation{b: b}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		for _, edge := range b.edges {
			if _, err := r.grow(ctx, edge); err != nil {
				t.Errorf("bound %d: %v", limit, err)
			}
		}
		cancel()
		if held := r.held[0] + r.held[1] + r.held[2]; held != limit {
			t.Errorf("bound %d: %d held", limit, held)
		}
		r.release()
	}
}
