package awsfleet_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/fanout"
)

func asked(t *testing.T, v *awsfleet.Vendor, run string) awsfleet.Publication {
	t.Helper()
	p, found, err := v.Asked(t.Context(), run)
	if err != nil || !found {
		t.Fatal(found, err)
	}
	return p
}

// TestPublications: what is asked for stays until it is ended, and one that was
// asked for anew is not ended with the one before.
func TestPublications(t *testing.T) {
	t.Parallel()
	s := awstest.Start(t)
	stack, err := s.MakeLake(t.Context(), s.Make(t, vendor, "a"))
	ok(t, err)
	v, ctx := s.Open(t, "AKIATEST").Use(stack), t.Context()
	if _, found, err := v.Asked(ctx, "r1"); found || err != nil {
		t.Error("nobody has asked", err)
	}
	ok(t, v.AskPublish(ctx, "r1", 3))
	ok(t, v.AskPublish(ctx, "r2", 0))
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	ok(t, v.Await(ctx, awsfleet.Waiting{Window: fanout.Window{From: day, To: day.AddDate(0, 0, 1)}}))
	windows, all, err := v.Waits(ctx)
	if err != nil || len(windows) != 1 || len(all) != 2 || all[0] != asked(t, v, "r1") || all[0].Run != "r1" || all[0].Rev != 3 || !all[0].Sent.IsZero() {
		t.Errorf("%+v %+v %v", windows, all, err)
	}
	first, now := asked(t, v, "r1"), time.Now().UTC()
	ok(t, v.SentPublish(ctx, first, now))
	if p := asked(t, v, "r1"); !p.Sent.Equal(now) || !p.At.Equal(first.At) {
		t.Errorf("sent: %+v", p)
	}
	ok(t, v.SentPublish(ctx, first, time.Time{}))
	if p := asked(t, v, "r1"); !p.Sent.IsZero() {
		t.Errorf("sent again: %+v", p)
	}
	ok(t, v.AskPublish(ctx, "r1", 4))
	second := asked(t, v, "r1")
	ok(t, v.SentPublish(ctx, first, now)) // about another request: nothing
	ok(t, v.Unask(ctx, first))
	if p := asked(t, v, "r1"); p != second || p.Rev != 4 {
		t.Errorf("a newer request was ended or changed with an older one: %+v", p)
	}
	for range 2 {
		ok(t, v.Unask(ctx, second))
	}
	ok(t, v.SentPublish(ctx, second, now)) // it makes no row
	if _, found, err := v.Asked(ctx, "r1"); found || err != nil {
		t.Error("it is still asked for", err)
	}
	ok(t, v.Check(ctx))
}

// TestLakeQueue: what close and the lake's function send, and how a message
// that failed shows again.
func TestLakeQueue(t *testing.T) {
	t.Parallel()
	s := awstest.StandIn(t)
	stack, err := s.MakeLake(t.Context(), s.Make(t, vendor, "a"))
	ok(t, err)
	v, ctx := s.Open(t, "AKIATEST").Use(stack), t.Context()
	ok(t, v.SendPublish(ctx, "r1"))
	got, err := s.Messages(ctx, stack.Lake.Queue)
	if err != nil || len(got) != 1 || got[0].Body != `{"publish":"r1"}` {
		t.Fatal(got, err)
	}
	if again, err := s.Messages(ctx, stack.Lake.Queue); err != nil || len(again) != 0 {
		t.Fatal(again, err)
	}
	ok(t, v.ShowAgain(ctx, got[0].Receipt, 0))
	if again, err := s.Messages(ctx, stack.Lake.Queue); err != nil || len(again) != 1 {
		t.Error(again, err)
	}
	ok(t, v.Bury(ctx, awsfleet.Corrupt{Run: "r1", Object: "run=r1/tier=a/o.ndjson.zst", Reason: "cut\x00off \ufffe" + strings.Repeat("é", 5000), Message: `{"Records":[]}`}))
	ok(t, v.Bury(ctx, awsfleet.Corrupt{Object: "o", Message: "x"}))
	dead, err := s.Messages(ctx, stack.Lake.Dead)
	if err != nil || len(dead) != 2 {
		t.Fatal(dead, err)
	}
	if a := dead[0].Attributes; dead[0].Body != `{"Records":[]}` || a["run"] != "r1" || a["object"] != "run=r1/tier=a/o.ndjson.zst" || !strings.HasPrefix(a["reason"], "cut?off ?éé") || len(a["reason"]) > 2048 {
		t.Errorf("%q", dead[0])
	}
	bare := s.Open(t, "AKIATEST").Use(s.Make(t, "w", "a"))
	if bare.Lake() != nil || bare.AskPublish(ctx, "r", 0) != nil {
		t.Error("a stack without a lake has one")
	}
	for _, err := range []error{bare.SendPublish(ctx, "r"), bare.ShowAgain(ctx, "receipt", 0)} {
		if !errors.Is(err, awsfleet.ErrNoLake) || !strings.Contains(err.Error(), "stack w") {
			t.Errorf("sending without a lake: %v", err)
		}
	}
}

// TestPublicationFaults: whichever request fails, before or after it took effect,
// doing it again ends alike: asked for once, sent, and ended.
func TestPublicationFaults(t *testing.T) {
	t.Parallel()
	s := awstest.StandIn(t)
	stack, err := s.MakeLake(t.Context(), s.Make(t, vendor, "a"))
	ok(t, err)
	v, ctx := s.Open(t, "AKIATEST").Use(stack), t.Context()
	for _, fault := range []awstest.Fault{awstest.Before, awstest.After} {
		for n := 0; ; n++ {
			hit := false
			s.ResetRecord()
			s.Inject(func(at int, _ awstest.Request) awstest.Fault {
				if at == n {
					hit = true
					return fault
				}
				return awstest.Fault{}
			})
			again := func(do func() error) {
				t.Helper()
				if do() != nil {
					ok(t, do())
				}
			}
			var p awsfleet.Publication
			again(func() error { return v.AskPublish(ctx, "r1", n) })
			again(func() (err error) { p, _, err = v.Asked(ctx, "r1"); return err })
			again(func() error { return v.SendPublish(ctx, p.Run) })
			again(func() error { return v.SentPublish(ctx, p, time.Now()) })
			again(func() error { return v.SentPublish(ctx, p, time.Time{}) })
			if p, found, err := v.Asked(ctx, "r1"); n > 5 && (err != nil || !found || !p.Sent.IsZero() || p.Rev != n) {
				t.Errorf("fault %d: %+v %v %v", n, p, found, err)
			}
			again(func() error { return v.Unask(ctx, p) })
			s.Inject(nil)
			if _, all, err := v.Waits(ctx); err != nil || len(all) > 0 {
				t.Errorf("fault %d: %v is still asked for, %v", n, all, err)
			}
			if got, err := s.Messages(ctx, stack.Lake.Queue); err != nil || len(got) < 1 || len(got) > 2 {
				t.Errorf("fault %d: %d messages, %v", n, len(got), err)
			}
			if !hit {
				if n < 7 {
					t.Errorf("only %d requests were made to fail", n)
				}
				break
			}
		}
	}
}
