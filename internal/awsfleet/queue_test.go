package awsfleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/fanout"
)

// heavy is a task whose message has about so many bytes.
func heavy(n int, path ...string) fanout.Task {
	ts := task("r1", "a", path...)
	ts.Carry = map[string]json.RawMessage{"x": json.RawMessage(`"` + strings.Repeat("x", n) + `"`)}
	return ts
}

// TestLargeMessages: requests stay within SQS's bounds, and within one billed
// unit where that costs nothing.
func TestLargeMessages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                   string
		tasks, bytes, requests int
		units                  int
	}{
		{"small ones by ten", 57, 100, 6, 6},
		{"eight fill a unit", 40, 7600, 5, 5},
		{"two units by ten", 20, 12000, 4, 4}, // five in a unit
		{"over half a unit", 20, 33 << 10, 2, 12},
		{"a batch holds a megabyte", 10, 300 << 10, 4, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, v := open(t, "a")
			cloud := s.Open(t, "AKIATEST")
			q := cloud.Use(v.Stack()).Queue(vendor, "a")
			var ts []fanout.Task
			for i := range c.tasks {
				ts = append(ts, heavy(c.bytes, strings.Repeat("k", i+1)))
			}
			ok(t, q.Send(t.Context(), ts))
			if u := cloud.Usage(); u.Calls["sqs.SendMessageBatch"] > c.requests || u.SQSUnits > c.units {
				t.Errorf("%d requests of %d units, want %d of %d", u.Calls["sqs.SendMessageBatch"], u.SQSUnits, c.requests, c.units)
			}
			got := map[string]bool{}
			for range 40 {
				ds, err := q.Receive(t.Context(), 10, 0, time.Minute)
				ok(t, err)
				for _, d := range ds {
					got[d.Task.ID] = true
				}
			}
			if len(got) != c.tasks {
				t.Errorf("%d tasks came, want %d", len(got), c.tasks)
			}
		})
	}
}

func TestTooLargeMessage(t *testing.T) {
	t.Parallel()
	_, v := open(t, "a")
	err := v.Queue(vendor, "a").Send(t.Context(), []fanout.Task{heavy(2<<20, "x")})
	if err == nil || !strings.Contains(err.Error(), "let the tier above carry less") {
		t.Errorf("%v", err)
	}
}

// TestPartialBatches: entries that SQS did not take are sent again, and only
// those.
func TestPartialBatches(t *testing.T) {
	t.Parallel()
	s, v := open(t, "a")
	q, ctx := v.Queue(vendor, "a"), t.Context()
	var ts []fanout.Task
	for _, k := range strings.Split("a b c d e f g h i j k l", " ") {
		ts = append(ts, task("r1", "a", k))
	}
	partly := func(times int) {
		left := map[string]int{}
		s.ResetRecord()
		s.Inject(func(_ int, r awstest.Request) awstest.Fault {
			if !strings.HasSuffix(r.Action, "Batch") || left[r.Action] == times {
				return awstest.Fault{}
			}
			left[r.Action]++
			return awstest.Fault{Part: 3}
		})
	}
	partly(2)
	ok(t, q.Send(ctx, ts))
	if n := len(s.Record()); n != 4 {
		t.Errorf("%d requests, want 2 and 2 more for what was left out", n)
	}
	var ds []fanout.Delivery
	for range 10 {
		got, err := q.Receive(ctx, 10, 0, time.Minute)
		ok(t, err)
		ds = append(ds, got...)
	}
	if len(ds) != len(ts) {
		t.Fatalf("%d messages, want %d", len(ds), len(ts))
	}
	partly(2)
	ok(t, q.Hide(ctx, hidesOf(ds)))
	partly(2)
	ok(t, q.Delete(ctx, receiptsOf(ds)))
	if work, _, err := v.Depth(ctx, "a"); err != nil || work != (awsfleet.Depth{}) {
		t.Errorf("after all are deleted: %+v, %v", work, err)
	}
	partly(100)
	err := q.Send(ctx, ts[:2])
	if err == nil || !strings.Contains(err.Error(), "did not take all of a batch") {
		t.Errorf("entries that never go: %v", err)
	}
}

// TestWire: what SQS must be told explicitly is on the wire.
func TestWire(t *testing.T) {
	t.Parallel()
	s, v := open(t, "a")
	q, ctx := v.Queue(vendor, "a"), t.Context()
	strange := task("r1", "a", "\ufffe \uffff \x00 \u2028 \U0010ffff ü")
	strange.Life = 7
	ok(t, q.Send(ctx, []fanout.Task{strange}))
	ds, err := q.Receive(ctx, 10, 1500*time.Millisecond, 1500*time.Millisecond)
	ok(t, err)
	if len(ds) != 1 || ds[0].Task.Path[0] != strange.Path[0] {
		t.Fatalf("%+v, want %+v", ds, strange)
	}
	ok(t, q.Hide(ctx, []fanout.Hide{{Receipt: ds[0].Receipt}}))
	for _, r := range s.Record() {
		want := map[string]string{
			"SendMessageBatch":             `"vendor":{"DataType":"String","StringValue":"v"}`,
			"ReceiveMessage":               `"VisibilityTimeout":2`,
			"ChangeMessageVisibilityBatch": `"VisibilityTimeout":0`,
		}[r.Action]
		if !bytes.Contains(r.Body, []byte(want)) {
			t.Errorf("%s lacks %s: %s", r.Action, want, r.Body)
		}
		if r.Key != "AKIATEST" || r.Service != "sqs" || !strings.HasSuffix(r.Resource, "-a") {
			t.Errorf("recorded as %s %s on %s", r.Key, r.Service, r.Resource)
		}
	}
	if short := bytes.Count(s.Record()[1].Body, []byte(`"WaitTimeSeconds":1`)); short != 1 {
		t.Errorf("a poll of 1.5 s asks for %s", s.Record()[1].Body)
	}
}

// TestPoison: a message that is none of ours blocks nobody.
func TestPoison(t *testing.T) {
	t.Parallel()
	s := awstest.StandIn(t)
	stack := s.Make(t, vendor, "a")
	var log bytes.Buffer
	opt := s.Options("AKIATEST")
	opt.Log = slog.New(slog.NewTextHandler(&log, nil))
	c, err := awsfleet.Open(t.Context(), opt)
	ok(t, err)
	q := c.Use(stack).Queue(vendor, "a")
	for _, body := range []string{"no JSON", `{"of":"another"}`, "null"} {
		ok(t, s.PutMessage(t.Context(), stack.Queues["a"].URL, body))
	}
	ok(t, q.Send(t.Context(), []fanout.Task{task("r1", "a", "x")}))
	n := 0
	for range 6 {
		ds, err := q.Receive(t.Context(), 10, 0, time.Second)
		ok(t, err)
		n += len(ds)
	}
	time.Sleep(1200 * time.Millisecond)
	ds, err := q.Receive(t.Context(), 10, 0, time.Second)
	if n != 1 || len(ds) != 1 || err != nil {
		t.Errorf("%d deliveries, then %d, %v; want our message each time", n, len(ds), err)
	}
	if strings.Count(log.String(), "not a task of ours") != 3 {
		t.Errorf("log: %s", log.String())
	}
}

// TestPollEndsInTime: a long poll is no longer than the context, so that its
// end does not cut one that has just taken messages.
func TestPollEndsInTime(t *testing.T) {
	t.Parallel()
	s, v := open(t, "a")
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	ds, err := v.Queue(vendor, "a").Receive(ctx, 10, 20*time.Second, time.Minute)
	if err != nil || len(ds) > 0 || ctx.Err() != nil {
		t.Errorf("%d deliveries, %v, context %v", len(ds), err, ctx.Err())
	}
	if r := s.Record(); len(r) != 1 || !bytes.Contains(r[0].Body, []byte(`"WaitTimeSeconds":2`)) {
		t.Errorf("%d requests: %s", len(r), r[0].Body)
	}
}

// TestRedrive: what is received again and again ends in the dead-letter queue.
func TestRedrive(t *testing.T) {
	t.Parallel()
	s := awstest.StandIn(t)
	stack := s.Make(t, vendor, "a")
	url, err := s.MakeQueue(t.Context(), stack.Table+"-few", stack.Queues["a"].Dead, 2)
	ok(t, err)
	stack.Queues["a"] = awsfleet.Queues{URL: url, Dead: stack.Queues["a"].Dead}
	v := s.Open(t, "AKIATEST").Use(stack)
	q := v.Queue(vendor, "a")
	ok(t, q.Send(t.Context(), []fanout.Task{task("r1", "a", "x")}))
	for range 4 {
		ds, err := q.Receive(t.Context(), 10, time.Second, time.Minute)
		ok(t, err)
		var back []fanout.Hide
		for _, d := range ds {
			back = append(back, fanout.Hide{Receipt: d.Receipt})
		}
		ok(t, q.Hide(t.Context(), back))
	}
	ds, err := v.DeadQueue(vendor, "a").Receive(t.Context(), 10, time.Second, time.Minute)
	if err != nil || len(ds) != 1 || ds[0].Task.Path[0] != "x" {
		t.Errorf("the dead-letter queue has %+v, %v", ds, err)
	}
}
