package awsfleet_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
)

// TestBudgets: what each operation asks of AWS, to the request.
func TestBudgets(t *testing.T) {
	t.Parallel()
	s := open2(t)
	ctx, v, l, q := t.Context(), s.v, s.v.Ledger(vendor), s.v.Queue(vendor, "a")
	var ten []fanout.Task
	for i := range 10 {
		ten = append(ten, task("r1", "a", fmt.Sprint("key", i)))
	}
	ends := make([]fanout.Settlement, 10)
	claims := make([]fanout.Claim, 10)
	for i, ts := range ten {
		ends[i] = fanout.Settlement{Task: ts, Outcome: fanout.Done, Fetch: "f", Rows: 2, At: time.Now()}
		claims[i] = fanout.Claim{Run: "r1", Child: ts.ID, Parent: "p"}
	}
	list := fanout.Listed{Run: "r1", Tier: "a", Task: ten[0].ID, Fetch: "f", Object: "o", Children: 3, Final: true}
	chunked := fanout.Listed{Run: "r1", Tier: "a", Task: ten[1].ID, Fetch: "f", Object: "o", Cursor: "c"}
	var ds []fanout.Delivery
	store := v.Governor()
	for _, c := range []struct {
		doing string
		do    func() error
		want  map[string]int
	}{
		{"is a run open", func() error { _, err := l.AnyOpen(ctx); return err }, map[string]int{"dynamodb.GetItem": 1, "dynamodb.BatchGetItem": 1}},
		{"look at ten", func() error { _, err := l.Look(ctx, ten); return err }, map[string]int{"dynamodb.BatchGetItem": 1}},
		{"send ten", func() error { return q.Send(ctx, ten) }, map[string]int{"sqs.SendMessageBatch": 1}},
		{"receive ten", func() (err error) { ds, err = q.Receive(ctx, 50, 0, time.Minute); return err }, map[string]int{"sqs.ReceiveMessage": 1}},
		{"hide ten", func() error { return q.Hide(ctx, hidesOf(ds)) }, map[string]int{"sqs.ChangeMessageVisibilityBatch": 1}},
		{"delete ten", func() error { return q.Delete(ctx, receiptsOf(ds)) }, map[string]int{"sqs.DeleteMessageBatch": 1}},
		{"list", func() error { _, err := l.List(ctx, []fanout.Listed{list}); return err },
			map[string]int{"dynamodb.UpdateItem": 2, "ledger.list": 1, "ledger.count": 1}},
		{"list again", func() error { _, err := l.List(ctx, []fanout.Listed{list}); return err },
			map[string]int{"dynamodb.UpdateItem": 1, "dynamodb.GetItem": 1, "ledger.list": 1}},
		{"list a chunk", func() error { _, err := l.List(ctx, []fanout.Listed{chunked}); return err }, map[string]int{"dynamodb.UpdateItem": 1, "ledger.list": 1}},
		{"look at a list that goes on", func() error { _, err := l.Look(ctx, ten[:2]); return err }, map[string]int{"dynamodb.BatchGetItem": 1, "dynamodb.Query": 1}},
		{"mark sent", func() error { return l.MarkSent(ctx, []fanout.Listed{chunked}) }, map[string]int{"dynamodb.UpdateItem": 1, "ledger.sent": 1}},
		{"claim ten", func() error { _, err := l.Claim(ctx, claims); return err }, map[string]int{"dynamodb.UpdateItem": 10, "ledger.claim": 10}},
		{"fail", func() error { _, err := l.Fail(ctx, []fanout.Failure{{Task: ten[2], Fetch: "f"}}); return err }, map[string]int{"dynamodb.UpdateItem": 1, "ledger.fail": 1}},
		{"settle ten", func() error { return l.Settle(ctx, ends) }, map[string]int{"dynamodb.UpdateItem": 11, "ledger.settle": 10, "ledger.count": 1}},
		{"settle ten again", func() error { return l.Settle(ctx, ends) }, map[string]int{"dynamodb.UpdateItem": 10, "ledger.settle": 10}},
		{"change the governor's item", func() error { return bump(t, store) },
			map[string]int{"dynamodb.GetItem": 1, "dynamodb.PutItem": 1, "governor.read": 1, "governor.write": 1}},
		{"poll the governor's item", func() error { _, err := store.Load(ctx, vendor); return err }, map[string]int{"dynamodb.GetItem": 1, "governor.read": 1}},
		{"read the clock", func() error { _, _, err := store.Clock(ctx); return err }, nil},
		{"peek", func() error { _, _, err := v.Peek(ctx, "a", 3); return err }, map[string]int{"dynamodb.BatchGetItem": 1}},
		{"ask for a publication", func() error { return v.AskPublish(ctx, "r1", 0) }, map[string]int{"dynamodb.PutItem": 1}},
		{"look at what waits", func() error { _, _, err := v.Waits(ctx); return err }, map[string]int{"dynamodb.Query": 1}},
		{"send a publication", func() error { return v.SendPublish(ctx, "r1") }, map[string]int{"sqs.SendMessage": 1}},
		{"note that it was sent", func() error { return v.SentPublish(ctx, asked(t, v, "r1"), time.Now()) }, map[string]int{"dynamodb.GetItem": 1, "dynamodb.UpdateItem": 1}},
		{"end a publication", func() error { return v.Unask(ctx, asked(t, v, "r1")) }, map[string]int{"dynamodb.GetItem": 1, "dynamodb.DeleteItem": 1}},
		{"close", func() error { return v.Runs().Finish(ctx, "r1", 0, run.Verdict{At: time.Now()}) }, map[string]int{"dynamodb.UpdateItem": 2}},
		{"is no run open", func() error { _, err := l.AnyOpen(ctx); return err }, map[string]int{"dynamodb.GetItem": 1}},
	} {
		took := func() map[string]int {
			before := s.cloud.Usage()
			ok(t, c.do())
			return s.cloud.Usage().Since(before).Calls
		}
		got := took()
		for try := 0; c.doing == "read the clock" && len(got) > 0 && try < 50; try++ {
			got = took() // an answer that was slow on a busy machine does not tell the time
		}
		if !reflect.DeepEqual(got, c.want) && len(got)+len(c.want) > 0 {
			t.Errorf("%s: %v, want %v", c.doing, got, c.want)
		}
	}
	u := s.cloud.Usage()
	t.Logf("target: %v, %.1f read units, %.1f write units, %d units of SQS", u.Calls, u.ReadUnits, u.WriteUnits, u.SQSUnits)
}

// stackInUse is a stack with an open run, and the cloud it is used by.
type stackInUse struct {
	cloud *awsfleet.Cloud
	v     *awsfleet.Vendor
}

func open2(t *testing.T) stackInUse {
	t.Helper()
	s, v, _ := opened(t, "a", "b")
	c := s.Open(t, "AKIATEST")
	stack, err := s.MakeLake(t.Context(), v.Stack())
	ok(t, err)
	return stackInUse{c, c.Use(stack)}
}

func hidesOf(ds []fanout.Delivery) (out []fanout.Hide) {
	for _, d := range ds {
		out = append(out, fanout.Hide{Receipt: d.Receipt, For: time.Minute})
	}
	return out
}

func receiptsOf(ds []fanout.Delivery) (out []fanout.Receipt) {
	for _, d := range ds {
		out = append(out, d.Receipt)
	}
	return out
}

func bump(t *testing.T, s governor.Store) error {
	return s.Update(t.Context(), vendor, func(it *governor.Item) error { it.Rev++; return nil })
}

// TestWriteUnits: what is written once per task, or once per permit, stays
// under a kilobyte: one unit.
func TestWriteUnits(t *testing.T) {
	t.Parallel()
	s := open2(t)
	ctx, l := t.Context(), s.v.Ledger(vendor)
	long := task("r1", "a", strings.Repeat("k", 120), strings.Repeat("l", 120))
	long.Carry = map[string]json.RawMessage{"labels": json.RawMessage(`"` + strings.Repeat("x", 5000) + `"`)}
	object := "run=" + strings.Repeat("r", 30) + "/tier=a/" + strings.Repeat("o", 26) + ".ndjson.zst"
	write := func(what string, units float64, do func() error) {
		t.Helper()
		before := s.cloud.Usage()
		ok(t, do())
		d := s.cloud.Usage().Since(before)
		if n := d.WriteUnits - float64(d.Calls["ledger.count"]); n > units {
			t.Errorf("%s takes %.1f write units, want %.1f", what, n, units)
		}
	}
	write("a list", 1, func() error {
		_, err := l.List(ctx, []fanout.Listed{{Run: "r1", Tier: "a", Task: long.ID, Fetch: "0123456789abcdef", Object: object, Children: 100, Rows: 100, Pages: 3, Final: true}})
		return err
	})
	write("a claim", 1, func() error {
		_, err := l.Claim(ctx, []fanout.Claim{{Run: "r1", Child: long.ID, Parent: long.ID}})
		return err
	})
	write("a settled list", 1, func() error {
		return l.Settle(ctx, []fanout.Settlement{{Task: long, Outcome: fanout.Done, Fetch: "0123456789abcdef", Object: object, Children: 100, Rows: 100, Pages: 3, At: time.Now()}})
	})
	write("the governor's item with eight members", 1, func() error {
		return s.v.Governor().Update(ctx, vendor, func(it *governor.Item) error { fill(it, 8, 4); return nil })
	})
	write("the governor's item with four members", 1, func() error {
		return s.v.Governor().Update(ctx, vendor, func(it *governor.Item) error { fill(it, 4, 0); return nil })
	})
}

// fill makes an item as a busy fleet has it.
func fill(it *governor.Item, members, cuts int) {
	now, n := time.Now().UTC(), 0
	at := func() time.Time { n++; return now.Add(time.Duration(n*n*7919) * 1013) }
	*it = governor.Item{Rev: it.Rev + 1, Booked: at(), Epoch: int64(cuts), Members: map[string]governor.Member{},
		Brake: governor.Brake{Until: at(), Set: at(), Growth: 2, Why: "the vendor answered 429: GET https://api.example.com/v1/devices?page=2"}}
	for i := range members {
		id := fmt.Sprintf("%c7Q2ZK%dVXA", 'A'+i, i)
		it.Members[id] = governor.Member{Expires: at(), Booked: at(), Want: 8 + i, Units: i, Lease: at(), Turn: at(), Waits: at()}
	}
	for i := range cuts {
		it.Cuts = append(it.Cuts, governor.Cut{Epoch: int64(i + 1), At: at(), Made: at(), Last: at()})
	}
}

// TestUsageIsACopy: what was read does not change.
func TestUsageIsACopy(t *testing.T) {
	t.Parallel()
	s := open2(t)
	_, err := s.v.Ledger(vendor).AnyOpen(t.Context())
	ok(t, err)
	u := s.cloud.Usage()
	before := maps.Clone(u.Calls)
	_, err = s.v.Ledger(vendor).AnyOpen(t.Context())
	ok(t, err)
	if !maps.Equal(before, u.Calls) || maps.Equal(s.cloud.Calls(), before) {
		t.Error("usage is not a copy, or does not grow")
	}
}
