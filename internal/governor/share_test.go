package governor_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
)

func TestModel(t *testing.T) {
	t.Parallel()
	models := map[string]*governortest.Model{}
	governortest.TestStore(t, func(t *testing.T) governor.Store {
		if models[t.Name()] == nil {
			models[t.Name()] = governortest.NewModel()
		}
		return models[t.Name()].Handle()
	})
}

// Four processes with full queues, goroutines that are late at random within
// what is planned, and the worst jitter: no window is over, and the share is
// what the kind allows, less one point.
func TestShare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit governor.Limit
		run   time.Duration
		table float64 // the share the table promises
		wpc   float64
	}{
		{bucket(10, 2), time.Minute, 1, 0.22},
		{bucket(50, 2), time.Minute, 1, 0.085},
		{bucket(200, 5), time.Minute, 1, 0.021},
		{bucket(1000, 20), 20 * time.Second, 1, 0.012},
		{window(20, time.Second), time.Minute, 1 / 1.030, 0.15},
		{window(100, 5*time.Second), time.Minute, 5 / 5.030, 0.15},
		{window(500, time.Minute), 3 * time.Minute, 60 / 60.080, 0.3},
		{governor.Limit{Name: "s", Kind: governor.Spacing, Count: 5, Per: time.Second}, time.Minute, 0.2 / 0.225, 0.42},
		{governor.Limit{Name: "b1", Kind: governor.Bucket, Count: 4, Per: time.Second, Burst: 1}, time.Minute, 0.25 / 0.275, 0.42},
	} {
		t.Run(fmt.Sprintf("%s %d per %v", c.limit.Kind, c.limit.Count, c.limit.Per), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, c.limit)
				_, late := governor.Plan(c.limit, 0)
				f.latency = 10 * time.Millisecond // 1,000/s and 32 calls at once
				f.late = late / 3                 // three stalls on the way from slot to call
				for range 4 {
					f.add(150)
				}
				time.Sleep(c.run + time.Second)
				f.fits(f.close())
				share := f.share(c.limit, time.Second, c.run+time.Second)
				t.Logf("share %.4f (target %.4f), %.4f writes per call (target %.3f), late %v%s", share, c.table-0.01, f.writesPerCall(), c.wpc, late, f.figures())
				if share < c.table-0.01 {
					t.Errorf("used %.4f of the limit, want %.4f", share, c.table-0.01)
				}
				if w := f.writesPerCall(); w > c.wpc {
					t.Errorf("%.4f writes per call, want %.3f at most", w, c.wpc)
				}
			})
		})
	}
}

// One process with a full queue: the targets of writes per call.
func TestWritesPerCall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate int
		most float64
	}{{5, 0.5}, {10, 0.1}, {50, 0.02}, {200, 0.02}} {
		t.Run(fmt.Sprint(c.rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := bucket(c.rate, 5)
				f := newFleet(t, l)
				f.add(2 * c.rate)
				time.Sleep(time.Minute)
				f.fits(f.close())
				share := f.share(l, time.Second, time.Minute)
				t.Logf("%d/s, one process: share %.4f (target 0.99), %.4f writes per call (target %.2f)%s", c.rate, share, f.writesPerCall(), c.most, f.figures())
				if w := f.writesPerCall(); w > c.most || share < 0.99 {
					t.Errorf("%.4f writes per call, share %.4f", w, share)
				}
			})
		})
	}
}

// Goroutines later than planned: permits are forfeited, never bunched.
func TestTooLate(t *testing.T) {
	t.Parallel()
	for _, l := range []governor.Limit{bucket(200, 5), window(20, time.Second), window(500, 10*time.Second)} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, l)
			f.late = 60 * time.Millisecond
			for range 3 {
				f.add(100)
			}
			time.Sleep(30 * time.Second)
			f.fits(f.close())
			forfeited := 0
			for _, m := range f.members {
				forfeited += m.Stats().Forfeited
			}
			t.Logf("share %.3f, forfeited %d", f.share(l, 0, 30*time.Second), forfeited)
			if forfeited == 0 {
				t.Error("nobody was late: the test shows nothing")
			}
		})
	}
}

// Several limits bind every call.
func TestTwoLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := window(500, 10*time.Second)
		f := newFleet(t, bucket(200, 5), w)
		for range 4 {
			f.add(100)
		}
		time.Sleep(61 * time.Second)
		f.fits(f.close())
		share := f.share(w, time.Second, 61*time.Second)
		t.Logf("share of the window %.4f%s", share, f.figures())
		if share < 10/10.030-0.01 {
			t.Errorf("used %.4f of the window", share)
		}
	})
}

// Processes come and go and crash; the rest use what is left.
func TestCrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(200, 5)
		f := newFleet(t, l)
		for range 4 {
			f.add(100)
		}
		for i := range 6 {
			time.Sleep(5 * time.Second)
			f.members[i].crash()
			f.add(100)
		}
		time.Sleep(30 * time.Second)
		f.fits(f.close())
		share := f.share(l, time.Second, time.Minute)
		t.Logf("share with 6 crashes %.4f", share)
		if share < 0.95 {
			t.Errorf("used %.4f of the limit", share)
		}
		if s := f.share(l, 35*time.Second, time.Minute); s < 0.99 {
			t.Errorf("used %.4f of the limit after the last crash", s)
		}
	})
}

// A process that is stopped for 2 s wakes up with slots long past.
func TestFrozen(t *testing.T) {
	t.Parallel()
	for _, l := range []governor.Limit{bucket(200, 5), window(100, time.Second)} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, l)
			for range 4 {
				f.add(100)
			}
			for i := range 12 {
				time.Sleep(3*time.Second + time.Duration(i*37)*time.Millisecond)
				f.members[i%4].freezeFor(2 * time.Second)
			}
			time.Sleep(8 * time.Second)
			f.fits(f.close())
			if share := f.share(l, 41*time.Second, 46*time.Second); share < 0.99*l.Share(0) {
				t.Errorf("used %.4f of the limit afterwards", share)
			}
		})
	}
}

// What Check says of limits that cannot be used in full, and of nonsense.
func TestCheck(t *testing.T) {
	t.Parallel()
	notes, err := governor.Check([]governor.Limit{
		{Name: "full", Kind: governor.Bucket, Count: 10, Per: time.Second, Burst: 5},
		{Name: "small", Kind: governor.Bucket, Count: 200, Per: time.Second, Burst: 5},
		{Name: "lowered", Kind: governor.Bucket, Count: 200, Per: time.Second, Burst: 5, Jitter: 20 * time.Millisecond},
		{Name: "window", Kind: governor.Window, Count: 500, Per: time.Minute},
		{Name: "places", InFlight: 3},
	}, 0)
	want := []string{
		`limit "small": one call every 5ms, 100.0 % of 200 per 1s: its burst leaves room for 10ms of jitter on the way to the vendor; say ` + "`jitter`" + ` if there is more`,
		`limit "lowered": one call every 6ms, 83.3 % of 200 per 1s: a burst of 5 is too small for calls that arrive up to 25ms apart from plan`,
		`limit "window": one call every 120.16ms, 99.9 % of 500 per 1m0s: a call may start 60ms late`,
	}
	if err != nil || !slices.Equal(notes, want) {
		t.Errorf("%v\n%s", err, strings.Join(notes, "\n"))
	}
	for _, bad := range [][]governor.Limit{
		nil,
		{{Name: "a"}},
		{{Name: "a", Kind: "sometimes", Count: 1, Per: 1}},
		{{Name: "a", Kind: governor.Window, Count: 1}},
		{{Name: "a", Kind: governor.Bucket, Count: 2_000_000, Per: time.Second}},
		{{Name: "a", InFlight: 1}, {Name: "a", InFlight: 2}},
		{{Name: "a", InFlight: 1, Jitter: -1}},
	} {
		if _, err := governor.Check(bad, 0); err == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

// A permit says until when its request may be written: as late as the plan
// counts on, by the machine's own clock.
func TestPermitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bucket(10, 2)
		f := newFleet(t, l)
		m := f.add(0)
		_, late := governor.Plan(l, 0)
		permit, err := m.Take(t.Context(), fanout.Call{})
		if err != nil {
			t.Fatal(err)
		}
		permit.Release()
		if left := time.Until(permit.By); left <= 0 || left > late {
			t.Errorf("%v left for a call that may be %v late", left, late)
		}
		f.close()
	})
}
