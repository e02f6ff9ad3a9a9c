package governor_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
)

// Slots of random calls, booked at random times with pauses of all lengths, by way
// of the item's text each time, keep every limit of every lane.
func TestLanesKeepEveryLimit(t *testing.T) {
	t.Parallel()
	for seed := range uint64(cases(3, 12)) {
		rnd := rand.New(rand.NewPCG(11, seed))
		each, cost := named("each", window(30, time.Minute)), named("cost", bucket(60, 12))
		each.Of = &governor.Scope{Tiers: []string{"apps"}, Each: "accounts"}
		cost.Of = &governor.Scope{Weight: map[string]int{"apps": 3, "devices": 5}}
		limits := []governor.Limit{tiers(named("slow", bucket(2, 2)), "devices"), each, cost, perHour(900, nil)}
		if seed%4 > 0 {
			limits = append(limits, []governor.Limit{window(100, 5*time.Second), bucket(20, 5), {Name: "s", Kind: governor.Spacing, Count: 20, Per: time.Second}}[seed%4-1])
		}
		cfg := governor.Config{Vendor: "v", Limits: limits, Store: governortest.NewModel()}
		valued(&cfg)
		g, err := governor.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		f := &fleet{t: t, limits: limits}
		now, it, n := time.Date(2026, 11, 21, 11, 30, 0, 0, time.UTC), governor.Item{}, 0
		v := &strict{units: map[string][]unit{}}
		for range 1500 {
			now = now.Add(pauseOf(rnd))
			tier, value := []string{"groups", "apps", "devices"}[rnd.IntN(3)], fmt.Sprint(rnd.IntN(4))
			for _, at := range g.BookItem(&it, now, fanout.Call{Tier: tier, Node: fanout.Node{Path: []string{value}}}, 1+rnd.IntN(4)) {
				if at.Before(now) {
					t.Fatalf("seed %d: a slot in the past", seed)
				}
				f.counts(v, tier, value, at)
				n++
			}
			it = again(t, it)
		}
		for _, l := range limits {
			v.fits(t, l.Name, l)
		}
		for value := range 4 {
			v.fits(t, fmt.Sprint("each=", value), each)
		}
		for hour, n := range byPeriod(times(v.units["hour"]), time.UTC, "2 15") {
			if n > 900 {
				t.Errorf("seed %d: %d calls in hour %s", seed, n, hour)
			}
		}
		if n < 1000 {
			t.Errorf("seed %d: %d slots: the test shows little", seed, n)
		}
		if t.Failed() {
			return
		}
	}
}

// pauseOf is mostly as short as between bookings, and now and then a long one.
func pauseOf(rnd *rand.Rand) time.Duration {
	most := 400 * time.Millisecond
	switch rnd.IntN(40) {
	case 0:
		most = time.Minute
	case 1:
		most = 5 * time.Minute
	}
	return time.Duration(rnd.Int64N(int64(most)))
}

// again is an item after it has been written and read.
func again(t *testing.T, it governor.Item) (out governor.Item) {
	t.Helper()
	doc, err := json.Marshal(it)
	if err == nil {
		err = out.UnmarshalJSON(doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// counts notes what a call counts in each limit that binds it.
func (f *fleet) counts(v *strict, tier, value string, at time.Time) {
	for _, l := range f.limits {
		key, n, ok := f.bindsIn(l, tier, value)
		if ok {
			v.units[key] = append(v.units[key], unit{at, n})
		}
	}
}

func times(units []unit) (at []time.Time) {
	for _, u := range units {
		at = append(at, u.at)
	}
	return at
}
