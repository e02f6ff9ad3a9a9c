package fanout_test

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

func TestLatencies(t *testing.T) {
	l := fanout.Latencies{}
	if got := l.Quantile(0.5); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
	other := fanout.Latencies{}
	for i := 1; i <= 1000; i++ {
		[]fanout.Latencies{l, other}[i%2].Add(time.Duration(i) * time.Millisecond)
	}
	l.Merge(other)
	for q, want := range map[float64]time.Duration{0.001: time.Millisecond, 0.5: 500 * time.Millisecond, 0.95: 950 * time.Millisecond, 1: time.Second} {
		if got := l.Quantile(q); got < want*9/10 || got > want*11/10 {
			t.Errorf("quantile %v is %v, want %v within a tenth", q, got, want)
		}
	}
	if len(l) > 45 {
		t.Errorf("%d classes from 1 ms to 1 s", len(l))
	}
}
