package columns

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// measures are rows as an API of measurements gives them: three texts, five
// numbers, two integers, a truth and an instant as text.
func measures(seed uint64, rows int) [][]byte {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([][]byte, rows)
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	states := []string{"ok", "warning", "critical", "unknown"}
	load, temperature := 40.0, 21.5
	for i := range out {
		load += r.NormFloat64()
		temperature += r.NormFloat64() / 10
		out[i] = fmt.Appendf(nil, `{"device":"dev-%05d","interface":"eth%d/%d","state":%q,"load":%.2f,"temperature":%.1f,"ratio":%.4f,"latency_ms":%.3f,"loss":%g,"octets":%d,"errors":%d,"up":%t,"time":%q}`,
			i/200, i/48%4, i%48, states[r.IntN(100)/97], load, temperature, r.Float64(), 1+r.ExpFloat64()*20, float64(r.IntN(3))/2,
			int64(i)*1500+r.Int64N(100000), r.IntN(4)*r.IntN(3), r.IntN(50) > 0, at.Add(time.Duration(i)*5*time.Second).Format(time.RFC3339))
	}
	return out
}

// stage puts rows into records of a hundred.
func stage(s *Staging, rows [][]byte) error {
	at := time.Date(2026, 3, 2, 3, 4, 5, 0, time.UTC)
	for i, row := range rows {
		if i%100 == 0 {
			rec := i / 100
			s.Begin(rec, Record{Path: []string{fmt.Sprintf("group-%03d", rec/50), fmt.Sprintf("dev-%05d", rec)}, Task: fmt.Sprintf("0123456789abcdef%016x", rec*7919),
				Fetch: fmt.Sprintf("fedcba98%08x", rec*104729), At: at.Add(time.Duration(rec) * 200 * time.Millisecond)})
		}
		if err := s.Add(row); err != nil {
			return err
		}
	}
	return nil
}

func BenchmarkConvert(b *testing.B) {
	rows := measures(1, 50000)
	size := 0
	for _, row := range rows {
		size += len(row) + 1
	}
	s := NewStaging("vendor", "2026-03-01", "object-1", []string{"groups", "devices"})
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if err := stage(s, rows); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Write(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(rows))/b.Elapsed().Seconds(), "rows/s")
}

// TestSmaller: staged and published files are at least a fifth smaller than
// their rows as compressed lines.
func TestSmaller(t *testing.T) {
	rows := measures(1, 10000)
	var packed, file bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, 6)
	raw := 0
	for _, row := range rows {
		z.Write(append(row, '\n'))
		raw += len(row) + 1
	}
	z.Close()
	s := NewStaging("vendor", "2026-03-01", "object-1", []string{"groups", "devices"})
	if err := stage(s, rows); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(&file); err != nil {
		t.Fatal(err)
	}
	var published bytes.Buffer
	in := []Input{{File: bytes.NewReader(file.Bytes()), Size: int64(file.Len())}}
	if _, err := Cast(context.Background(), in, schemaOf(), 128<<20, func() (File, error) { return discard{&published}, nil }); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of rows: %d with gzip -6, %d staged, %d published", raw, packed.Len(), file.Len(), published.Len())
	for what, n := range map[string]int{"staged": file.Len(), "published": published.Len()} {
		if 10*n > 8*packed.Len() {
			t.Errorf("%d bytes %s, %d with gzip -6: not a fifth smaller", n, what, packed.Len())
		}
	}
}
