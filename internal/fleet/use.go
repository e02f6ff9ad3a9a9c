package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/internal/series"
)

// A Use is how much of a vendor's limits its fleet has used in a time that has
// just passed.
type Use struct {
	Span      time.Duration
	Calls     int
	Throttled int
	Share     map[string]float64       // of what each limit allowed, 0 to 1
	Lost      map[string]time.Duration // where the clock's time went: to what bound the work, the vendor, us
}

// Uses is a vendor's use over some spans, and what the vendor last said.
type Uses struct {
	Spans  []Use
	Latest series.Sum // of the last whole minute
	Said   map[string]string
	SaidAt time.Time
}

// Uses adds up what the whole fleet did in the spans before the present slice,
// and what there is of that: a sample is written when its slice, or its process's
// work, ends. rates are the calls a second that each limit allows now; they stand
// for the times without a sample.
func (f *Fleet) Uses(ctx context.Context, rates map[string]float64, spans ...time.Duration) (Uses, error) {
	var out Uses
	store := f.backend.Series()
	if store == nil || len(spans) == 0 {
		return out, nil
	}
	end := time.Now().UTC().Truncate(series.Slice)
	longest := time.Minute
	for _, s := range spans {
		longest = max(longest, s)
	}
	sums := make([]series.Summing, len(spans))
	var minute series.Summing
	err := store.Read(ctx, f.Plan.Name, end.Add(-longest), end.Add(series.Slice), func(s series.Sample) error {
		if s.Said != nil {
			out.Said, out.SaidAt = s.Said, s.At.Add(series.Slice)
		}
		if !s.At.Before(end.Add(-time.Minute)) {
			minute.Add(s)
		}
		for i, span := range spans {
			if !s.At.Before(end.Add(-span)) { // with what there is of the present slice
				sums[i].Add(s)
			}
		}
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("reading what the fleet of %s did: %w", f.Plan.Name, err)
	}
	out.Latest = minute.Done()
	for i, span := range spans {
		out.Spans = append(out.Spans, useOf(sums[i].Done(), span, rates))
	}
	return out, nil
}

func useOf(sum series.Sum, span time.Duration, rates map[string]float64) Use {
	all := sum.All()
	u := Use{Span: span, Calls: all.Calls, Throttled: all.Throttled, Share: map[string]float64{}, Lost: sum.Went}
	idle := max(0, span-time.Duration(sum.Slices)*series.Slice)
	for limit, r := range rates {
		if allowed := sum.Allowed[limit] + r*idle.Seconds(); allowed > 0 {
			u.Share[limit] = float64(all.Calls) / allowed
		}
	}
	return u
}

// DoneIn is what the fleet did while a run was open, until now at the latest.
func (f *Fleet) DoneIn(ctx context.Context, opened, closed time.Time) (series.Sum, error) {
	store := f.backend.Series()
	if store == nil {
		return series.Sum{}, nil
	}
	if closed.IsZero() {
		closed = time.Now()
	}
	return series.Over(ctx, store, f.Plan.Name, opened.Add(-series.Slice), closed) // the slices in which it was opened and closed included
}
