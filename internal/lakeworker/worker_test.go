package lakeworker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/lakeworker"
	"github.com/sluicehq/sluice/internal/run"
)

// A fake is a lake that answers as it is told.
type fake struct {
	convert   map[string]error // by object; nil in it: a panic
	publish   error
	converted []string
	published []string
	before    int // objects that were converted before the last publication
	soft      time.Time
}

func (f *fake) Convert(_ context.Context, object string) error {
	f.converted = append(f.converted, object)
	if err, said := f.convert[object]; said && err == nil {
		panic("a parser's bug")
	}
	return f.convert[object]
}

func (f *fake) Publish(_ context.Context, run string, soft time.Time) (lake.Publication, error) {
	f.published, f.before, f.soft = append(f.published, run), len(f.converted), soft
	return lake.Publication{Pages: 3}, f.publish
}

// A site is a worker over a fake lake, with a closed run r1 and an open run r2.
type site struct {
	*lakeworker.Worker
	fake    *fake
	servers *awstest.Servers
	log     bytes.Buffer
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{fake: &fake{convert: map[string]error{}}, servers: awstest.StandIn(t)}
	stack, err := s.servers.MakeLake(t.Context(), s.servers.Make(t, "v", "a"))
	ok(t, err)
	s.Worker = &lakeworker.Worker{Lake: s.fake, Vendor: s.servers.Open(t, "lake").Use(stack), Log: slog.New(slog.NewJSONHandler(&s.log, nil))}
	for i, id := range []string{"r1", "r2"} {
		from := time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC)
		w := fanout.Window{From: from, To: from.AddDate(0, 0, 1)}
		_, err := s.Vendor.Runs().Create(t.Context(), run.Run{ID: id, Vendor: "v", Window: w, Tiers: []string{"a"}, State: run.Open, Opened: from}, false)
		ok(t, err)
	}
	ok(t, s.Vendor.Runs().Finish(t.Context(), "r1", 0, run.Verdict{At: time.Now()}))
	s.servers.ResetRecord()
	return s
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// handle hands messages over as Lambda does, and tells which are to come again.
func (s *site) handle(ctx context.Context, t *testing.T, bodies ...string) (again []string) {
	t.Helper()
	var ev events.SQSEvent
	for i, body := range bodies {
		ev.Records = append(ev.Records, events.SQSMessage{
			MessageId: fmt.Sprint(i), ReceiptHandle: "none", Body: body, Attributes: map[string]string{"ApproximateReceiveCount": "2"},
		})
	}
	out, err := s.Handle(ctx, ev)
	ok(t, err)
	for _, f := range out.BatchItemFailures {
		again = append(again, f.ItemIdentifier)
	}
	return again
}

// landed is what S3 says of objects.
func (s *site) landed(keys ...string) string {
	var records []string
	for _, k := range keys {
		records = append(records, fmt.Sprintf(`{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":%q},"object":{"key":%q,"size":1}}}`, s.Vendor.Stack().Bucket, k))
	}
	return `{"Records":[` + strings.Join(records, ",") + `]}`
}

func object(n int) string { return fmt.Sprintf("run=r1/tier=a/o%d.ndjson.zst", n) }

// TestNotifications: what S3 tells of is converted once it is a landed object;
// everything else is passed over.
func TestNotifications(t *testing.T) {
	s := newSite(t)
	other := strings.Replace(s.landed("landing/"+object(9)), s.Vendor.Stack().Bucket, "another", 1)
	gone := strings.Replace(s.landed("landing/"+object(9)), "ObjectCreated:Put", "ObjectRemoved:Delete", 1)
	again := s.handle(t.Context(), t,
		`{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-01-01T00:00:00.000Z","Bucket":"b","RequestId":"x","HostId":"y"}`,
		s.landed("landing/run%3Dr1/tier%3Da/o1.ndjson.zst", "landing/"+object(2)),
		s.landed("landing/run=r1/tier=a+b%C3%A9/o3.ndjson.zst"),
		s.landed("verdicts/r1.json", "landing/x.ndjson.zst", "landing/run=r1/tier=a/o.tmp", "landing/run=r1/tier=a/../o.ndjson.zst", "lake/"+object(4)),
		other, gone, `{"Records":[]}`, s.landed("landing/"+object(1)))
	want := []string{object(1), object(2), "run=r1/tier=a bé/o3.ndjson.zst", object(1)}
	if len(again) > 0 || !slices.Equal(s.fake.converted, want) {
		t.Errorf("%v come again; converted %v, want %v", again, s.fake.converted, want)
	}
	if asked := s.servers.Record(); len(asked) > 0 {
		t.Errorf("messages that are done cost %v", asked)
	}
	if !strings.Contains(s.log.String(), "another bucket") || !strings.Contains(s.log.String(), `"objects":4`) {
		t.Error(s.log.String())
	}
}

// TestBuried: what no repeat can mend goes to the dead letters with its reason,
// and what is beside it goes on; a dead letter sent again is about that object.
func TestBuried(t *testing.T) {
	s := newSite(t)
	s.fake.convert = map[string]error{
		object(1): fmt.Errorf("%w: record 7: cut off", lake.ErrCorrupt), object(2): nil, object(3): fmt.Errorf("reading: %w: r1", run.ErrNoRun),
	}
	again := s.handle(t.Context(), t, s.landed("landing/"+object(1), "landing/"+object(4)), s.landed("landing/"+object(2)),
		s.landed("landing/"+object(3)), "no JSON", `{"other":1}`, s.landed("landing/%zz"))
	if len(again) > 0 || len(s.fake.converted) != 4 {
		t.Errorf("%v come again, %v were tried", again, s.fake.converted)
	}
	dead, err := s.servers.Messages(t.Context(), s.Vendor.Stack().Lake.Dead)
	ok(t, err)
	want := map[string]string{object(1): "record 7: cut off", object(2): "panic: a parser's bug", object(3): "no such run", "": ""}
	reasons := ""
	for _, m := range dead {
		a := m.Attributes
		if reason := want[a["object"]]; !strings.Contains(a["reason"], reason) || a["object"] != "" && a["run"] != "r1" {
			t.Errorf("%q", m)
		}
		reasons += a["reason"] + "; "
		if a["object"] == object(1) {
			s.fake.converted, s.fake.convert = nil, nil
			if again := s.handle(t.Context(), t, m.Body); len(again) > 0 || !slices.Equal(s.fake.converted, []string{object(1)}) {
				t.Errorf("sent again: %v, %v", again, s.fake.converted)
			}
		}
	}
	if len(dead) != 6 || !strings.Contains(reasons, "is not JSON") || !strings.Contains(reasons, "neither a notification") || !strings.Contains(reasons, "cannot be read") {
		t.Errorf("%d dead letters: %s", len(dead), reasons)
	}
	// A dead letter that cannot be written is none: the message comes again.
	s.fake.convert = map[string]error{object(1): lake.ErrCorrupt}
	s.servers.Inject(func(_ int, r awstest.Request) awstest.Fault { return awstest.Before })
	if again := s.handle(t.Context(), t, s.landed("landing/"+object(1))); !slices.Equal(again, []string{"0"}) {
		t.Errorf("not buried, and %v come again", again)
	}
}

// TestComeAgain: a message that a store's trouble kept from being worked shows
// again, the others of its batch are done.
func TestComeAgain(t *testing.T) {
	s := newSite(t)
	s.fake.convert = map[string]error{object(2): errors.New("S3 throttles")}
	again := s.handle(t.Context(), t, s.landed("landing/"+object(1)), s.landed("landing/"+object(2), "landing/"+object(3)), s.landed("landing/"+object(4)))
	if !slices.Equal(again, []string{"1"}) || len(s.fake.converted) != 4 {
		t.Errorf("%v come again, %v were tried", again, s.fake.converted)
	}
	r := s.servers.Record()
	if len(r) != 1 || r[0].Action != "ChangeMessageVisibility" || !strings.Contains(string(r[0].Body), `"VisibilityTimeout":60`) {
		t.Errorf("%+v", r)
	}
	// With no time left nothing is begun.
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	s.fake.converted = nil
	if again := s.handle(ctx, t, s.landed("landing/"+object(1))); !slices.Equal(again, []string{"0"}) || len(s.fake.converted) > 0 {
		t.Errorf("%v come again, %v were tried", again, s.fake.converted)
	}
}

// TestPublish: how a publication ends, and what becomes of the row that asks for
// it.
func TestPublish(t *testing.T) {
	const body = `{"publish":"r1"}`
	for _, c := range []struct {
		name, body    string
		answer        error
		again, stays  bool
		sent          time.Duration // from now; 0: it is to be sent with the next look
		said, not     string
		mark          string
		writes, reads int
		neither       bool
	}{
		{name: "published", body: body, said: `"msg":"published"`, writes: 1, reads: 2},
		{name: "time was over", body: body, answer: fmt.Errorf("casting: %w", lake.ErrUnfinished), stays: true, said: "goes on with the next message", writes: 1, reads: 2},
		{name: "refused", body: body, answer: &lake.Refused{Run: "r1", Reasons: []string{"2 tasks are dead"}}, said: `"LakeRefused":1`, mark: "run r1 is not published: 2 tasks are dead", writes: 2, reads: 2},
		{name: "a store's trouble", body: body, answer: errors.New("S3 throttles"), again: true, stays: true, sent: time.Minute, said: "comes again", writes: 1, reads: 2},
		{name: "the run is open", body: `{"publish":"r2"}`, stays: true, said: "will be published when it is closed", not: "LakeRefused", writes: 1, reads: 2, neither: true},
		{name: "there is no such run", body: `{"publish":"r9"}`, said: `"LakeRefused":1`, writes: 1, reads: 2, neither: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			ctx := t.Context()
			_, id, _ := strings.Cut(strings.Trim(c.body, `"{}`), `":"`)
			ok(t, s.Vendor.AskPublish(ctx, id, 0))
			asked, _, err := s.Vendor.Asked(ctx, id)
			ok(t, err)
			ok(t, s.Vendor.SentPublish(ctx, asked, time.Now().Add(-time.Second)))
			s.fake.publish = c.answer
			s.servers.ResetRecord()
			again := s.handle(ctx, t, c.body)
			if got := len(again) > 0; got != c.again {
				t.Errorf("comes again: %v", got)
			}
			writes, reads := 0, 0
			for _, r := range s.servers.Record() {
				switch r.Action {
				case "UpdateItem", "DeleteItem", "PutItem":
					writes++
				case "GetItem", "Query":
					reads++
				}
			}
			if writes != c.writes || reads != c.reads {
				t.Errorf("%d writes and %d reads, want %d and %d", writes, reads, c.writes, c.reads)
			}
			p, found, err := s.Vendor.Asked(ctx, id)
			ok(t, err)
			if found != c.stays || found && (p.At != asked.At || p.Sent.IsZero() != (c.sent == 0)) {
				t.Errorf("the row stays: %v, %+v", found, p)
			}
			if c.sent > 0 && time.Until(p.Sent) > c.sent || c.sent > 0 && time.Until(p.Sent) < c.sent/2 {
				t.Errorf("sent again at %v", p.Sent)
			}
			if !strings.Contains(s.log.String(), c.said) || c.not != "" && strings.Contains(s.log.String(), c.not) {
				t.Error(s.log.String())
			}
			if c.neither != (len(s.fake.published) == 0) {
				t.Errorf("published: %v", s.fake.published)
			}
			if c.mark != "" {
				r, err := s.Vendor.Runs().Get(ctx, id)
				if err != nil || !slices.Equal(r.Marks, []string{c.mark}) {
					t.Errorf("noted with the run: %q %v", r.Marks, err)
				}
			}
		})
	}
}

// TestBatch: notifications and runs come in one batch. Whatever becomes of a
// publication, nothing else is repeated, and one that there is no time for is sent
// again by close.
func TestBatch(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	ok(t, s.Vendor.AskPublish(ctx, "r1", 0))
	asked, _, err := s.Vendor.Asked(ctx, "r1")
	ok(t, err)
	batch := []string{`{"publish":"r1"}`, s.landed("landing/" + object(1)), `{"publish":"r1"}`, s.landed("landing/" + object(2)), s.landed("landing/" + object(3))}
	s.fake.convert[object(2)] = errors.New("S3 throttles")
	for _, c := range []struct {
		answer error
		again  []string
	}{{lake.ErrUnfinished, []string{"3"}}, {errors.New("DynamoDB throttles"), []string{"3", "0", "2"}}, {nil, []string{"3"}}} {
		s.fake.converted, s.fake.published, s.fake.publish = nil, nil, c.answer
		ok(t, s.Vendor.SentPublish(ctx, asked, time.Now()))
		if again := s.handle(ctx, t, batch...); !slices.Equal(again, c.again) || s.fake.before != 3 || len(s.fake.published) != 2 {
			t.Errorf("%v: %v come again, want %v; %d converted before %v", c.answer, again, c.again, s.fake.before, s.fake.published)
		}
	}
	ok(t, s.Vendor.AskPublish(ctx, "r1", 0))
	asked, _, err = s.Vendor.Asked(ctx, "r1")
	ok(t, err)
	ok(t, s.Vendor.SentPublish(ctx, asked, time.Now()))
	s.fake.published = nil
	s.Lake = slow{s.fake}
	if again := s.handle(&short{Context: ctx}, t, batch[1], batch[0]); len(again) > 0 || len(s.fake.published) > 0 {
		t.Errorf("without time %v come again, and %v was begun", again, s.fake.published)
	}
	if p, found, err := s.Vendor.Asked(ctx, "r1"); err != nil || !found || !p.Sent.IsZero() {
		t.Errorf("close is not to send it again: %+v %v %v", p, found, err)
	}
}

// slow is a lake that takes longer to convert than a short invocation has.
type slow struct{ *fake }

func (s slow) Convert(ctx context.Context, object string) error {
	time.Sleep(320 * time.Millisecond)
	return s.fake.Convert(ctx, object)
}

// short is the context of an invocation that is nearly over, but whose last
// requests are answered all the same: only the first who asks learns its deadline.
type short struct {
	context.Context
	asked bool
}

func (s *short) Deadline() (time.Time, bool) {
	if s.asked {
		return time.Time{}, false
	}
	s.asked = true
	return time.Now().Add(400 * time.Millisecond), true
}

// TestPublishByHand: a message that nobody asked for is worked, and what it
// leaves is asked for.
func TestPublishByHand(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	ctx, cancel := context.WithTimeout(ctx, 8*time.Minute)
	defer cancel()
	if again := s.handle(ctx, t, `{"publish":"r1"}`); len(again) > 0 || len(s.fake.published) != 1 {
		t.Errorf("%v come again", again)
	}
	if left := time.Until(s.fake.soft); left > 6*time.Minute || left < 5*time.Minute {
		t.Errorf("of 8 minutes it may use %v", left)
	}
	s.fake.publish = lake.ErrUnfinished
	s.handle(ctx, t, `{"publish":"r1"}`)
	p, found, err := s.Vendor.Asked(ctx, "r1")
	if err != nil || !found || !p.Sent.IsZero() {
		t.Errorf("what is left is not asked for: %+v %v", p, err)
	}
	// Asked anew while the answer to the first was on its way: that stays.
	s.fake.publish = nil
	s.Lake = asking{s.fake, s.Vendor}
	s.handle(ctx, t, `{"publish":"r1"}`)
	if later, found, err := s.Vendor.Asked(ctx, "r1"); err != nil || !found || !later.At.After(p.At) {
		t.Errorf("a newer request was ended with an older one: %+v %v %v", later, found, err)
	}
}

// asking is a lake that is asked anew while it publishes.
type asking struct {
	*fake
	vendor *awsfleet.Vendor
}

func (a asking) Publish(ctx context.Context, run string, soft time.Time) (lake.Publication, error) {
	if err := a.vendor.AskPublish(ctx, run, 1); err != nil {
		return lake.Publication{}, err
	}
	return a.fake.Publish(ctx, run, soft)
}
