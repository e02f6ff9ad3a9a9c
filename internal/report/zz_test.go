package report_test

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
	"github.com/sluicehq/sluice/internal/fanout"
)

func TestZZ(t *testing.T) {
	tiers := []string{"groups", "devices", "datagroups", "data", "extra"}
	n := 4 * 360
	r := run.Run{ID: id, Vendor: "acme", Tiers: tiers, Opened: opened, State: run.Closed, Closed: opened.Add(time.Duration(n) * 10 * time.Second), Seeds: make([]fanout.Task, 1),
		Verdict: &run.Verdict{Seeds: 1, Known: 65000, Done: 65000, Tiers: []run.TierSum{{Tier: "groups", Known: 1, Done: 1}, {Tier: "devices", Known: 400, Done: 400}, {Tier: "datagroups", Known: 5000, Done: 5000}, {Tier: "data", Known: 25000, Done: 25000, Rows: 999999}, {Tier: "extra", Known: 34599, Done: 34599}}}}
	var samples []series.Sample
	for i := range n {
		for _, p := range []string{"a", "b"} {
			s := series.Sample{At: at(i), Process: p, Tiers: map[string]series.Tier{}, Rates: map[string]float64{"calls": 5, "hour": 30}, Runs: map[string]map[string]series.Left{id: {}}}
			l := fanout.Latencies{}
			for range 25 {
				l.Add(time.Duration(50+rand.ExpFloat64()*rand.ExpFloat64()*200) * time.Millisecond)
			}
			if i%300 == 200 { l.Add(20 * time.Second) }
			s.Tiers["data"] = series.Tier{Calls: 10 + rand.IntN(3), Took: l}
			s.Tiers["extra"] = series.Tier{Calls: 10 + rand.IntN(3), Took: l}
			if i < 300 { s.Tiers["datagroups"] = series.Tier{Calls: 3} }
			s.Lost = map[string]time.Duration{"limit calls": 8*time.Second, "limit hour": time.Second, "in flight calls": time.Second, "vendor": 2*time.Second, "us": time.Second}
			if i%100 == 50 { s.Brake = &series.Brake{Set: at(i), Until: at(i).Add(4*time.Second), Why: "429"} }
			s.Runs[id]["data"] = series.Left{Known: min(25000, i*40), Ended: min(25000, i*18)}
			s.Runs[id]["extra"] = series.Left{Known: min(34599, i*50), Ended: min(34599, i*24)}
			s.Runs[id]["datagroups"] = series.Left{Known: 5000, Ended: min(5000, i*17)}
			samples = append(samples, s)
		}
	}
	d := gather(t, facts(r), samples...)
	os.WriteFile("/tmp/crop/long.html", []byte(write(t, d)), 0o644)
}
