// Package seriestest holds the conformance suite that every store of samples
// passes.
package seriestest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/series"
)

// Store checks a store that holds no samples of vendor and perhaps other.
func Store(t *testing.T, store series.Store, vendor string) {
	at := time.Now().UTC().Truncate(series.Slice).Add(-time.Hour)
	sample := func(i int, process string) series.Sample {
		return series.Sample{
			At: at.Add(time.Duration(i) * series.Slice), Process: process, Worked: 9 * time.Second,
			Tiers: map[string]series.Tier{"data": {Calls: i + 1, Took: fanout.Latencies{-3: 1, 20: i}, Vendor: time.Second}},
			Lost:  map[string]time.Duration{"limit calls": time.Minute}, Rates: map[string]float64{"calls": 4.5},
			Brake: &series.Brake{Set: at, Until: at.Add(time.Second), Why: "429"}, Said: map[string]string{"X-Ratelimit-Limit": "100"},
			Runs: map[string]map[string]series.Left{"r": {"data": {Known: 9, Ended: 3, Dead: 1}}}, Used: map[string]float64{"sqs": 12},
		}
	}
	read := func(from, to int) (got []series.Sample) {
		t.Helper()
		err := store.Read(t.Context(), vendor, at.Add(time.Duration(from)*series.Slice), at.Add(time.Duration(to)*series.Slice),
			func(s series.Sample) error { got = append(got, s); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := read(0, 100); len(got) != 0 {
		t.Fatalf("%d samples in an empty store", len(got))
	}
	for _, i := range []int{3, 0, 2, 1} {
		for _, process := range []string{"b", "a"} {
			if err := store.Add(t.Context(), vendor, sample(i, process)); err != nil {
				t.Fatal(err)
			}
		}
	}
	again := sample(2, "a")
	again.Worked = time.Second
	if err := store.Add(t.Context(), vendor, again); err != nil {
		t.Fatal(err)
	}
	want := []series.Sample{sample(1, "a"), sample(1, "b"), again, sample(2, "b")}
	if got := read(1, 3); !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%s\nwant\n%s", text(got), text(want))
	}
	if got := read(0, 100); len(got) != 8 {
		t.Errorf("%d samples, want 8", len(got))
	}
	enough := errors.New("enough")
	n := 0
	err := store.Read(t.Context(), vendor, at, at.Add(time.Hour), func(series.Sample) error { n++; return enough })
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("a reader who has had enough is shown %d samples: %v", n, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.Add(ended, vendor, sample(9, "a")); err == nil {
		t.Error("a sample is kept though the context has ended")
	}
}

func text(ss []series.Sample) (out string) {
	for _, s := range ss {
		out += fmt.Sprintf("%+v\n", s)
	}
	return out
}
