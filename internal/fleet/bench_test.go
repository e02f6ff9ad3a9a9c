package fleet_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/localfleet"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// instant is a vendor in this process: no network, 1 KB answers.
type instant struct{ nodes int }

func (v instant) RoundTrip(r *http.Request) (*http.Response, error) {
	var b bytes.Buffer
	if parts := strings.Split(r.URL.Path, "/"); len(parts) > 2 {
		b.WriteString(`{"points":[`)
		for i := range 12 {
			fmt.Fprintf(&b, `{"time":%d,"value":%d.25,"unit":"percent","host":"host-%s","text":"some words"},`, 1700000000+i*300, i, parts[2])
		}
		b.WriteString(`{"time":1,"value":1}]}`)
	} else {
		b.WriteString(`{"items":[`)
		for i := range v.nodes {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"id":%d}`, i)
		}
		b.WriteString(`]}`)
	}
	return &http.Response{
		StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(b.Len()), Body: io.NopCloser(&b),
	}, nil
}

const instantSpec = `
name: instant
base_url: http://instant.invalid
limits: [{name: flight, in_flight: 64}]
tiers:
  - {name: lists, get: /lists, items: ".items[]", key: .id}
  - {name: reads, get: "/reads/{lists}", rows: ".points[] | {time, value, host}", table: points}
`

// BenchmarkEngine is the whole path of a task but for the network: queue,
// governor, client, jq, landing and ledger on SQLite, on one core.
func BenchmarkEngine(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	spec, err := vendorapi.Parse("instant.yaml", []byte(instantSpec))
	if err != nil {
		b.Fatal(err)
	}
	plan, err := spec.Bind(nil)
	if err != nil {
		b.Fatal(err)
	}
	home, err := localfleet.Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer home.Close()
	f, err := fleet.New(plan, home, fleet.Options{
		Engine:    fanout.Config{Wait: true, LongPoll: time.Second},
		Transport: instant{nodes: b.N},
	})
	if err != nil {
		b.Fatal(err)
	}
	r, err := f.Runs.Seed(b.Context(), run.Yesterday(time.Now(), time.UTC), false)
	if err != nil {
		b.Fatal(err)
	}
	lists, err := f.Workers(secrets{}, r.Seeds[0], "lists")
	if err != nil {
		b.Fatal(err)
	}
	if err := lists.Drain(b.Context(), b.Context()); err != nil {
		b.Fatal(err)
	}
	lists.Close()
	reads, err := f.Workers(secrets{}, r.Seeds[0], "reads")
	if err != nil {
		b.Fatal(err)
	}
	defer reads.Close()
	b.ResetTimer()
	began := time.Now()
	soft, stop := context.WithCancel(b.Context())
	go func() { // the last long poll is not work
		for reads.Report().Settled() < b.N {
			time.Sleep(time.Millisecond)
		}
		stop()
	}()
	if err := reads.Drain(soft, b.Context()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	rep := reads.Report()
	if rep.Outcomes[fanout.Done] != b.N {
		b.Fatalf("%+v, want %d done", rep.Outcomes, b.N)
	}
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "tasks/s(target>=5000)")
}
