package aws

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
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
	if strings.HasPrefix(r.URL.Path, "/reads/") {
		b.WriteString(`{"points":[`)
		for i := range 12 {
			fmt.Fprintf(&b, `{"time":%d,"value":%d.25,"unit":"percent","text":"some words that make it a kilobyte in all"},`, 1700000000+i*300, i)
		}
		b.WriteString(`{"time":1,"value":1}]}`)
	} else {
		b.WriteString(`{"items":[{"id":0}`)
		for i := range v.nodes - 1 {
			fmt.Fprintf(&b, `,{"id":%d}`, i+1)
		}
		b.WriteString(`]}`)
	}
	return &http.Response{StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(b.Len()), Body: io.NopCloser(&b)}, nil
}

const instantSpec = `
name: instant
base_url: http://instant.invalid
limits: [{name: flight, in_flight: 64}]
tiers:
  - {name: lists, get: /lists, items: ".items[]", key: .id}
  - {name: reads, get: "/reads/{lists}", rows: ".points[] | {time, value}", table: points}
`

// hybrid has its queues on SQS and everything else on this machine: what is
// measured is the engine over SQS, not a stand-in's database.
type hybrid struct {
	*localfleet.Home
	sqs *awsfleet.Vendor
}

func (h hybrid) Queue(vendor, tier string) fanout.Queue     { return h.sqs.Queue(vendor, tier) }
func (h hybrid) DeadQueue(vendor, tier string) fanout.Queue { return h.sqs.DeadQueue(vendor, tier) }

type noSecrets struct{}

func (noSecrets) Secret(string, string) (string, error) { return "", nil }

// BenchmarkSQS is the whole path of a task but for the network to the vendor:
// queues on the SQS stand-in over real sockets, client, jq, landing, and the
// ledger on SQLite, on all cores. The stand-in, one Node program, takes its share
// of them.
func BenchmarkSQS(b *testing.B) {
	servers := awstest.Start(b)
	cloud := servers.Open(b, "bench")
	v := cloud.Use(servers.Make(b, "instant", "lists", "reads"))
	home, err := localfleet.Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer home.Close()
	spec, err := vendorapi.Parse("instant.yaml", []byte(instantSpec))
	if err != nil {
		b.Fatal(err)
	}
	plan, err := spec.Bind(nil)
	if err != nil {
		b.Fatal(err)
	}
	f, err := fleet.New(plan, hybrid{home, v}, fleet.Options{Engine: fanout.Config{Wait: true, LongPoll: time.Second}, Transport: instant{nodes: b.N}})
	if err != nil {
		b.Fatal(err)
	}
	r, err := f.Runs.Seed(b.Context(), run.Yesterday(time.Now(), time.UTC), false)
	if err != nil {
		b.Fatal(err)
	}
	lists, err := f.Workers(noSecrets{}, r.Seeds[0], "lists")
	if err != nil {
		b.Fatal(err)
	}
	if err := lists.Drain(b.Context(), b.Context()); err != nil {
		b.Fatal(err)
	}
	lists.Close()
	reads, err := f.Workers(noSecrets{}, r.Seeds[0], "reads")
	if err != nil {
		b.Fatal(err)
	}
	defer reads.Close()
	before, cpu, began := cloud.Usage(), cpuTime(), time.Now()
	b.ResetTimer()
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
	took, used := time.Since(began), cpuTime()-cpu
	b.StopTimer()
	if rep := reads.Report(); rep.Outcomes[fanout.Done] != b.N {
		b.Fatalf("%+v, want %d done", rep.Outcomes, b.N)
	}
	requests := 0
	for name, n := range cloud.Usage().Since(before).Calls {
		if strings.HasPrefix(name, "sqs.") {
			requests += n
		}
	}
	b.ReportMetric(float64(b.N)/took.Seconds(), "tasks/s(target>=4000)")
	b.ReportMetric(used.Seconds()/float64(b.N)*1000, "cpu-s/1000(target<=0.25)")
	b.ReportMetric(float64(requests)/float64(b.N), "sqs-requests/task(without-sends)")
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
