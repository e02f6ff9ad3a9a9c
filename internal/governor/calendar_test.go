package governor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func perDay(n int, z *time.Location) governor.Limit {
	return governor.Limit{Name: "day", Kind: governor.Calendar, Count: n, Per: governor.Day, Zone: z}
}

func perHour(n int, z *time.Location) governor.Limit {
	return governor.Limit{Name: "hour", Kind: governor.Calendar, Count: n, Per: governor.Hour, Zone: z}
}

// A day or an hour is what the clocks of its zone show, also when they are set.
func TestPeriods(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		u, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, c := range []struct {
		zone, at, from string
		length         time.Duration
		hour           bool
	}{
		{"America/Los_Angeles", "2026-03-08T20:00:00Z", "2026-03-08T08:00:00Z", 23 * time.Hour, false},
		{"America/Los_Angeles", "2026-11-01T08:00:00Z", "2026-11-01T07:00:00Z", 25 * time.Hour, false},
		{"America/Los_Angeles", "2026-11-02T07:59:59Z", "2026-11-01T07:00:00Z", 25 * time.Hour, false},
		{"America/Los_Angeles", "2026-11-02T08:00:00Z", "2026-11-02T08:00:00Z", 24 * time.Hour, false},
		{"Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-28T23:00:00Z", 23 * time.Hour, false},
		{"Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", 25 * time.Hour, false},
		{"America/Havana", "2026-11-01T04:30:00Z", "2026-11-01T04:00:00Z", 25 * time.Hour, false}, // midnight comes twice
		{"Africa/Cairo", "2026-04-23T23:30:00Z", "2026-04-23T22:00:00Z", 23 * time.Hour, false},   // and here it does not come
		{"UTC", "2026-11-01T23:59:59.999Z", "2026-11-01T00:00:00Z", 24 * time.Hour, false},
		{"Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", 2 * time.Hour, true}, // 2:00 to 3:00, twice
		{"Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T00:00:00Z", 2 * time.Hour, true},
		{"Europe/Berlin", "2026-10-25T02:30:00Z", "2026-10-25T02:00:00Z", time.Hour, true},
		{"Asia/Kolkata", "2026-10-25T02:30:00Z", "2026-10-25T02:30:00Z", time.Hour, true},
		{"Australia/Lord_Howe", "2026-04-04T15:10:00Z", "2026-04-04T14:00:00Z", 90 * time.Minute, true},
	} {
		l := perDay(1, zone(t, c.zone))
		if c.hour {
			l = perHour(1, zone(t, c.zone))
		}
		from, to := governor.Period(l, at(c.at))
		if !from.Equal(at(c.from)) || to.Sub(from) != c.length {
			t.Errorf("%s in %s: %v, %v long; want %s, %v", c.at, c.zone, from, to.Sub(from), c.from, c.length)
		}
	}
}

// patiently calls as a worker does that looks again once a minute.
func (m *member) patiently(pause time.Duration) {
	for m.ctx.Err() == nil {
		permit, err := m.Take(m.ctx, fanout.Call{})
		if err == nil {
			m.call(permit.Release)
			continue
		}
		select {
		case <-m.ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

func (f *fleet) patient(callers int, pause time.Duration) *member {
	m := f.add(0)
	for range callers {
		m.wg.Go(func() { m.patiently(pause) })
	}
	return m
}

// byPeriod counts arrivals as a vendor does that goes by what its clock shows.
func byPeriod(arrivals []time.Time, z *time.Location, layout string) map[string]int {
	n := map[string]int{}
	for _, a := range arrivals {
		n[a.In(z).Format(layout)]++
	}
	return n
}

// The vendor's count per day is never passed and used up, over both changes of the
// clock, in zones on either side; and so is that per hour.
func TestCalendar(t *testing.T) {
	t.Parallel()
	rates := map[string]governor.Limit{"rate": bucket(5, 5), "in flight": {Name: "f", InFlight: 8}}
	for _, c := range []struct {
		zone, begin string
		hour        bool
	}{
		{"America/Los_Angeles", "2000-04-01T12:00:00Z", false}, {"America/Los_Angeles", "2000-10-28T12:00:00Z", false},
		{"Europe/Berlin", "2000-03-25T12:00:00Z", false}, {"Europe/Berlin", "2000-10-28T12:00:00Z", false},
		{"America/Los_Angeles", "2000-04-02T04:10:00Z", true}, {"America/Los_Angeles", "2000-10-29T04:10:00Z", true},
		{"Europe/Berlin", "2000-03-25T20:10:00Z", true}, {"Europe/Berlin", "2000-10-28T20:10:00Z", true},
	} {
		for kind, other := range rates {
			if kind == "in flight" && c.zone != "Europe/Berlin" {
				continue
			}
			if !everyCase && (c.hour != (kind == "in flight") || c.zone == "Europe/Berlin" && !c.hour) {
				continue // by day both changes in Los Angeles, by hour both in Berlin
			}
			t.Run(fmt.Sprint(c.zone, c.begin, kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const quota = 300
					z := zone(t, c.zone)
					begin, _ := time.Parse(time.RFC3339, c.begin)
					time.Sleep(time.Until(begin))
					l, layout, span, pause := perDay(quota, z), "2006-01-02", 60*time.Hour, 20*time.Minute
					if c.hour {
						l, layout, span, pause = perHour(quota, z), "2006-01-02 15", 8*time.Hour, 3*time.Minute
					}
					f := newFleet(t, l, other)
					for range 2 {
						f.patient(4, pause)
					}
					time.Sleep(span)
					all := f.close()
					f.fits(all)
					counts := byPeriod(all, z, layout)
					for name, n := range counts {
						if n > quota || n < quota*99/100 {
							t.Errorf("%d calls in %s, of %d", n, name, quota)
						}
					}
					if len(counts) < 3 {
						t.Errorf("only %v", counts)
					}
					for _, a := range all {
						from, to := governor.Period(l, a)
						if a.Sub(from) < time.Second || to.Sub(a) < time.Second {
							t.Errorf("a call at %v, beside the reset", a.In(z))
						}
					}
				})
			})
		}
	}
}

// Restarts and crashes keep the count: what a process had booked stays counted.
func TestCalendarSurvives(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]governor.Limit{"rate": bucket(20, 5), "in flight": {Name: "f", InFlight: 8}} {
		if !everyCase && name != "rate" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				quota := map[string]int{"rate": 4000, "in flight": 8000}[name] // trouble ends before it is used up
				f := newFleet(t, perHour(quota, nil), other)
				f.latency = 200 * time.Millisecond
				time.Sleep(time.Minute)
				for i := range 20 {
					m := f.patient(5, time.Second)
					if i%3 == 0 {
						m.lost.Store(2) // writes that count, and whose answer is lost
					}
					time.Sleep(8 * time.Second)
					trouble(t, f, m, rand.New(rand.NewPCG(1, uint64(i))))
					if i%2 == 0 {
						m.crash()
					} else {
						m.kill()
						m.wg.Wait()
						_ = m.Close()
					}
				}
				m := f.patient(5, time.Minute)
				m.wg.Go(func() { m.probeAlways(func(context.Context) error { f.vendor.Begin()(); return nil }) })
				time.Sleep(time.Minute)
				m.kill() // it would look for outages all the time
				f.patient(5, time.Minute)
				f.patient(5, time.Minute)
				time.Sleep(time.Hour + 15*time.Minute)
				counts := byPeriod(f.close(), time.UTC, "2006-01-02 15")
				for name, n := range counts {
					if n > quota || name != "2000-01-01 00" && n < quota*99/100 {
						t.Errorf("%d calls in the hour of %s, of %d", n, name, quota)
					}
				}
				t.Log(counts)
				if len(counts) != 2 || counts["2000-01-01 00"] < quota*9/10 {
					t.Errorf("%v", counts)
				}
			})
		})
	}
}

// Used up, everybody is told which limit it is, and until when.
func TestCalendarUsedUp(t *testing.T) {
	t.Parallel()
	z := zone(t, "America/Los_Angeles")
	for name, limits := range map[string][]governor.Limit{
		"rate": {bucket(20, 5), perDay(50, z)}, "nothing else": {perDay(50, z)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, limits...)
				m := f.patient(5, time.Second)
				time.Sleep(20 * time.Second)
				if n := len(f.vendor.Arrivals()); n != 50 {
					t.Errorf("%d calls", n)
				}
				_, err := m.Take(t.Context(), fanout.Call{})
				const why = "limit day is used up until 2000-01-01 00:00 PST (America/Los_Angeles)"
				if !errors.Is(err, fanout.ErrNoPermit) || !strings.Contains(err.Error(), why) {
					t.Errorf("Take: %v", err)
				}
				reset := time.Date(2000, 1, 1, 8, 0, 0, 0, time.UTC)
				o, err := m.Outlook(t.Context(), "", 10*time.Second)
				if err != nil || o.Hold != fanout.Free || o.Calls != 0 || o.Why != why || o.Next.Before(reset) || o.Next.After(reset.Add(3*time.Second)) {
					t.Errorf("outlook: %+v, %v", o, err)
				}
				if n := m.Now(); n.Binds != "limit day" {
					t.Errorf("what binds: %q", n.Binds)
				}
				r, err := governor.Look(t.Context(), f.store, "v", f.limits, 0)
				if q := r.Limits[len(r.Limits)-1].Quota; err != nil || q == nil || q.Used != 50 || !q.Reset.Equal(reset) {
					t.Errorf("status: %+v, %v", q, err)
				}
				w, _ := f.store.Counts()
				time.Sleep(5 * time.Minute)
				if again, _ := f.store.Counts(); again > w+2 {
					t.Errorf("%d writes while it waits", again-w)
				}
				f.close()
			})
		})
	}
}

// An operator's count holds for the period that has begun, too.
func TestCalendarOverride(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := perDay(100, nil)
		f := newFleet(t, bucket(20, 5), l)
		f.patient(10, time.Second)
		set := func(n int, per, long time.Duration, spec governor.Limit) error {
			return governor.SetLimit(t.Context(), f.store, "v", governor.Change{Limit: "day", Count: n, Per: per, For: long}, spec, me)
		}
		calls := func(what string, want int) {
			t.Helper()
			time.Sleep(time.Minute)
			if n := len(f.vendor.Arrivals()); n != want {
				t.Errorf("%s: %d calls, want %d", what, n, want)
			}
		}
		if err := set(200, governor.Day, 0, l); !errors.Is(err, governor.ErrAboveCeiling) {
			t.Errorf("above the spec: %v", err)
		}
		if err := set(2, governor.Hour, 0, l); err == nil || !strings.Contains(err.Error(), "per day") {
			t.Errorf("another period: %v", err)
		}
		if err := set(40, governor.Day, 10*time.Minute, l); err != nil {
			t.Fatal(err)
		}
		calls("lowered", 40)
		time.Sleep(10 * time.Minute)
		calls("as in the spec", 100)
		if err := set(130, governor.Day, 0, governor.Limit{}); err != nil {
			t.Fatal(err)
		}
		calls("raised", 130)
		f.close()
	})
}
