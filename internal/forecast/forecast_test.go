package forecast_test

import (
	"math"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/forecast"
	"github.com/sluicehq/sluice/internal/price"
)

// day is the reference day's tree.
func day(scale int) []forecast.Tier {
	l := 100 * time.Millisecond
	return []forecast.Tier{
		{Name: "groups", Tasks: 1, Known: 1, Latency: l},
		{Name: "devices", Tasks: 400 * scale, Latency: l},
		{Name: "datagroups", Tasks: 5000 * scale, Latency: l},
		{Name: "data", Tasks: 25_000 * scale, Latency: l, Calls: 59_599.0 / 25_000},
	}
}

func local(f forecast.Fleet) forecast.Fleet {
	f.Own, f.Workers, f.Flush, f.FlushSize, f.Settle = 32, 1, 5*time.Second, 256, 10*time.Millisecond
	return f
}

func near(t *testing.T, what string, got, want time.Duration, within float64) {
	t.Helper()
	if off := math.Abs(float64(got-want)) / float64(want); off > within {
		t.Errorf("%s: %v, want %v within %.1f %%", what, got, want, 100*within)
	}
}

// TestWhatBinds: durations that follow from one bound alone.
func TestWhatBinds(t *testing.T) {
	tiers := day(1)
	calls := 1 + 400 + 5000 + 59_599.0
	r := forecast.Of(tiers, local(forecast.Fleet{Every: 200 * time.Millisecond}))
	near(t, "5/s", r.Duration, time.Duration(calls*200)*time.Millisecond, 0.001)
	if math.Abs(r.Calls-calls) > 0.5 || r.Tiers[3].Bound != forecast.Rate {
		t.Errorf("%v calls, the last tier is bound by %q", r.Calls, r.Tiers[3].Bound)
	}
	r = forecast.Of(tiers, local(forecast.Fleet{InFlight: 4}))
	near(t, "4 in flight", r.Duration, time.Duration(calls*100/4)*time.Millisecond, 0.01)
	if r.Tiers[3].Bound != forecast.InFlight {
		t.Errorf("the last tier is bound by %q", r.Tiers[3].Bound)
	}
	r = forecast.Of(tiers, local(forecast.Fleet{Every: time.Millisecond})) // 320/s is what 32 calls of 100 ms make
	near(t, "32 of our own", r.Duration, time.Duration(calls*100/32)*time.Millisecond, 0.02)
	if r.Tiers[3].Bound != forecast.Own {
		t.Errorf("the last tier is bound by %q", r.Tiers[3].Bound)
	}
	two := local(forecast.Fleet{Every: time.Millisecond})
	two.Workers = 2
	near(t, "64 of our own", forecast.Of(tiers, two).Duration, r.Duration/2, 0.05)
}

// TestResumed: of a run on its way only what is left takes time.
func TestResumed(t *testing.T) {
	tiers := day(1)
	for i := range tiers {
		tiers[i].Known, tiers[i].Ended = tiers[i].Tasks, tiers[i].Tasks
	}
	tiers[3].Ended = 24_000
	r := forecast.Of(tiers, local(forecast.Fleet{Every: 100 * time.Millisecond}))
	near(t, "the rest", r.Duration, time.Duration(1000*tiers[3].Calls)*100*time.Millisecond, 0.01)
	tiers[3].Ended = tiers[3].Tasks
	if r := forecast.Of(tiers, local(forecast.Fleet{Every: 100 * time.Millisecond})); r.Duration > 0 {
		t.Errorf("nothing is left, and takes %v", r.Duration)
	}
}

// TestSmall: a tree whose time goes into batches and wake-ups.
func TestSmall(t *testing.T) {
	tiers := []forecast.Tier{{Name: "a", Tasks: 1, Known: 1, Latency: time.Second}, {Name: "b", Tasks: 10, Latency: time.Second}, {Name: "c", Tasks: 100, Latency: time.Second}}
	f := local(forecast.Fleet{Every: time.Millisecond, Apart: true, Wake: 30 * time.Second, End: 30 * time.Second})
	// Each tier: woken after 30 s but the first, answers after 1 s, an idle flush.
	// The last tier's hundred calls, 32 at once, take four turns.
	want := 1 + 0.3 + 30 + 1 + 0.3 + 30 + 4 + 0.3 + 30
	near(t, "three tiers on AWS", forecast.Of(tiers, f).Duration, time.Duration(want*float64(time.Second)), 0.01)
}

// TestReferenceDay: the model of what AWS bills against the bill of the
// reference day that was counted (docs/aws.md).
func TestReferenceDay(t *testing.T) {
	f := forecast.Fleet{Every: 200 * time.Millisecond, Own: 32, Workers: 1, Apart: true, Flush: 10 * time.Second, FlushSize: 256, Wake: 30 * time.Second}
	r := forecast.Of(day(1), f)
	got := price.Sum(price.USEast1.Run(r.Work(forecast.Tree{Tasks: 30_401, Lists: 5401, Unique: 5000, Tiers: 4}, forecast.Memory(5))))
	for _, l := range price.USEast1.Run(r.Work(forecast.Tree{Tasks: 30_401, Lists: 5401, Unique: 5000, Tiers: 4}, 128)) {
		t.Log(l)
	}
	for _, tier := range r.Tiers {
		t.Logf("%+v", tier)
	}
	if got < 0.0774*0.92 || got > 0.0774*1.08 {
		t.Errorf("$%.4f, counted were $0.0774", got)
	}
	withLake := price.Sum(price.USEast1.Run(r.Work(forecast.Tree{Tasks: 30_401, Lists: 5401, Unique: 5000, Tiers: 4, Rows: 25_000}, forecast.Memory(5))))
	t.Logf("with its tables $%.4f", withLake)
	if more := withLake - got; more < 0.008 || more > 0.022 { // $0.014 for puts and gets of 1,250 objects (docs/aws.md), and the time of the function
		t.Errorf("its tables are to cost $%.4f more", more)
	}
	if mb := forecast.Memory(5); mb != 128 {
		t.Errorf("%d MB for 5 calls a second", mb)
	}
	if mb := forecast.Memory(60); mb != 256 {
		t.Errorf("%d MB for 60 calls a second", mb)
	}
}

// TestMillions: the effort does not depend on the tree.
func TestMillions(t *testing.T) {
	r := forecast.Of(day(200), local(forecast.Fleet{Every: 20 * time.Millisecond}))
	near(t, "13 million calls", r.Duration, time.Duration(r.Calls)*20*time.Millisecond, 0.001)
	if n := len(r.Depth); n < 50 || n > 200 {
		t.Errorf("%d points", n)
	}
}

func BenchmarkMillionNodes(b *testing.B) {
	for b.Loop() {
		forecast.Of(day(33), local(forecast.Fleet{Every: 20 * time.Millisecond}))
	}
}
