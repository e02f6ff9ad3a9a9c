package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/functions/stacktest"
	"github.com/sluicehq/sluice/internal/price"
)

// The reference day: so many calls at five a second.
const (
	dayCalls = 65_000
	dayRate  = 5
	dayHours = dayCalls / float64(dayRate) / 3600

	keepDays    = 90 // rows and landed objects, by default
	windowHours = 12 // of a day in which tiers are ticked, by default
)

// What Lambda writes about each invocation besides what the program does: its
// START, END and REPORT lines.
const platformLog = 330

// Lambda looks at a queue that calls a function with five long polls of twenty
// seconds, whether there is anything or not.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
const queuePolls = 5 * 24 * 3600 / 20.0

// metered is the servers behind a meter.
type metered struct {
	*stacktest.Meter
	servers *awstest.Servers
	http    *http.Server
	url     string
}

func newMetered(servers *awstest.Servers) (*metered, error) {
	meter, err := stacktest.NewMeter(servers.URL)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m := &metered{Meter: meter, servers: servers, url: "http://" + l.Addr().String(), http: &http.Server{Handler: meter, ReadHeaderTimeout: time.Minute}}
	go func() { _ = m.http.Serve(l) }() // ends with Close
	return m, nil
}

func (m *metered) Close() { m.http.Close() }

// env is the servers' environment, by way of the meter.
func (m *metered) env(key string) []string {
	env := m.servers.Env(key)
	for i := range env {
		env[i] = strings.ReplaceAll(env[i], m.servers.URL, m.url)
	}
	return env
}

func ofFunctions(key string) bool { return strings.HasPrefix(key, "sluice-") }

// usage is what the functions used up to now.
func (l *site) usage() (w price.Work, err error) {
	t := l.meter.Of(ofFunctions)
	w = price.Work{SQSRequests: t.SQS + l.toldOfLanded() - l.lakePolls(), DynamoWrites: t.Writes, DynamoReads: t.Reads, S3Puts: t.Puts, S3Gets: t.Gets, SecretsCalls: t.Secrets}
	var mbSeconds float64
	for _, f := range l.account.Functions {
		st := f.Stats()
		w.LambdaRequests += float64(st.Invocations - st.Throttled)
		if f.Name == lakeFunction {
			w.LakeSeconds, w.LakeMB = st.Billed.Seconds(), float64(f.Memory)
			continue
		}
		w.Ticks += float64(st.Invocations)
		w.LambdaSeconds += st.Billed.Seconds()
		mbSeconds += st.Billed.Seconds() * float64(f.Memory)
	}
	w.LambdaMB = mbSeconds / w.LambdaSeconds
	info, err := os.Stat(filepath.Join(l.dir, "functions.log"))
	if err != nil {
		return w, err
	}
	w.LogBytes = float64(info.Size()) + platformLog*w.LambdaRequests
	return w, nil
}

// toldOfLanded are S3's messages of what was landed.
func (l *site) toldOfLanded() float64 {
	return float64(l.meter.Of(func(key string) bool { return key == "deployer" }).Requests["sqs.SendMessage"])
}

// lakePolls are the requests by which Lambda looks for messages of the lake. They
// go on all day: see queuePolls.
func (l *site) lakePolls() float64 {
	t := l.meter.Of(func(key string) bool { return key == lakeFunction })
	return float64(t.Requests["sqs.GetQueueAttributes"] + t.Requests["sqs.ReceiveMessage"])
}

// each calls f with each figure of a and the same of b.
func each(a, b *price.Work, f func(a, b *float64)) {
	f(&a.SQSRequests, &b.SQSRequests)
	f(&a.DynamoWrites, &b.DynamoWrites)
	f(&a.DynamoReads, &b.DynamoReads)
	f(&a.S3Puts, &b.S3Puts)
	f(&a.S3Gets, &b.S3Gets)
	f(&a.LambdaRequests, &b.LambdaRequests)
	f(&a.LambdaSeconds, &b.LambdaSeconds)
	f(&a.LakeSeconds, &b.LakeSeconds)
	f(&a.Ticks, &b.Ticks)
	f(&a.LogBytes, &b.LogBytes)
	f(&a.SecretsCalls, &b.SecretsCalls)
}

// measured is what one run has used.
type measured struct {
	calls         int
	work          price.Work
	table, bucket float64 // bytes
	idle          price.Work
	alarms, tiers int
	keys, polled  int // polled are the queues that Lambda looks at by itself
}

// The two runs by whose difference the day is reckoned: what a run costs
// besides its calls (waking each tier, last polls, the verdict) is in both once.
const larger, smaller = 20, 40

// priceDay prices the reference day: it walks a twentieth and a fortieth of its
// tree at its rate, in real time, counts every request, invocation and
// millisecond, and draws the line through both to 65,000 calls.
func priceDay(ctx context.Context) error {
	var runs [2]measured
	for i, scale := range []int{smaller, larger} {
		err := with(ctx, scale, dayRate, func(l *site) (err error) {
			runs[i], err = l.measure(ctx, time.Minute, scale == larger)
			return err
		})
		if err != nil {
			return err
		}
	}
	small, large := runs[0], runs[1]
	beyond := (dayCalls - float64(large.calls)) / float64(large.calls-small.calls)
	day, rest := large.work, small.work
	each(&day, &rest, func(l, s *float64) { *l += (*l - *s) * beyond })
	p := price.USEast1
	fmt.Printf("\nThe reference day (%d calls at %d/s, %.1f h), list prices of %s on %s, from runs of %d and %d calls:\n",
		dayCalls, dayRate, dayHours, p.Region, p.AsOf.Format(time.DateOnly), small.calls, large.calls)
	bill("the run", p.Run(day))
	grow := dayCalls / float64(large.calls) * keepDays / 1e9
	idleTicks := 60 * (float64(large.tiers)*(windowHours-dayHours) + 24 - dayHours)
	perTick := large.idle.LambdaSeconds / large.idle.Ticks
	fmt.Printf("Standing, the shared stack included: %d metrics behind alarms; idle ticks of %.0f ms; %d days of rows and objects kept\n", large.alarms, 1000*perTick, keepDays)
	bill("a day, standing", p.Day(price.Standing{
		MetricHours: 6 * (dayHours + 1), AlarmMetrics: float64(large.alarms), Keys: float64(large.keys), QueuePolls: float64(large.polled) * queuePolls, TableGB: large.table * grow, BucketGB: large.bucket * grow,
		IdleTicks: idleTicks, IdleSeconds: idleTicks * perTick, IdleMB: 128, IdleReads: idleTicks * large.idle.DynamoReads / large.idle.Ticks,
	}))
	return nil
}

// measure walks the site's tree and counts. Afterwards it lets some minutes pass
// without a run, if asked to, and counts those.
func (l *site) measure(ctx context.Context, minute time.Duration, idle bool) (out measured, err error) {
	if err := l.walk(ctx, minute); err != nil {
		return out, err
	}
	for l.busy() && ctx.Err() == nil { // last polls are paid for, too
		time.Sleep(200 * time.Millisecond)
	}
	if out.work, err = l.usage(); err != nil {
		return out, err
	}
	st := l.sim.Stats()
	out.calls = st.Calls
	fmt.Printf("counted: %d calls in %v, %d refused, %v\n", st.Calls, st.Last.Sub(st.First).Round(time.Second), st.Refused, l.meter.Of(ofFunctions).Requests)
	for name, f := range l.account.Functions {
		if peak := f.Stats().PeakKB; peak > 0 {
			fmt.Printf("  %s: peak memory %.1f MB\n", name, float64(peak)/1000)
		}
	}
	for kind, n := range l.meter.Of(ofFunctions).Units {
		fmt.Printf("  %s: %.0f units\n", kind, n)
	}
	if out.table, err = l.account.TableBytes(ctx); err != nil {
		return out, err
	}
	out.bucket = l.meter.Of(ofFunctions).PutBytes
	shared, err := stacktest.Load(l.dir, "sluice-shared")
	if err != nil {
		return out, err
	}
	out.alarms, out.keys = l.account.Template.AlarmMetrics()+shared.AlarmMetrics(), len(shared.Of("AWS::KMS::Key"))
	out.polled = len(l.account.Template.Of("AWS::Lambda::EventSourceMapping"))
	for name := range l.account.Functions {
		if strings.Contains(name, "-tier-") {
			out.tiers++
		}
	}
	if !idle {
		return out, nil
	}
	within, stop := context.WithTimeout(ctx, 3*minute+minute/2)
	defer stop()
	l.account.Tick(within, ctx, minute)
	after, err := l.usage()
	out.idle = after
	each(&out.idle, &out.work, func(a, b *float64) { *a -= *b })
	return out, err
}

func bill(what string, lines []price.Line) {
	for _, l := range lines {
		fmt.Println(" ", l)
	}
	fmt.Printf("  %-75s $%.4f\n\n", what, price.Sum(lines))
}

// busy tells whether a drain is at work.
func (l *site) busy() bool {
	for name, f := range l.account.Functions {
		if !strings.HasSuffix(name, "-close") && f.Busy() > 0 {
			return true
		}
	}
	return false
}
