package columns

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"
)

var tiers = []string{"groups", "devices"}

// spread are n staged files of so many rows, of devices that stand in all of
// them.
func spread(tb testing.TB, n, each int) (in []Input, bytesOfRows int) {
	rows := measures(1, each)
	for i := range n {
		s := NewStaging("vendor", "2026-03-01", fmt.Sprintf("object-%04d", i), tiers)
		for j, row := range rows {
			if rec := j / 50; j%50 == 0 {
				s.Begin(rec, Record{Path: []string{fmt.Sprintf("group-%02d", rec%7), fmt.Sprintf("dev-%05d-%03d", rec, i)}, Task: fmt.Sprintf("task-%d-%d", i, rec),
					Fetch: fmt.Sprintf("fetch-%d-%d", i, rec), At: time.Unix(1_772_359_200+int64(rec), 0)})
			}
			if err := s.Add(row); err != nil {
				tb.Fatal(err)
			}
			bytesOfRows += len(row) + 1
		}
		var file bytes.Buffer
		if _, err := s.Write(&file); err != nil {
			tb.Fatal(err)
		}
		in = append(in, Input{File: bytes.NewReader(bytes.Clone(file.Bytes())), Size: int64(file.Len())})
	}
	return in, bytesOfRows
}

// schemaOf is the table of measures.
func schemaOf() Schema {
	s := Schema{Path: tiers, Run: "2026-03-01", Generation: "0123456789ab", Source: "vendor"}
	for _, c := range []struct {
		name string
		t    Type
	}{{"device", TypeText}, {"interface", TypeText}, {"state", TypeText}, {"load", TypeDouble}, {"temperature", TypeDouble}, {"ratio", TypeDouble}, {"latency_ms", TypeDouble},
		{"loss", TypeDouble}, {"octets", TypeInt}, {"errors", TypeInt}, {"up", TypeBool}, {"time", TypeTimestamp}} {
		s.Columns = append(s.Columns, Column{Name: c.name, Field: c.name, Type: c.t})
	}
	return s
}

// discard is a file that nobody reads.
type discard struct{ io.Writer }

func (discard) Close() error { return nil }

func nowhere() (File, error) { return discard{io.Discard}, nil }

// peak runs something and says how much the heap in use grew at most, looked
// at every millisecond.
func peak(do func()) int64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	var most atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				metrics.Read(sample)
				most.Store(max(most.Load(), sample[0].Value.Uint64()))
			}
		}
	}()
	do()
	close(stop)
	<-done
	return int64(most.Load()) - int64(before)
}

func BenchmarkGather(b *testing.B) {
	benchMerge(b, func(in []Input) error {
		_, err := Gather(context.Background(), io.Discard, tiers, in)
		return err
	})
}

func BenchmarkCast(b *testing.B) {
	benchMerge(b, func(in []Input) error {
		_, err := Cast(context.Background(), in, schemaOf(), 128<<20, nowhere)
		return err
	})
}

func benchMerge(b *testing.B, do func([]Input) error) {
	for _, n := range []int{4, 64} {
		b.Run(fmt.Sprintf("inputs=%d", n), func(b *testing.B) {
			const each = 20000
			in, size := spread(b, n, each)
			b.SetBytes(int64(size))
			b.ResetTimer()
			most := int64(0)
			for b.Loop() {
				most = max(most, peak(func() {
					if err := do(in); err != nil {
						b.Fatal(err)
					}
				}))
			}
			b.ReportMetric(float64(b.N*n*each)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(most)/(1<<20), "MB-peak")
		})
	}
}

// TestMemory: what a merge holds depends on its inputs, not on their rows.
func TestMemory(t *testing.T) {
	defer func(l layout) { stagedLayout = l }(stagedLayout)
	stagedLayout.group = 512 << 10
	heap := func(each int) int64 {
		in, _ := spread(t, 4, each)
		most := int64(0)
		rows := 0
		m, err := openMerge(context.Background(), in, tiers)
		if err != nil {
			t.Fatal(err)
		}
		defer m.close()
		meta, _ := metadataOf(ptr(schemaOf()))
		k := newCasting(meta)
		for _, c := range m.all {
			c.plan = k.plan(c)
		}
		if k.making, err = meta.make(io.Discard, 1<<20); err != nil {
			t.Fatal(err)
		}
		before := inUse()
		for c, err := m.next(); c != nil; c, err = m.next() {
			if err == nil {
				err = k.row(c)
			}
			if err == nil {
				_, err = k.end()
			}
			if err != nil {
				t.Fatal(err)
			}
			if rows++; rows%(each/2) == each/4 {
				most = max(most, inUse()-before)
			}
		}
		if rows != 4*each {
			t.Fatalf("%d rows", rows)
		}
		return most
	}
	heap(1000) // what is made once
	small, large := heap(3000), heap(12000)
	t.Logf("%d KB in use with 12,000 rows, %d KB with 48,000", small>>10, large>>10)
	if large > small+small/4+1<<20 || large > 16<<20 {
		t.Errorf("%d KB in use with 12,000 rows, %d KB with 48,000", small>>10, large>>10)
	}
}

func ptr[T any](v T) *T { return &v }

// inUse is what is reachable.
func inUse() int64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
