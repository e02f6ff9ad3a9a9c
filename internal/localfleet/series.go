package localfleet

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sluicehq/sluice/internal/series"
)

// Series keeps what the fleets that share this home did over time.
func (h *Home) Series() series.Store { return samples{h} }

// samples implements series.Store.
type samples struct{ h *Home }

// keepSamples is for how long samples are kept.
const keepSamples = 400 * 24 * time.Hour

// Add implements series.Store. With it goes what is too old to be kept.
func (s samples) Add(ctx context.Context, vendor string, sample series.Sample) error {
	doc, err := json.Marshal(sample)
	if err != nil {
		return wrap(err, "packing a sample of %s", vendor)
	}
	_, err = s.h.db.ExecContext(ctx, `INSERT OR REPLACE INTO samples (vendor, at, process, doc) VALUES (?, ?, ?, ?)`, vendor, nanos(sample.At), sample.Process, string(doc))
	if err == nil {
		_, err = s.h.db.ExecContext(ctx, `DELETE FROM samples WHERE vendor = ? AND at < ?`, vendor, nanos(sample.At.Add(-keepSamples)))
	}
	return wrap(err, "keeping a sample of %s", vendor)
}

// Read implements series.Store.
func (s samples) Read(ctx context.Context, vendor string, from, to time.Time, f func(series.Sample) error) error {
	return each(ctx, s.h.readers, func(scan func(...any) error) error {
		var doc string
		if err := scan(&doc); err != nil {
			return err
		}
		var sample series.Sample
		if err := json.Unmarshal([]byte(doc), &sample); err != nil {
			return err
		}
		return f(sample)
	}, `SELECT doc FROM samples WHERE vendor = ? AND at >= ? AND at < ? ORDER BY at, process`, vendor, nanos(from), nanos(to))
}
