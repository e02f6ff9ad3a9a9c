package governor_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
)

// hears lets every process of the fleet hear a number with each of its calls.
func hears(t *testing.T, f *fleet, counts ...int) {
	t.Helper()
	for i, m := range f.members {
		if err := m.Said(t.Context(), fanout.Call{}, time.Now(), map[string]fanout.Said{"b": {Count: counts[i%len(counts)]}, "nobody's": {Count: 3}}); err != nil {
			t.Error(err)
		}
	}
}

func saidWrites(f *fleet) int {
	n := 0
	for _, m := range f.members {
		n += m.Stats().Writes["said"]
	}
	return n
}

// A vendor that says less than the spec is believed at once, by everybody, for
// one write; saying it again costs one now and then; when it says more the rate
// rises, at most to the spec's; when it says nothing more it does so by itself.
func TestSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(20, 5)
		f := newFleet(t, l)
		for range 3 {
			f.add(8)
		}
		during := func(d time.Duration, counts ...int) (from time.Time) {
			from = time.Now()
			for end := from.Add(d); time.Now().Before(end); time.Sleep(150 * time.Millisecond) {
				if len(counts) > 0 {
					hears(t, f, counts...)
				}
			}
			return from
		}
		expect := func(what string, from time.Time, rate float64, writes int) {
			t.Helper()
			from = from.Add(12 * time.Second) // as long as more is waited with
			n, want := f.vendor.Between(from, from.Add(10*time.Second)), int(10*rate)
			if n > want+6 || n < want*96/100-1 {
				t.Errorf("%s: %d calls in 10 s, want %d", what, n, want)
			}
			if w := saidWrites(f); w != writes {
				t.Errorf("%s: %d writes, want %d", what, w, writes)
			}
		}
		expect("the spec's", during(25*time.Second, 20, 1000, 0, -5), 20, 0)
		from := during(25*time.Second, 8)
		fits(t, f, from.Add(200*time.Millisecond), time.Now(), 8)
		expect("8", from, 8, 1)
		expect("8 again", during(260*time.Second, 8), 8, 2)
		expect("12", during(25*time.Second, 12), 12, 3)
		expect("more than the spec", during(25*time.Second, 80), 20, 4)
		expect("6", during(25*time.Second, 6), 6, 5)
		from = during(5*time.Minute + 30*time.Second)
		expect("silence", from, 6, 5)
		expect("long silence", from.Add(5*time.Minute), 20, 5)
		f.fits(f.close())
		r, err := governor.Status(t.Context(), f.store, "v", f.limits, 0)
		if err != nil || len(r.Log) != 4 || r.Log[0].New != "8/s" || r.Log[0].Old != "20/s" || r.Log[1].Old != "8/s" || r.Log[2].New != "as before" || r.Log[3].What != "limit b" {
			t.Errorf("log %+v, %v", r.Log, err)
		}
	})
}

// fits checks that what arrived between two instants keeps a bucket of the
// fleet's burst at the given rate.
func fits(t *testing.T, f *fleet, from, to time.Time, rate int) {
	t.Helper()
	var some []time.Time
	for _, at := range f.vendor.Arrivals() {
		if at.After(from) && at.Before(to) {
			some = append(some, at)
		}
	}
	if err := governortest.CheckBucket(some, rate, time.Second, f.limits[0].Burst); err != nil {
		t.Error(err)
	}
}

// A vendor that says now this, now that, is taken at the smaller number, and
// does not keep the fleet writing.
func TestSaidInTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(100, 5)
		f := newFleet(t, l)
		f.add(60)
		f.add(60)
		for i := range 600 {
			hears(t, f, []int{80, 50, 100}[i%3])
			time.Sleep(50 * time.Millisecond)
		}
		if w := saidWrites(f); w == 0 || w > 4 {
			t.Errorf("%d writes in 30 s", w)
		}
		if n := f.vendor.Between(f.begin.Add(10*time.Second), f.begin.Add(30*time.Second)); n > 1006 || n < 970 {
			t.Errorf("%d calls in 20 s at 50/s", n)
		}
		f.close()
	})
}

// What the vendor says and what the operator says hold both.
func TestSaidAndSetLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(100, 5)
		for _, c := range []struct {
			set, said int
			spec      governor.Limit
			want      float64
			writes    int
		}{
			{60, 80, l, 60, 0},
			{60, 40, l, 40, 1},
			{200, 150, governor.Limit{}, 150, 1},
			{200, 300, governor.Limit{}, 200, 0},
		} {
			f := newFleet(t, l)
			m := f.add(0)
			if err := governor.SetLimit(t.Context(), f.store, "v", governor.Change{Limit: "b", Count: c.set, Per: time.Second}, c.spec, me); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Outlook(t.Context(), "", time.Second); err != nil {
				t.Fatal(err)
			}
			hears(t, f, c.said)
			r, err := governor.Status(t.Context(), f.store, "v", f.limits, 0)
			if err != nil || int(r.Limits[0].Rate+0.5) != int(c.want) || saidWrites(f) != c.writes {
				t.Errorf("%+v: %.2f/s, %d writes, %v", c, r.Limits[0].Rate, saidWrites(f), err)
			}
			f.close()
		}
	})
}

// One number, misread or absurd, takes no more than ninety-nine hundredths away.
func TestSaidFloor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ count, said, want int }{
			{1000, 1, 10}, {1000, 9, 10}, {1000, 10, 10}, {1000, 11, 11}, {1001, 1, 11}, {50, 1, 1}, {1000, 0, 1000}, {1000, -1, 1000},
		} {
			f := newFleet(t, bucket(c.count, 5))
			m := f.add(0)
			if _, err := m.Outlook(t.Context(), "", time.Second); err != nil {
				t.Fatal(err)
			}
			hears(t, f, c.said)
			hears(t, f, c.said) // is known
			r, err := governor.Status(t.Context(), f.store, "v", f.limits, 0)
			if err != nil || r.Limits[0].Now.Count != c.want {
				t.Errorf("%d said of %d: %d (%v)", c.said, c.count, r.Limits[0].Now.Count, err)
			}
			if w := saidWrites(f); w > 1 {
				t.Errorf("%d said of %d: %d writes", c.said, c.count, w)
			}
			f.close()
		}
	})
}
