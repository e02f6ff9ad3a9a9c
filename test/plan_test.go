//go:build prove

package test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/vendorsim"
)

// TestPlan is what a run of the real program is said to take, before the first
// as given and before the second by the tree of the first, against what it took.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name, limits string
		latency      time.Duration
	}{
		{"bucket 50/s burst 5", "{name: calls, bucket: 50/s, burst: 5}", 20 * time.Millisecond},
		{"window 300 in 10 s", "{name: calls, window: 300/10s}", 150 * time.Millisecond},
		{"4 in flight", "{name: flight, in_flight: 4}", 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := vendorsim.Scaled(20)
			s := newSite(t, tree, c.limits)
			if err := s.Misbehave(vendorsim.Trouble{Slow: vendorsim.Duration(c.latency)}); err != nil {
				t.Fatal(err)
			}
			for i, args := range [][]string{
				{"--tasks", "devices=20", "--tasks", "datagroups=250", "--tasks", "data=1250", "--latency", (c.latency + 5*time.Millisecond).String()}, {},
			} {
				var plan struct {
					Calls   int
					Seconds float64
				}
				out := run(t, s.env, 0, append([]string{"plan", s.spec, "--json"}, args...)...)
				if err := json.Unmarshal([]byte(out), &plan); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				day := []string{"2026-01-01", "2026-01-02"}
				run(t, s.env, 0, s.args("run", s.spec, "--no-progress", "--from", day[i], "--to", []string{"2026-01-02", "2026-01-03"}[i])...)
				var status []struct {
					Runs []struct {
						Took float64 `json:"took_seconds"`
					}
				}
				if err := json.Unmarshal([]byte(run(t, s.env, 0, "status", s.spec, "--json")), &status); err != nil {
					t.Fatal(err)
				}
				took := status[0].Runs[0].Took
				off := 100 * (plan.Seconds - took) / took
				t.Logf("plan, %s, %s: %d calls, said %.1f s, took %.1f s: %+.1f %%", c.name, []string{"as given", "as learned"}[i], plan.Calls, plan.Seconds, took, off)
				if math.Abs(off) > 5 {
					t.Errorf("the plan is off by %.1f %%", off)
				}
			}
		})
	}
}
