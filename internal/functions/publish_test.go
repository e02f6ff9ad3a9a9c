package functions_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

// TestPublishing: a closed run is sent to be published with the look that closes
// it or with the next one, again after sixteen minutes or when that is asked
// for, and never while it is open; the idle look costs no request more.
func TestPublishing(t *testing.T) {
	s := newSite(t, vendorsim.Tree{Groups: 1, Devices: 1, Datagroups: 1, Points: 1}, "{name: calls, bucket: 50/s, burst: 5}")
	s.addLake(t)
	ctx := t.Context()
	closer := s.function(t, "close", "close")
	look := func(sent []any, want ...string) {
		t.Helper()
		s.servers.ResetRecord()
		got := invoke(t, closer, struct{}{})["sent"]
		if fmt.Sprint(got) != fmt.Sprint(any(sent)) && (got != nil || sent != nil) {
			t.Errorf("sent %v, want %v", got, sent)
		}
		if asked := s.requests("close"); want != nil && !slices.Equal(asked, want) {
			t.Errorf("a look asks for %v, want %v", asked, want)
		}
	}
	idle := []string{"dynamodb.GetItem", "dynamodb.Query"}
	look(nil, idle...)

	seeder := s.function(t, "seed", "seed")
	seeder.Timeout = 5 * time.Second
	id := fmt.Sprint(invoke(t, seeder, map[string]string{"at": "2026-01-03T02:00:00Z"})["run"])
	// Asked for by a look that died before it had closed the run.
	if err := s.vendor.AskPublish(ctx, id, 0); err != nil {
		t.Fatal(err)
	}
	look(nil)
	for _, tier := range []string{"devices", "datagroups", "data"} {
		f := s.function(t, "tier", tier, "SLUICE_TIER="+tier)
		f.Timeout = 5 * time.Second
		invoke(t, f, struct{}{})
	}
	closer.Close() // what it remembers of the run is lost
	closer = s.function(t, "close", "close")
	// The message cannot be sent: the next look sends it.
	s.servers.Inject(func(_ int, r awstest.Request) awstest.Fault {
		if r.Action == "SendMessage" {
			return awstest.Before
		}
		return awstest.Fault{}
	})
	if _, err := closer.Invoke(ctx, struct{}{}); err == nil || !strings.Contains(err.Error(), "sending to queue") {
		t.Errorf("a publication that could not be sent: %v", err)
	}
	s.servers.Inject(nil)
	look([]any{id}, append(slices.Clone(idle), "sqs.SendMessage", "dynamodb.UpdateItem")...)
	look(nil, idle...)

	p, found, err := s.vendor.Asked(ctx, id)
	if err != nil || !found || time.Since(p.Sent) > time.Minute {
		t.Fatal(p, found, err)
	}
	for _, since := range []time.Time{time.Now().Add(-17 * time.Minute), {}} {
		if err := s.vendor.SentPublish(ctx, p, since); err != nil {
			t.Fatal(err)
		}
		look([]any{id})
	}
	s.stuck(t, id)
	if err := s.vendor.Unask(ctx, p); err != nil {
		t.Fatal(err)
	}
	look(nil, idle...)
	if got := s.published(t); !slices.Equal(got, slices.Repeat([]string{`{"publish":"` + id + `"}`}, 3)) {
		t.Errorf("sent: %v", got)
	}
}

// stuck looks at a run that has waited for too long, and for not so long.
func (s *site) stuck(t *testing.T, id string) {
	t.Helper()
	for after, want := range map[string]string{"1ms": `"LakeRefused":1`, "1h": ""} {
		var log bytes.Buffer
		f := s.function(t, "close", "close-"+after, "SLUICE_PUBLISH_AFTER="+after)
		f.Log = &log
		invoke(t, f, struct{}{})
		f.Close()
		if said := log.String(); strings.Contains(said, "LakeRefused") != (want != "") || want != "" && !(strings.Contains(said, want) && strings.Contains(said, `"runs":["`+id+`"]`)) {
			t.Errorf("after %s it says %s", after, said)
		}
	}
}

// published are the messages on the lake's queue.
func (s *site) published(t *testing.T) (out []string) {
	t.Helper()
	for {
		got, err := s.servers.Messages(t.Context(), s.vendor.Stack().Lake.Queue)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			return out
		}
		for _, m := range got {
			out = append(out, m.Body)
		}
	}
}

// addLake gives the site's stack a lake.
func (s *site) addLake(t *testing.T) {
	t.Helper()
	stack, err := s.servers.MakeLake(t.Context(), s.vendor.Stack())
	if err != nil {
		t.Fatal(err)
	}
	s.vendor = s.servers.Open(t, "test").Use(stack)
	s.env[0] = stackVariable(t, stack)
}
