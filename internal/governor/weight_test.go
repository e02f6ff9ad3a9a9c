package governor_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
)

// Calls that count several times keep every limit in every window, whatever their
// weights are, and most of it is used.
func TestWeights(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]governor.Limit{
		"bucket": {Name: "cost", Kind: governor.Bucket, Count: 100, Per: time.Second, Burst: 20},
		"window": {Name: "cost", Kind: governor.Window, Count: 300, Per: 10 * time.Second},
		"tight":  {Name: "cost", Kind: governor.Bucket, Count: 100, Per: time.Second, Burst: 5},
		"hour":   perHour(10_000, nil),
	} {
		for kind, of := range map[string]governor.Scope{
			"by tier": {Weight: map[string]int{"devices": 2, "data": 5}},
			"told":    {AtMost: 10},
		} {
			if name == "tight" && of.AtMost > l.Burst {
				continue // refused
			}
			t.Run(name+" "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := l
					l.Of = &of
					f := newFleet(t, l, named("all", bucket(1000, 50)))
					f.jitter = 20 * time.Millisecond
					v := &strict{}
					cost := func() int { return 7 }
					for range 3 {
						m := f.add(0)
						for _, tier := range []string{"groups", "devices", "data"} {
							f.scoped(m, v, tier, 15, cost)
						}
					}
					if time.Sleep(20 * time.Second); l.Kind != governor.Calendar {
						time.Sleep(20 * time.Second)
					}
					f.close()
					v.fits(t, l.Name, l)
					n := v.total(l.Name, f.begin.Add(10*time.Second), f.begin.Add(40*time.Second))
					if l.Kind == governor.Calendar {
						if n = v.total(l.Name, f.begin, f.begin.Add(time.Hour)); n > l.Count || n < l.Count*98/100 {
							t.Errorf("%d units in the hour, of %d", n, l.Count)
						}
						return
					}
					share := float64(n) / 30 / float64(l.Count) * l.Per.Seconds()
					t.Logf("share %.3f of %.3f", share, l.Share(0))
					if share < 0.95*l.Share(0) {
						t.Errorf("used %.3f of the limit", share)
					}
				})
			})
		}
	}
}

// What calls turn out to count is paid before the next ones.
func TestDebts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := named("cost", window(600, time.Minute))
		l.Of = &governor.Scope{AtMost: 10}
		f := newFleet(t, l)
		v := &strict{}
		f.scoped(f.add(0), v, "data", 30, func() int { return 1 + rand.IntN(10) })
		time.Sleep(20 * time.Minute)
		f.close()
		n := v.total("cost", f.begin, f.begin.Add(20*time.Minute))
		if n > 20*600*102/100 || n < 20*600*50/100 {
			t.Errorf("%d units in 20 minutes, at most 12,000 are right", n)
		}
	})
}
