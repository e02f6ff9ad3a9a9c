package lake_test

import (
	"context"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/landing"
)

// BenchmarkConvert converts landed objects of 12-field records, from what a
// worker has landed to staged Parquet: run it with one core (-cpu 1).
func BenchmarkConvert(b *testing.B) {
	s := &site{raw: newBucket(), bucket: newBucket()}
	s.lake = s.benched(b)
	rows, bytes := s.landDay(b, 32<<20)
	b.SetBytes(int64(bytes))
	var objects []string
	if err := landing.New(s.raw).Objects(b.Context(), "acme-1", "data", func(o string) error { objects = append(objects, o); return nil }); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.bucket.objects = map[string][]byte{}
		for _, o := range objects {
			if err := s.lake.Convert(context.Background(), o); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkPublish merges and casts what is staged.
func BenchmarkPublish(b *testing.B) {
	s := &site{raw: newBucket(), bucket: newBucket()}
	s.lake = s.benched(b)
	rows, bytes := s.landDay(b, 64<<20)
	b.SetBytes(int64(bytes))
	for b.Loop() {
		b.StopTimer()
		s.bucket.objects = map[string][]byte{}
		if err := landing.New(s.raw).Objects(b.Context(), "acme-1", "data", func(o string) error { return s.lake.Convert(b.Context(), o) }); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := s.lake.Publish(b.Context(), "acme-1", time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
