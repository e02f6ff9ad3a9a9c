package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/functions/lambdatest"
	"github.com/sluicehq/sluice/internal/functions/stacktest"
	"github.com/sluicehq/sluice/internal/price"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

// The reference day: so many calls at five a second.
const (
	dayCalls = 65_000
	dayHours = dayCalls / 5.0 / 3600
)

// What Lambda writes about each invocation besides what the program does: its
// START, END and REPORT lines.
const platformLog = 330

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
func (m *metered) usage(account *stacktest.Account, log string) (w price.Work, err error) {
	t := m.Of(ofFunctions)
	w = price.Work{SQSRequests: t.SQS, DynamoWrites: t.Writes, DynamoReads: t.Reads, S3Puts: t.Puts, S3Gets: t.Gets, SecretsCalls: t.Secrets}
	var mbSeconds float64
	for _, f := range account.Functions {
		st := f.Stats()
		w.LambdaRequests += float64(st.Invocations - st.Throttled)
		w.Ticks += float64(st.Invocations)
		w.LambdaSeconds += st.Billed.Seconds()
		mbSeconds += st.Billed.Seconds() * float64(f.Memory)
	}
	w.LambdaMB = mbSeconds / w.LambdaSeconds
	info, err := os.Stat(log)
	if err != nil {
		return w, err
	}
	w.LogBytes = float64(info.Size()) + platformLog*w.LambdaRequests
	return w, nil
}

// times is a work so many times as large.
func times(w price.Work, by float64) price.Work {
	for _, p := range []*float64{&w.SQSRequests, &w.DynamoWrites, &w.DynamoReads, &w.S3Puts, &w.S3Gets, &w.LambdaRequests, &w.LambdaSeconds, &w.Ticks, &w.LogBytes, &w.SecretsCalls} {
		*p *= by
	}
	return w
}

// price prices the reference day from what the run has used, each kind of work
// scaled by the calls; then a day of what stands, with idle ticks measured for
// some more minutes. It first waits for the drains to end: their last polls are
// paid for, too.
func (m *metered) price(ctx context.Context, account *stacktest.Account, sim *vendorsim.Server, log string, minute time.Duration) error {
	for busy(account.Functions) && ctx.Err() == nil {
		time.Sleep(200 * time.Millisecond)
	}
	used, err := m.usage(account, log)
	if err != nil {
		return err
	}
	calls := sim.Stats().Calls
	took := sim.Stats().Last.Sub(sim.Stats().First)
	fmt.Printf("\nCounted: %d calls in %v (%.2f/s), %v\n", calls, took.Round(time.Second), float64(calls)/took.Seconds(), m.Of(ofFunctions).Requests)
	idle := 3 * minute
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idle):
	}
	after, err := m.usage(account, log)
	if err != nil {
		return err
	}
	day := times(used, dayCalls/float64(calls))
	run := price.USEast1.Run(day)
	fmt.Printf("\nThe reference day (%d calls at 5/s, %.1f h), list prices of %s in %s:\n", dayCalls, dayHours, price.USEast1.Region, price.USEast1.AsOf.Format(time.DateOnly))
	show2("run", run)
	standing, err := m.standing(ctx, account, used, after, idle, minute)
	if err != nil {
		return err
	}
	standing.BucketGB = m.Of(ofFunctions).PutBytes * dayCalls / float64(calls) * keepDays / 1e9
	standing.TableGB *= dayCalls / float64(calls) * keepDays
	show2("standing, a day", price.USEast1.Day(standing))
	return nil
}

func show2(what string, lines []price.Line) {
	for _, l := range lines {
		fmt.Println(" ", l)
	}
	fmt.Printf("  %-77s $%.4f\n\n", what, price.Sum(lines))
}

func busy(functions map[string]*lambdatest.Function) bool {
	for name, f := range functions {
		if strings.Contains(name, "-tier-") && f.Busy() > 0 {
			return true
		}
	}
	return false
}

// keepDays is how long rows and landed objects are kept by default.
const keepDays = 90

// windowHours is for how long tiers are ticked each day by default.
const windowHours = 12

// standing is what is there without a run: metrics for as long as a run takes,
// alarms, and idle ticks as they were just measured.
func (m *metered) standing(ctx context.Context, account *stacktest.Account, used, after price.Work, idle, minute time.Duration) (price.Standing, error) {
	alarms := account.Template.AlarmMetrics()
	bytes, err := account.TableBytes(ctx)
	if err != nil {
		return price.Standing{}, err
	}
	ticks := after.Ticks - used.Ticks
	perTick := (after.LambdaSeconds - used.LambdaSeconds) / ticks
	reads := (after.DynamoReads - used.DynamoReads) / ticks
	tiers := len(account.Template.Of("AWS::SQS::Queue")) / 2
	idleTicks := 60 * (float64(tiers)*(windowHours-dayHours) + 24 - dayHours)
	fmt.Printf("Measured: %.0f idle ticks, %.0f ms and %.1f read units each; %d metrics behind the vendor's alarms; %.0f bytes a task in the table\n\n",
		ticks, 1000*perTick, reads, alarms, bytes/float64(max(1, len(account.Functions))))
	return price.Standing{
		MetricHours: 6 * (dayHours + 1), AlarmMetrics: float64(alarms), IdleTicks: idleTicks, IdleSeconds: idleTicks * perTick, IdleMB: 128,
		IdleReads: idleTicks * reads, TableGB: bytes / 1e9,
	}, nil
}
