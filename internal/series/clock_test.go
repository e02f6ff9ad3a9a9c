package series_test

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/series"
)

func at(slices int) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(slices) * series.Slice)
}

func lost(pairs ...any) map[string]time.Duration {
	out := map[string]time.Duration{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i].(string)] = pairs[i+1].(time.Duration)
	}
	return out
}

// TestClock: every second went somewhere, once.
func TestClock(t *testing.T) {
	const s = time.Second
	pause := series.Hold{Kind: series.Paused, From: at(2), To: at(4).Add(5 * s)}
	for _, c := range []struct {
		name     string
		samples  []series.Sample
		from, to time.Time
		holds    []series.Hold
		want     map[string]time.Duration
	}{
		{"one process", []series.Sample{{At: at(0), Worked: 10 * s, Lost: lost("limit a", 6*s, "vendor", 3*s)}}, at(0), at(1), nil,
			lost("limit a", 6*s, "vendor", 3*s, series.Waiting, s)},
		{"two side by side", []series.Sample{{At: at(0), Process: "p", Worked: 10 * s, Lost: lost("limit a", 10*s)}, {At: at(0), Process: "q", Worked: 10 * s, Lost: lost("vendor", 10*s)}},
			at(0), at(1), nil, lost("limit a", 5*s, "vendor", 5*s)},
		{"begun within a slice", []series.Sample{{At: at(0), Worked: 10 * s, Lost: lost("limit a", 10*s)}}, at(0).Add(6 * s), at(1), nil, lost("limit a", 4*s)},
		{"nobody there", []series.Sample{{At: at(0), Worked: 10 * s, Lost: lost("us", 10*s)}}, at(0), at(3), nil, lost("us", 10*s, series.Nobody, 20*s)},
		{"who is paused has left", []series.Sample{{At: at(0), Worked: 10 * s, Lost: lost("us", 10*s)}}, at(0), at(6), []series.Hold{pause},
			lost("us", 10*s, series.Paused, 25*s, series.Nobody, 25*s)},
		{"who is paused has stayed", []series.Sample{{At: at(2), Worked: 10 * s, Lost: lost(series.Paused, 10*s)}, {At: at(3), Worked: 10 * s, Lost: lost(series.Paused, 10*s)}},
			at(2), at(5), []series.Hold{pause}, lost(series.Paused, 25*s, series.Nobody, 5*s)},
		{"nothing is known", nil, at(0), at(1), nil, lost(series.Nobody, 10*s)},
	} {
		var sum series.Summing
		for _, sample := range c.samples {
			sum.Add(sample)
		}
		got, whole := sum.Done().Clock(c.from, c.to, c.holds), time.Duration(0)
		for what, d := range got {
			if whole += d; d != c.want[what] {
				t.Errorf("%s: %s took %v, want %v", c.name, what, d, c.want[what])
			}
		}
		if len(got) != len(c.want) || whole != c.to.Sub(c.from) {
			t.Errorf("%s: %v of %v, want %v", c.name, got, c.to.Sub(c.from), c.want)
		}
	}
}

// TestHolds: a brake that two processes report is one, and an outage goes on
// through the slices that tell of it.
func TestHolds(t *testing.T) {
	var sum series.Summing
	brake := series.Brake{Set: at(0).Add(time.Second), Until: at(0).Add(3 * time.Second), Why: "429"}
	longer := brake
	longer.Until = at(1)
	for i, down := range []string{"", "503", "503", "", "503"} {
		for _, process := range []string{"p", "q"} {
			s := series.Sample{At: at(i), Process: process, Down: down}
			if i == 0 {
				s.Brake = map[string]*series.Brake{"p": &brake, "q": &longer}[process]
			}
			sum.Add(s)
		}
	}
	want := []series.Hold{{Kind: series.Braked, From: brake.Set, To: at(1), Why: "429"}, {Kind: series.Outage, From: at(1), To: at(3), Why: "503"}, {Kind: series.Outage, From: at(4), To: at(5), Why: "503"}}
	got := sum.Done().Holds
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("hold %d is %v, want %v", i, got[i], want[i])
		}
	}
}
