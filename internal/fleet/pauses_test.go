package fleet_test

import (
	"context"
	"math"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

// hours counts calls by the clock's hour.
type hours struct {
	http.Handler
	mu sync.Mutex
	n  map[string]int
}

func (h *hours) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.n[time.Now().UTC().Format("2006-01-02 15")]++
	h.mu.Unlock()
	h.Handler.ServeHTTP(w, r)
}

// TestPauses: a run that does not fit into what an hour allows says so before it
// begins, waits, goes on by itself, and makes no call too many; also when the
// process that works it is stopped and another one goes on.
func TestPauses(t *testing.T) {
	for name, limits := range map[string]string{
		"hour and rate":  "  - {name: calls, bucket: 50/s, burst: 5}\n  - {name: hour, calendar: 300/hour}\n",
		"a tier's hour":  "  - {name: calls, bucket: 50/s, burst: 5}\n  - {name: hour, calendar: 300/hour, tiers: [data]}\n",
		"hour alone":     "  - {name: hour, calendar: 300/hour}\n",
		"hour and rates": "  - {name: calls, bucket: 50/s, burst: 5}\n  - {name: data, window: 60/m, tiers: [data]}\n  - {name: hour, calendar: 300/hour}\n",
	} {
		if !everyCase && name != "hour and rate" && name != "a tier's hour" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tree := vendorsim.Scaled(80)
				h := &hours{Handler: vendorsim.New(vendorsim.Config{Tree: tree, Token: "s3cret", Latency: 100 * time.Millisecond}), n: map[string]int{}}
				f := simVirtual(t, limits, h)
				given := fleet.Assume{Latency: 100 * time.Millisecond, Tasks: map[string]int{
					"devices": tree.Groups, "datagroups": tree.Devices, "data": tree.Datagroups,
				}}
				time.Sleep(50 * time.Minute)
				p, err := f.Forecast(t.Context(), given)
				if err != nil {
					t.Fatal(err)
				}
				if len(p.Pauses) == 0 || p.Pauses[0].Limit != "hour" || p.Pauses[0].To != 10*time.Minute {
					t.Errorf("pauses %+v", p.Pauses)
				}
				began := time.Now()
				stopInThePause(t, f)
				_, _ = walk(t, f, 1)
				took := time.Since(began)
				off := 100 * (p.Duration.Seconds() - took.Seconds()) / took.Seconds()
				t.Logf("said %v, took %v, %+.1f %%, pauses %v, by hour %v", p.Duration, took, off, p.Pauses, h.n)
				if math.Abs(off) > 5 {
					t.Errorf("the plan is off by %.1f %%", off)
				}
				most := 300
				if name == "a tier's hour" {
					most += 1 + tree.Groups + tree.Devices
				}
				for hour, n := range h.n {
					if n > most {
						t.Errorf("%d calls in the hour of %s", n, hour)
					}
				}
			})
		})
	}
}

// stopInThePause begins the run and stops its process in the first pause.
func stopInThePause(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	from := time.Date(1999, 12, 1, 0, 0, 0, 0, time.UTC)
	r, err := f.Seed(t.Context(), fanout.Window{From: from, To: from.AddDate(0, 0, 1)}, false, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Workers(secrets{"token": "s3cret"}, r.Seeds[0])
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	_, _ = w.Run(ctx, context.WithoutCancel(t.Context()), r.ID)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
