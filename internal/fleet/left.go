package fleet

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/internal/run"
)

// MinutesLeft estimates how long an open run still takes: what is left of each
// tier, by what is known and by the tree of the last run, at one call for a task
// and the rate that holds now. A fleet without a rate is taken to go on as it has.
func (f *Fleet) MinutesLeft(ctx context.Context, r run.Run, counts map[string]run.Count) float64 {
	var last *run.Verdict
	if r.Previous != "" {
		if p, err := f.Runs.Store.Get(ctx, r.Previous); err == nil {
			last = p.Verdict
		}
	}
	expected, _ := run.Expected(r.Tiers, counts, last)
	left, settled := 0, 0
	for i, tier := range r.Tiers {
		left += max(0, expected[i]-counts[tier].Settled())
		settled += counts[tier].Settled()
	}
	rep, err := f.GovernorStatus(ctx)
	switch {
	case err != nil:
		return 0
	case rep.Interval > 0:
		return float64(left) * rep.Interval.Minutes()
	case settled > 0:
		return float64(left) * time.Since(r.Opened).Minutes() / float64(settled)
	}
	return 0
}
