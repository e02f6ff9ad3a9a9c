package governor_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
)

// A sharing vendor has so many calls in each fixed minute, of which others take
// some, and says with each answer how many are left until when.
type sharing struct {
	mu      sync.Mutex
	all     int
	minute  time.Time
	left    int
	refused int
	served  []int // by minute
	others  int
}

func (s *sharing) call() fanout.Said {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if m := now.Truncate(time.Minute); !m.Equal(s.minute) {
		s.minute, s.left = m, s.all-s.others
		s.served = append(s.served, 0)
	}
	if s.left <= 0 {
		s.refused++
	} else {
		s.left--
		s.served[len(s.served)-1]++
	}
	return fanout.Said{Counted: true, Left: s.left, Reset: s.minute.Add(time.Minute)}
}

func (f *fleet) listening(m *member, callers int, answer func() map[string]fanout.Said) {
	for range callers {
		m.wg.Go(func() {
			for m.ctx.Err() == nil {
				permit, err := m.Take(m.ctx, fanout.Call{})
				if err != nil {
					select {
					case <-m.ctx.Done():
					case <-time.After(time.Second):
					}
					continue
				}
				sent := time.Now()
				time.Sleep(rand.N(f.jitter + 1))
				end := f.vendor.Begin()
				said := answer()
				time.Sleep(f.latency)
				end()
				permit.Release()
				_ = m.Said(m.ctx, fanout.Call{}, sent, said)
			}
		})
	}
}

// What is left by the vendor's own count is not passed, though the spec would
// allow more; most of it is used; and after the reset it is as before.
func TestRemaining(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]governor.Limit{
		"window": named("l", window(600, time.Minute)), "bucket": named("l", bucket(10, 5)), "hour": named("l", perHour(30_000, nil)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, l, named("also", bucket(12, 5)))
				v := &sharing{all: 400, others: 150}
				for range 3 {
					f.listening(f.add(0), 6, func() map[string]fanout.Said { return map[string]fanout.Said{"l": v.call()} })
				}
				time.Sleep(5*time.Minute - time.Second)
				writes := saidWrites(f)
				v.mu.Lock()
				v.others = -1000 // now there is more than the spec allows
				v.mu.Unlock()
				from := time.Now().Add(5 * time.Second)
				time.Sleep(2 * time.Minute)
				f.fits(f.close())
				if v.refused > 0 {
					t.Errorf("%d calls were refused", v.refused)
				}
				for i, n := range v.served[:5] {
					if n > 250 || n < 225 {
						t.Errorf("%d calls in minute %d, 250 were left", n, i)
					}
				}
				if writes > 5*60*2 {
					t.Errorf("%d writes in five minutes", writes)
				}
				rate := float64(f.vendor.Between(from, from.Add(90*time.Second))) / 90
				t.Logf("served %v, %d writes, then %.1f/s", v.served, writes, rate)
				if want := map[string]float64{"window": 10, "bucket": 10, "hour": 12}[name]; rate < 0.97*want {
					t.Errorf("%.1f calls a second where headers bind no more, want %.1f", rate, want)
				}
			})
		})
	}
}

// A process that never hears an answer obeys what another has heard; and what has
// been booked when the vendor says that nothing is left is withdrawn.
func TestNothingLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, bucket(20, 5))
		f.add(20)
		m := f.add(20)
		time.Sleep(5 * time.Second)
		at := time.Now()
		reset := at.Add(30 * time.Second)
		if err := m.Said(t.Context(), fanout.Call{}, at, map[string]fanout.Said{"b": {Counted: true, Reset: reset}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		f.fits(f.close())
		if n := f.vendor.Between(at.Add(100*time.Millisecond+f.jitter), reset); n > 0 {
			t.Errorf("%d calls though nothing was left", n)
		}
		if n := f.vendor.Between(reset, reset.Add(10*time.Second)); n < 160 {
			t.Errorf("%d calls in ten seconds after the reset", n)
		}
	})
}

// Whatever headers say, nothing is ever faster than the spec.
func TestHeadersNeverSpeedUp(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(3, seed))
			var mu sync.Mutex
			f := newFleet(t, named("a", bucket(20, 5)), named("b", window(150, 10*time.Second)), named("c", perHour(1500, nil)))
			number := func() int { return []int{-1 << 40, -1, 0, 1, 2, 5, 20, 100, 10_000, 1 << 40}[rnd.IntN(10)] }
			garbage := func() map[string]fanout.Said {
				mu.Lock()
				defer mu.Unlock()
				if rnd.IntN(4) > 0 {
					return nil
				}
				out := map[string]fanout.Said{}
				for _, name := range []string{"a", "b", "c", "d"} {
					s := fanout.Said{Count: number(), Per: time.Duration(number()) * time.Second, Counted: rnd.IntN(2) == 0, Left: number(), Cost: number()}
					if rnd.IntN(2) == 0 {
						s.Reset = time.Now().Add(time.Duration(number()) * 10 * time.Millisecond)
					}
					out[name] = s
				}
				return out
			}
			for range 3 {
				f.listening(f.add(0), 8, garbage)
			}
			time.Sleep(4 * time.Minute)
			all := f.close()
			f.fits(all)
			for hour, n := range byPeriod(all, time.UTC, "15") {
				if n > 1500 {
					t.Errorf("%d calls in hour %s", n, hour)
				}
			}
			if len(all) < 5 {
				t.Errorf("%d calls: the test shows little", len(all))
			}
		})
	}
}
