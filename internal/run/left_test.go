package run_test

import (
	"slices"
	"testing"

	"github.com/sluicehq/sluice/internal/run"
)

func TestExpected(t *testing.T) {
	tiers := []string{"groups", "devices", "data"}
	last := &run.Verdict{Tiers: []run.TierSum{{Tier: "groups", Known: 1}, {Tier: "devices", Known: 400}, {Tier: "data", Known: 4000}}}
	for _, c := range []struct {
		name   string
		counts map[string]run.Count
		last   *run.Verdict
		tasks  []int
		exact  []bool
	}{
		{"nothing has ended, nothing is remembered", map[string]run.Count{"groups": {Known: 1}}, nil, []int{1, 0, 0}, []bool{true, false, false}},
		{"by the last run's tree", map[string]run.Count{"groups": {Known: 1}}, last, []int{1, 400, 4000}, []bool{true, false, false}},
		{"a tier is exact once all above has ended", map[string]run.Count{"groups": {Known: 1, Done: 1}, "devices": {Known: 380, Done: 38}, "data": {Known: 400}},
			last, []int{1, 380, 3800}, []bool{true, true, false}},
		{"without a last run, by the average so far", map[string]run.Count{"groups": {Known: 1, Done: 1}, "devices": {Known: 100, Done: 10}, "data": {Known: 70, Gone: 1}},
			nil, []int{1, 100, 700}, []bool{true, true, false}},
		{"all has ended", map[string]run.Count{"groups": {Known: 1, Done: 1}, "devices": {Known: 3, Done: 2, Dead: 1}, "data": {Known: 9, Done: 9}},
			last, []int{1, 3, 9}, []bool{true, true, true}},
	} {
		tasks, exact := run.Expected(tiers, c.counts, c.last)
		if !slices.Equal(tasks, c.tasks) || !slices.Equal(exact, c.exact) {
			t.Errorf("%s: %v %v, want %v %v", c.name, tasks, exact, c.tasks, c.exact)
		}
	}
}
