package governor_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
)

// A pause stops everybody within a poll, Take says so, Resume ends it.
func TestPause(t *testing.T) {
	t.Parallel()
	for _, byHand := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, bucket(200, 5))
			for range 3 {
				f.add(50)
			}
			time.Sleep(3 * time.Second)
			at := time.Now()
			var err error
			if byHand {
				err = governor.Pause(t.Context(), f.store, "v", me)
			} else {
				err = f.members[0].Stop(t.Context(), "401 from the vendor")
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
			if _, err := f.members[1].Take(t.Context(), fanout.Call{}); !errors.Is(err, fanout.ErrNoPermit) {
				t.Errorf("Take while stopped: %v", err)
			}
			o, err := f.members[1].Outlook(t.Context(), "", time.Second)
			want := map[bool]string{true: "paused by me: because", false: "credentials refused: 401 from the vendor"}[byHand]
			if err != nil || o.Hold != fanout.Stopped || o.Why != want || o.Calls != 0 {
				t.Errorf("outlook while stopped: %+v, %v", o, err)
			}
			if err := governor.Resume(t.Context(), f.store, "v", me); err != nil {
				t.Fatal(err)
			}
			back := time.Now()
			time.Sleep(3 * time.Second)
			f.fits(f.close())
			if n := f.vendor.Between(at, back); n > 24 {
				t.Errorf("%d calls while stopped", n)
			}
			if n := f.vendor.Between(back, back.Add(3*time.Second)); n < 3*200-30 {
				t.Errorf("%d calls in 3 s after the resume%s", n, f.figures())
			}
			checkLog(t, f)
		})
	}
}

func checkLog(t *testing.T, f *fleet) {
	t.Helper()
	r, err := governor.Status(t.Context(), f.store, "v", f.limits, 0)
	if err != nil || len(r.Log) != 2 || r.Log[0].What != "stop" || r.Log[1].What != "resume" || r.Log[1].By != "me" {
		t.Errorf("log %+v, %v", r.Log, err)
	}
}

func TestSetLimitRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, bucket(200, 5))
		spec := f.limits[0]
		spec.InFlight = 8
		for _, c := range []struct {
			change  governor.Change
			ceiling bool
		}{
			{governor.Change{Limit: "b", Count: 201, Per: time.Second}, true},
			{governor.Change{Limit: "b", Count: 100, Per: 400 * time.Millisecond}, true},
			{governor.Change{Limit: "b", Burst: 6}, true},
			{governor.Change{Limit: "b", InFlight: 9}, true},
			{governor.Change{Limit: "b", Count: 1}, false},
			{governor.Change{Limit: "b", Count: -1, Per: time.Second}, false},
			{governor.Change{Count: 1, Per: time.Second}, false},
		} {
			err := governor.SetLimit(t.Context(), f.store, "v", c.change, spec, me)
			if err == nil || errors.Is(err, governor.ErrAboveCeiling) != c.ceiling {
				t.Errorf("%+v: %v", c.change, err)
			}
		}
		if w, _ := f.store.Counts(); w != 0 {
			t.Errorf("%d writes", w)
		}
		f.close()
	})
}

func TestStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, bucket(200, 5), governor.Limit{Name: "f", InFlight: 8})
		f.add(20)
		c := governor.Change{Limit: "b", Count: 50, Per: time.Second, Burst: 2, For: time.Hour}
		if err := governor.SetLimit(t.Context(), f.store, "v", c, f.limits[0], me); err != nil {
			t.Fatal(err)
		}
		if err := governor.SetLimit(t.Context(), f.store, "v", governor.Change{Limit: "f", InFlight: 3}, f.limits[1], me); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		r, err := governor.Status(t.Context(), f.store, "v", f.limits, 0)
		if err != nil {
			t.Fatal(err)
		}
		if r.Limits[0].Now.Count != 50 || r.Limits[0].Now.Burst != 2 || r.Limits[0].Spec.Count != 200 || r.InFlight != 3 || r.Interval < 20*time.Millisecond {
			t.Errorf("%+v", r)
		}
		if len(r.Members) != 1 || len(r.Log) != 2 || r.Log[0].New != "50/s, burst 2 for 1h0m0s" || r.Log[0].Old != "as in the spec" {
			t.Errorf("%+v", r)
		}
		f.close()
		time.Sleep(time.Hour)
		if r, err = governor.Status(t.Context(), f.store, "v", f.limits, 0); err != nil || r.Limits[0].Now.Count != 200 || len(r.Members) != 0 {
			t.Errorf("after an hour: %+v, %v", r, err)
		}
	})
}

// An operator whose clock is wrong changes nothing.
func TestOperatorsClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, bucket(200, 5))
		f.store.Now = func() time.Time { return time.Now().Add(time.Minute) }
		err := governor.SetLimit(t.Context(), f.store, "v", halved(f.limits[0]), f.limits[0], me)
		if err == nil || !strings.Contains(err.Error(), "60.0 s behind") {
			t.Error(err)
		}
		f.close()
	})
}

func TestOutlook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(50, 4)
		f := newFleet(t, l)
		m := f.add(0)
		o, err := m.Outlook(t.Context(), "", 2*time.Second)
		if err != nil || o.Hold != fanout.Free || o.Calls < 95 || o.Calls > 101 || time.Until(o.Next) > 50*time.Millisecond {
			t.Errorf("fresh: %+v, %v", o, err)
		}
		_, reads := f.store.Counts()
		for range 100 {
			_, _ = m.Outlook(t.Context(), "", time.Second)
		}
		if _, again := f.store.Counts(); again != reads {
			t.Errorf("%d reads for 100 looks at once", again-reads)
		}
		if err := m.Throttled(t.Context(), time.Now(), 5*time.Second); err != nil {
			t.Fatal(err)
		}
		o, err = m.Outlook(t.Context(), "", 7*time.Second)
		if err != nil || o.Hold != fanout.Braked || time.Until(o.Next) != 5*time.Second || o.Calls < 20 || o.Calls > 101 {
			t.Errorf("braked: %+v, %v", o, err)
		}
		f.close()
	})
}

// Take gives up at its context's end, and with a limit so slow that the next
// permit is out of reach at once; what it was given goes to somebody else.
func TestTakeGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, governor.Limit{Name: "s", Kind: governor.Spacing, Count: 1, Per: time.Minute})
		m := f.add(0)
		permit, err := m.Take(t.Context(), fanout.Call{})
		if err != nil {
			t.Fatal(err)
		}
		permit.Release()
		permit.Release() // harmless
		began := time.Now()
		if _, err := m.Take(t.Context(), fanout.Call{}); !errors.Is(err, fanout.ErrNoPermit) || time.Since(began) > time.Second {
			t.Errorf("the next is a minute away: %v after %v", err, time.Since(began))
		}
		time.Sleep(45 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Take(ctx, fanout.Call{}); !errors.Is(err, fanout.ErrNoPermit) {
			t.Errorf("its context ended: %v", err)
		}
		if _, err := m.Take(t.Context(), fanout.Call{}); err != nil {
			t.Errorf("what the other left: %v", err)
		}
		if b := m.Stats().Booked; b != 2 {
			t.Errorf("%d permits booked, want 2", b)
		}
		f.close()
		if _, err := m.Take(t.Context(), fanout.Call{}); !errors.Is(err, fanout.ErrNoPermit) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// Nobody is sent away for what was true a while ago.
func TestResumeIsSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, bucket(50, 4))
		m := f.add(0)
		if err := governor.Pause(t.Context(), f.store, "v", me); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Take(t.Context(), fanout.Call{}); !errors.Is(err, fanout.ErrNoPermit) {
			t.Errorf("Take while paused: %v", err)
		}
		if err := governor.Resume(t.Context(), f.store, "v", me); err != nil {
			t.Fatal(err)
		}
		time.Sleep(60 * time.Millisecond) // more than a poll
		permit, err := m.Take(t.Context(), fanout.Call{})
		if err != nil {
			t.Fatalf("Take after the resume: %v", err)
		}
		permit.Release()
		f.close()
	})
}

// What an operator has set for good comes back after a change for a while, and
// the audit log says so.
func TestChangeForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := governortest.NewModel()
		l := governor.Limit{Name: "b", Kind: governor.Bucket, Count: 1000, Per: time.Second, Burst: 50}
		set := func(count int, span time.Duration) {
			t.Helper()
			c := governor.Change{Limit: "b", Count: count, Per: time.Second, Burst: 5, For: span}
			if err := governor.SetLimit(t.Context(), store, "v", c, l, governor.Note{By: "me", Why: "because"}); err != nil {
				t.Fatal(err)
			}
		}
		rate := func(want float64) governor.Report {
			t.Helper()
			rep, err := governor.Status(t.Context(), store, "v", []governor.Limit{l}, 0)
			if err != nil || math.Abs(rep.Limits[0].Rate-want) > 0.5 {
				t.Errorf("%.1f calls a second, want %.0f: %v", rep.Limits[0].Rate, want, err)
			}
			return rep
		}
		set(100, 0)
		rate(100)
		set(60, time.Minute)
		time.Sleep(time.Second)
		set(40, 30*time.Second) // on top of that: it ends, and with it the one before
		rate(40)
		time.Sleep(31 * time.Second)
		rep := rate(100)
		if last := rep.Log[len(rep.Log)-1]; last.Why != "its time is over" || !strings.HasPrefix(last.New, "100/s") {
			t.Errorf("the last change is %+v", last)
		}
		set(20, 10*time.Second)
		if err := governor.SetLimit(t.Context(), store, "v", governor.Change{Limit: "b"}, l, governor.Note{By: "me"}); err != nil {
			t.Fatal(err)
		}
		rate(1000) // taken back, all of it
	})
}
