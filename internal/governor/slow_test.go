package governor_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
)

// optimistic writes as awsfleet's governorStore does: read, fn, a conditional
// put on the revision that takes its time on the way.
type optimistic struct {
	*governortest.Model
	put func() time.Duration
}

var errConflict = errors.New("conflict")

func (o optimistic) Update(ctx context.Context, vendor string, fn func(*governor.Item) error) error {
	for try := 0; ; try++ {
		if try == 8 {
			return errConflict
		}
		it, err := o.Load(ctx, vendor)
		if err != nil {
			return err
		}
		was := it.Rev
		if err := fn(&it); err != nil {
			return err
		}
		time.Sleep(o.put())
		err = o.Model.Update(ctx, vendor, func(cur *governor.Item) error {
			if cur.Rev != was {
				return errConflict
			}
			*cur = it
			return nil
		})
		if !errors.Is(err, errConflict) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// aws is how a fleet there is configured.
func aws(c *governor.Config) {
	c.Poll, c.Spread, c.Slow = 500*time.Millisecond, 10*time.Millisecond, time.Second
}

// TestSlowWrite: a brake and a new limit hold though their write takes nearly as
// long as is waited for.
func TestSlowWrite(t *testing.T) {
	for _, delay := range []time.Duration{20, 300, 700, 880} {
		for _, what := range []string{"limit", "throttle"} {
			t.Run(fmt.Sprint(what, int(delay)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := bucket(20, 3)
					f := newFleet(t, l)
					f.add(60, aws)
					slow := optimistic{f.store.Handle(), func() time.Duration { return delay * time.Millisecond }}
					var b *member
					if what == "throttle" {
						b = f.add(0, aws, func(c *governor.Config) { c.Store = slow })
					}
					for i := range 40 {
						time.Sleep(3*time.Second + time.Duration(i)*77*time.Millisecond)
						if what == "throttle" {
							if err := b.Throttled(t.Context(), time.Now(), 0); err != nil {
								t.Fatal(err)
							}
							b.Alive()
						} else {
							c := halved(l)
							c.Count = 20 - i%2 - 1
							if err := governor.SetLimit(t.Context(), slow, "v", c, l, me); err != nil {
								t.Fatal(err)
							}
						}
					}
					f.fits(f.close())
				})
			})
		}
	}
}

// TestOperatorBehind: an operator's machine is 0.9 s behind, which a store's Date header cannot show.
func TestOperatorBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bucket(50, 5)
		f := newFleet(t, l)
		f.store.Resolution = time.Second
		f.add(60, aws)
		f.add(60, aws)
		for i := range 10 {
			time.Sleep(3*time.Second + time.Duration(i)*77*time.Millisecond)
			// what SetLimit does by a clock that is 0.9 s behind
			at := time.Now().Add(-900 * time.Millisecond).UTC().Round(0)
			err := f.store.Update(t.Context(), "v", func(it *governor.Item) error {
				it.Rev++
				it.Epoch++
				it.Cuts = append(it.Cuts, governor.Cut{Epoch: it.Epoch, At: at.Add(100 * time.Millisecond), Made: at, Last: it.Booked})
				if it.Booked.After(at.Add(100 * time.Millisecond)) {
					it.Booked = at.Add(100 * time.Millisecond)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		f.fits(f.close())
	})
}
