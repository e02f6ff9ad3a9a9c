package awsfleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/run"
)

func newRunOf(vendor string) run.Run {
	r := newRun("other", 0, "a")
	r.Vendor = vendor
	return r
}

const wholeStack = `{"vendor":"sim","table":"sluice-sim","bucket":"sluice-sim-1-eu","queues":{"groups":{"url":"https://sqs/1/g","dead":"https://sqs/1/g-dead"}},
	"secrets":{"token":"ssm:/sluice/sim/secrets/token","other":"secretsmanager:sim/other"},"keep_days":30,"lake":{"bucket":"sluice-sim-1-eu","prefix":"lake/","queue":"https://sqs/1/l","dead":"https://sqs/1/ld"}}`

func TestParseStack(t *testing.T) {
	s, err := awsfleet.ParseStack(wholeStack)
	ok(t, err)
	want := awsfleet.Stack{
		Vendor: "sim", Table: "sluice-sim", Bucket: "sluice-sim-1-eu", KeepDays: 30,
		Queues:  map[string]awsfleet.Queues{"groups": {URL: "https://sqs/1/g", Dead: "https://sqs/1/g-dead"}},
		Secrets: map[string]string{"token": "ssm:/sluice/sim/secrets/token", "other": "secretsmanager:sim/other"},
		Lake:    awsfleet.Lake{Bucket: "sluice-sim-1-eu", Prefix: "lake/", Queue: "https://sqs/1/l", Dead: "https://sqs/1/ld"},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("%+v", s)
	}
	for cut, lacks := range map[string]string{
		`"vendor":"sim",`:                "lacks vendor",
		`"table":"sluice-sim",`:          "lacks table",
		`"bucket":"sluice-sim-1-eu",`:    "lacks bucket",
		`"url":"https://sqs/1/g",`:       "lacks queues.groups.url",
		`,"dead":"https://sqs/1/g-dead"`: "lacks queues.groups.dead",
		`ssm:`:                           "secrets.token: \"/sluice/sim/secrets/token\" is no place of a secret",
		`,"dead":"https://sqs/1/ld"`:     "lacks lake.bucket, lake.queue or lake.dead",
		`{"vendor"`:                      "is not JSON",
	} {
		_, err := awsfleet.ParseStack(strings.Replace(wholeStack, cut, "", 1))
		if err == nil || !strings.Contains(err.Error(), lacks) || strings.Contains(err.Error(), "\n") {
			t.Errorf("without %s: %v; want %s", cut, err, lacks)
		}
	}
	if s, err := awsfleet.ParseStack(strings.Replace(wholeStack, `"keep_days":30,`, "", 1)); err != nil || s.KeepDays != 90 {
		t.Errorf("days by default: %d, %v", s.KeepDays, err)
	}
}

func TestStacks(t *testing.T) {
	t.Parallel()
	s := awstest.StandIn(t)
	c, ctx := s.Open(t, "AKIATEST"), t.Context()
	if _, err := c.Stack(ctx, "sim"); !errors.Is(err, awsfleet.ErrNoStack) ||
		err.Error() != "there is no stack of vendor sim in region "+c.Region()+" (deploy it with make deploy VENDOR=sim, or name the right region/profile)" {
		t.Errorf("no stack: %v", err)
	}
	var want []string
	for i := range 23 {
		name := fmt.Sprintf("vendor-%02d", i)
		stack := awsfleet.Stack{Vendor: name, Table: "t", Bucket: "b", Queues: map[string]awsfleet.Queues{"a": {URL: "u", Dead: "d"}}, KeepDays: 7}
		doc, err := json.Marshal(stack)
		ok(t, err)
		ok(t, s.PutParameter(ctx, "/sluice/"+name+"/stack", string(doc), false))
		ok(t, s.PutParameter(ctx, "/sluice/"+name+"/secrets/stack", "hush", true))
		if got, err := c.Stack(ctx, name); err != nil || !reflect.DeepEqual(got, stack) {
			t.Errorf("%+v, %v", got, err)
		}
		want = append(want, name)
	}
	got, err := c.Vendors(ctx)
	ok(t, err)
	if got = slices.DeleteFunc(got, func(v string) bool { return !strings.HasPrefix(v, "vendor-") }); !slices.Equal(got, want) {
		t.Errorf("vendors %v", got)
	}
	ok(t, s.PutParameter(ctx, "/sluice/bad/stack", `{"vendor":"bad"}`, false))
	if _, err := c.Stack(ctx, "bad"); err == nil || !strings.Contains(err.Error(), `parameter /sluice/bad/stack: the description of stack "bad" lacks table`) {
		t.Errorf("a bad stack: %v", err)
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	s := awstest.StandIn(t)
	stack, ctx := s.Make(t, vendor), t.Context()
	at := func(name string) string { return "/sluice/" + stack.Table + "/secrets/" + name }
	stack.Secrets = map[string]string{
		"token": "ssm:" + at("token"), "none": "ssm:" + at("none"), "kept": "secretsmanager:" + at("kept"), "lost": "secretsmanager:" + at("lost"), "bad": "x:y",
	}
	ok(t, s.PutParameter(ctx, at("token"), "hush1", true))
	ok(t, s.PutSecret(ctx, at("kept"), "hush2"))
	secrets := s.Open(t, "AKIATEST").Use(stack).Secrets()
	for name, want := range map[string]string{"token": "hush1", "kept": "hush2"} {
		if got, err := secrets.Secret(vendor, name); err != nil || got != want {
			t.Errorf("secret %s: %v", name, err)
		}
	}
	ok(t, s.PutParameter(ctx, at("token"), "new", true))
	if got, _ := secrets.Secret(vendor, "token"); got != "new" {
		t.Error("a changed secret is not read again")
	}
	for name, want := range map[string]string{
		"none": "aws ssm put-parameter --region " + s.Open(t, "AKIATEST").Region() + " --type SecureString --name " + at("none"),
		"lost": "aws secretsmanager create-secret", "other": "does not say where secret", "bad": "is no place of a secret",
	} {
		if _, err := secrets.Secret(vendor, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("secret %s: %v; want %s", name, err, want)
		}
	}
	if _, err := secrets.Secret("w", "token"); err == nil {
		t.Error("another vendor's secret")
	}
}

// A fleet's processes log in one at a time, see what the one before has kept, and
// go on when one has died in the middle.
func TestSessionIsTheFleets(t *testing.T) {
	t.Parallel()
	s := awstest.StandIn(t)
	stack, ctx := s.Make(t, vendor), t.Context()
	stack.Session = "/sluice/" + stack.Table + "/secrets/.session"
	var logins, inside atomic.Int64
	var wg sync.WaitGroup
	for range 6 {
		secrets := s.Open(t, "AKIATEST").Use(stack).Secrets()
		wg.Go(func() {
			err := secrets.Session(ctx, vendor, func(_ context.Context, kept []byte) ([]byte, error) {
				if inside.Add(1) > 1 {
					t.Error("two log in at once")
				}
				defer inside.Add(-1)
				if string(kept) == "token" {
					return nil, nil
				}
				logins.Add(1)
				time.Sleep(20 * time.Millisecond)
				return []byte("token"), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if logins.Load() != 1 {
		t.Errorf("%d logins", logins.Load())
	}
	secrets := s.Open(t, "AKIATEST").Use(stack).Secrets()
	refused := errors.New("refused")
	if err := secrets.Session(ctx, vendor, func(context.Context, []byte) ([]byte, error) { return []byte("x"), refused }); !errors.Is(err, refused) {
		t.Errorf("a login that was refused: %v", err)
	}
	if err := secrets.Session(ctx, vendor, func(_ context.Context, kept []byte) ([]byte, error) {
		if string(kept) != "token" {
			t.Errorf("%q is kept", kept)
		}
		return nil, nil
	}); err != nil {
		t.Error(err)
	}
	stack.Session = ""
	if err := s.Open(t, "AKIATEST").Use(stack).Secrets().Session(ctx, vendor, nil); err == nil || !strings.Contains(err.Error(), "deploy it") {
		t.Errorf("a stack without: %v", err)
	}
}
