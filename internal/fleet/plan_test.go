package fleet_test

import (
	"context"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/fleet/fleettest"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

// simVirtual is a fleet in virtual time, over a simulated vendor with the limits.
func simVirtual(t *testing.T, limits string, sim http.Handler, change ...func(*fleet.Options)) *fleet.Fleet {
	t.Helper()
	return fleettest.New(t, limits).Fleet(t, fleettest.Vendor{Handler: sim}, change...)
}

// walk reads a day to its verdict and tells how long that took.
func walk(t *testing.T, f *fleet.Fleet, day int) (run.Run, time.Duration) {
	t.Helper()
	from := time.Date(1999, 12, day, 0, 0, 0, 0, time.UTC)
	began := time.Now()
	r, err := f.Seed(t.Context(), fanout.Window{From: from, To: from.AddDate(0, 0, 1)}, false, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Workers(secrets{"token": "s3cret"}, r.Seeds[0])
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.Run(t.Context(), context.WithoutCancel(t.Context()), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if !v.Complete() {
		t.Fatalf("verdict %+v", v)
	}
	return r, took
}

// TestPlanAgainstReality: what a run is said to take, before the first by what
// is given and before the second by the tree of the first, against what it took,
// under limits of every kind.
func TestPlanAgainstReality(t *testing.T) {
	for _, c := range []struct {
		name, limits string
		latency      time.Duration
		tree         int // one part in so many of the demo's
	}{
		{"bucket 50/s burst 5", "  - {name: calls, bucket: 50/s, burst: 5}\n", 100 * time.Millisecond, 80},
		{"window 300 in 10 s", "  - {name: calls, window: 300/10s}\n", 250 * time.Millisecond, 80},
		{"4 in flight", "  - {name: flight, in_flight: 4}\n", 150 * time.Millisecond, 80},
		{"20/s and 3 in flight", "  - {name: calls, bucket: 20/s, burst: 5}\n  - {name: flight, in_flight: 3}\n", 400 * time.Millisecond, 80},
		{"1,000/s, slow vendor", "  - {name: calls, bucket: 1000/s, burst: 50}\n", 2 * time.Second, 80},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tree := vendorsim.Scaled(c.tree)
				sim := vendorsim.New(vendorsim.Config{Tree: tree, Token: "s3cret", Latency: c.latency})
				f := simVirtual(t, c.limits, sim)
				given := fleet.Assume{Latency: c.latency, Tasks: map[string]int{
					"devices": tree.Groups, "datagroups": tree.Devices, "data": tree.Datagroups,
				}}
				for day, assume := range []fleet.Assume{given, {}} {
					p, err := f.Forecast(t.Context(), assume)
					if err != nil {
						t.Fatal(err)
					}
					if err := p.Complete(); err != nil {
						t.Fatal(err)
					}
					_, took := walk(t, f, day+1)
					off := 100 * (p.Duration.Seconds() - took.Seconds()) / took.Seconds()
					t.Logf("%-24s %-10s %6.0f calls  said %7.1f s  took %7.1f s  %+.1f %%", c.name, []string{"as given", "as learned"}[day], p.Calls, p.Duration.Seconds(), took.Seconds(), off)
					if math.Abs(off) > 5 {
						t.Errorf("the plan is off by %.1f %%", off)
					}
				}
			})
		})
	}
}
