package forecast_test

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/forecast"
)

// TestCounted: what does not fit into a day waits for the next, and says so.
func TestCounted(t *testing.T) {
	f := local(forecast.Fleet{Every: 200 * time.Millisecond})
	f.Bounds = []forecast.Bound{{Name: "day", Count: 30_000, Left: 10_000, Reset: func(after time.Duration) time.Duration {
		return (after - 12*time.Hour).Truncate(24*time.Hour) + 12*time.Hour + map[bool]time.Duration{true: 24 * time.Hour}[after >= 12*time.Hour]
	}}}
	r := forecast.Of(day(1), f) // 65,000 calls: 10,000, 30,000 and 25,000
	near(t, "three days' calls", r.Duration, 36*time.Hour+5000*time.Second, 0.001)
	if len(r.Pauses) != 2 || r.Pauses[0].Limit != "day" {
		t.Fatalf("pauses %+v", r.Pauses)
	}
	near(t, "the first pause's end", r.Pauses[0].To, 12*time.Hour, 0.0001)
	near(t, "the first pause's beginning", r.Pauses[0].From, 2000*time.Second, 0.01)
	near(t, "the second pause's beginning", r.Pauses[1].From, 12*time.Hour+6000*time.Second, 0.001)
	f.Bounds[0].Left = 100_000
	if r := forecast.Of(day(1), f); len(r.Pauses) != 0 {
		t.Errorf("it fits, and pauses: %+v", r.Pauses)
	}
}

// TestScoped: a tier's own limit binds it alone; calls that count several times
// take as many units.
func TestScoped(t *testing.T) {
	f := local(forecast.Fleet{Every: 10 * time.Millisecond})
	f.Bounds = []forecast.Bound{{Name: "devices", Every: time.Second, Units: []float64{0, 1, 0, 0}}}
	near(t, "a slow tier", forecast.Of(day(1), f).Duration, 65_000*10*time.Millisecond, 0.15) // the tiers below go on meanwhile
	f.Bounds[0].Every = 10 * time.Second
	near(t, "a very slow tier", forecast.Of(day(1), f).Duration, 400*10*time.Second, 0.02)
	f.Bounds = []forecast.Bound{{Name: "cost", Every: 10 * time.Millisecond, Units: []float64{1, 1, 1, 5}}}
	near(t, "a dear tier", forecast.Of(day(1), f).Duration, (5401+5*59_599)*10*time.Millisecond, 0.01)
}
