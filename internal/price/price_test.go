package price_test

import (
	"math"
	"testing"

	"github.com/sluicehq/sluice/internal/price"
)

// TestRun: a bill that was added up by hand.
func TestRun(t *testing.T) {
	lines := price.USEast1.Run(price.Work{
		SQSRequests: 1e6, DynamoWrites: 1e6, DynamoReads: 1e6, S3Puts: 1000, S3Gets: 1000,
		LambdaRequests: 1e6, LambdaSeconds: 8000, LambdaMB: 128, LakeSeconds: 100, LakeMB: 512, Ticks: 1e6, LogBytes: 2e9,
	})
	want := 0.40 + 0.625 + 0.125 + 0.005 + 0.0004 + 0.20 + 1050*0.0000133334 + 1.00 + 1.00
	if got := price.Sum(lines); math.Abs(got-want) > 1e-9 {
		t.Errorf("$%.6f, want $%.6f: %v", got, want, lines)
	}
}

func TestDay(t *testing.T) {
	lines := price.USEast1.Day(price.Standing{MetricHours: 6 * 24, AlarmMetrics: 30, QueuePolls: 1e6, TableGB: 3})
	want := 6*0.30/30 + 30*0.10/30 + 0.40 + 3*0.45/30
	if got := price.Sum(lines); math.Abs(got-want) > 1e-9 {
		t.Errorf("$%.6f, want $%.6f: %v", got, want, lines)
	}
}
