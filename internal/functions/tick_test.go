package functions_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/functions/lambdatest"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

const token = "the-token"

// A site is the simulated vendor with its stack, and the functions' programs.
type site struct {
	*vendorsim.Server
	servers *awstest.Servers
	vendor  *awsfleet.Vendor
	env     []string
	dir     string
	mu      sync.Mutex
	log     bytes.Buffer
}

func newSite(t *testing.T, tree vendorsim.Tree, limit string) *site {
	t.Helper()
	sim, err := vendorsim.Serve("127.0.0.1:0", vendorsim.Config{Tree: tree, Token: token, Latency: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	s := &site{Server: sim, servers: awstest.StandIn(t), dir: t.TempDir()}
	stack, err := s.servers.MakeStack(t.Context(), "sim", map[string]string{"token": token}, "groups", "devices", "datagroups", "data")
	if err != nil {
		t.Fatal(err)
	}
	s.vendor = s.servers.Open(t, "test").Use(stack)
	s.env = []string{stackVariable(t, stack), "SLUICE_SETTINGS=" + fmt.Sprintf(`{"base":%q}`, sim.URL)}
	shipped, err := os.ReadFile("../../vendors/sim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	spec := strings.Replace(string(shipped), "{name: calls, bucket: 1000/s, burst: 50, in_flight: 64}", limit, 1)
	for _, program := range []string{"seed", "tier", "close"} {
		build(t, s.dir, program, "")
		if err := os.WriteFile(filepath.Join(s.dir, program, "vendor.yaml"), []byte(spec), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// stackVariable is a stack as a function gets it.
func stackVariable(t *testing.T, stack awsfleet.Stack) string {
	t.Helper()
	text, err := json.Marshal(stack)
	if err != nil {
		t.Fatal(err)
	}
	return "SLUICE_STACK=" + string(text)
}

func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *site) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// function is one of the site's functions; its requests are known by its name.
func (s *site) function(t *testing.T, program, name string, env ...string) *lambdatest.Function {
	t.Helper()
	f := function(t, s.dir, program, slices.Concat(s.servers.Env(name), s.env, env)...)
	f.Name, f.Log = name, s
	return f
}

// requests are what a function has asked for since the record began.
func (s *site) requests(name string) (actions []string) {
	for _, r := range s.servers.Record() {
		if r.Key == name {
			actions = append(actions, r.Service+"."+r.Action)
		}
	}
	return actions
}

func invoke(t *testing.T, f *lambdatest.Function, event any) map[string]any {
	t.Helper()
	body, err := f.Invoke(t.Context(), event)
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	var out map[string]any
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTicks: a tick that has nothing to do costs a request or a few, and says
// nothing; the seeder may fire twice; only one drain of a tier is at work.
func TestTicks(t *testing.T) {
	tree := vendorsim.Tree{Groups: 2, Devices: 4, Datagroups: 40, Points: 2}
	s := newSite(t, tree, "{name: calls, bucket: 10/s, burst: 2, in_flight: 8}")
	data := s.function(t, "tier", "data", "SLUICE_TIER=data")
	data.Concurrency, data.Timeout = 2, 3*time.Minute // its soft end is far: nobody stands by

	if got := invoke(t, data, struct{}{})["left"]; got != "no run is open" {
		t.Errorf("without a run: %v", got)
	}
	if got := s.requests("data"); !slices.Equal(got, []string{"dynamodb.BatchGetItem"}) {
		t.Errorf("without a run a tick asks for %v, want one read", got)
	}

	at := map[string]string{"at": "2026-01-03T02:00:00Z"}
	seeder := s.function(t, "seed", "seed")
	seeder.Timeout = 5 * time.Second
	first := invoke(t, seeder, at)
	second := invoke(t, seeder, at)
	if first["run"] != second["run"] || !strings.HasPrefix(fmt.Sprint(first["run"]), "sim-20260102-") {
		t.Errorf("fired twice: %v and %v, want one run of the day before", first["run"], second["run"])
	}
	if n := s.Stats().Calls; n != 1 {
		t.Errorf("%d calls for the first tier's one task", n)
	}

	s.servers.ResetRecord()
	before := s.said()
	if got := fmt.Sprint(invoke(t, data, struct{}{})["left"]); !strings.HasPrefix(got, "the queue is empty") {
		t.Errorf("with an empty queue: %v", got)
	}
	if got := s.requests("data"); len(got) > 12 || slices.Index(got, "sqs.ReceiveMessage") < 0 {
		t.Errorf("an empty queue costs %d requests: %v", len(got), got)
	}
	if s.said() != before {
		t.Errorf("an empty tick said %s", strings.TrimPrefix(s.said(), before))
	}

	for _, tier := range []string{"devices", "datagroups"} {
		f := s.function(t, "tier", tier, "SLUICE_TIER="+tier)
		f.Timeout = 5 * time.Second
		invoke(t, f, struct{}{})
	}
	s.servers.ResetRecord()
	ended := make(chan map[string]any)
	go func() { ended <- invoke(t, data, struct{}{}) }()
	s.until(t, "the data tier is at work", func() bool { return s.Stats().Calls > 1+2+4+3 })
	beside := s.function(t, "tier", "beside", "SLUICE_TIER=data")
	if got := invoke(t, beside, struct{}{})["left"]; got != "a drain is at work" {
		t.Errorf("beside a drain: %v", got)
	}
	if got := s.requests("beside"); !slices.Equal(got, []string{"dynamodb.BatchGetItem"}) {
		t.Errorf("beside a drain a tick asks for %v, want one read", got)
	}

	// SIGTERM: what is in hand goes back at once, and whoever comes goes on.
	began := time.Now()
	data.Signal(syscall.SIGTERM)
	if got := (<-ended)["left"]; got != "its time was over" {
		t.Errorf("after SIGTERM: %v", got)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("SIGTERM took %v: a call may take 10 s", took)
	}
	if work, _, err := s.vendor.Depth(t.Context(), "data"); err != nil || work.Visible == 0 || work.Hidden > 0 {
		t.Errorf("after SIGTERM the queue has %+v, %v: want all of it visible", work, err)
	}
	last := s.function(t, "tier", "last", "SLUICE_TIER=data")
	last.Timeout = 8 * time.Second
	invoke(t, last, struct{}{})
	// A verdict that could not be published is published later: the run is open
	// until then.
	closer := s.function(t, "close", "close")
	s.servers.Inject(func(_ int, r awstest.Request) awstest.Fault {
		if strings.Contains(r.Resource, "/verdicts/") {
			return awstest.Before
		}
		return awstest.Fault{}
	})
	if _, err := closer.Invoke(t.Context(), struct{}{}); err == nil || !strings.Contains(err.Error(), "publishing the verdict") {
		t.Errorf("a verdict that cannot be published: %v", err)
	}
	s.servers.Inject(nil)
	closer.Close() // what it remembers is lost
	invoke(t, s.function(t, "close", "close"), struct{}{})
	if !strings.Contains(s.said(), `"complete":true`) {
		t.Errorf("no complete verdict")
	}
	if st := s.Stats(); st.Repeated != 0 || st.Calls != tree.Calls() {
		t.Errorf("%d calls, %d repeated; want %d, none", st.Calls, st.Repeated, tree.Calls())
	}
	if strings.Contains(s.said(), token) {
		t.Error("the secret was logged")
	}
}

func (s *site) until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal(what + ": not within 30 s")
		}
	}
}

// TestRefuse: told so, the seeder refuses a window while a run is open, and an
// event that makes no sense.
func TestRefuse(t *testing.T) {
	s := newSite(t, vendorsim.Tree{Groups: 1, Devices: 1, Datagroups: 1, Points: 1}, "{name: calls, bucket: 50/s, burst: 5}")
	seeder := s.function(t, "seed", "seed", "SLUICE_WHEN_OPEN=refuse")
	seeder.Timeout = 4 * time.Second
	first := invoke(t, seeder, map[string]string{"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"})
	for _, c := range []struct {
		event map[string]string
		want  string
	}{
		{map[string]string{"from": "2026-01-02T00:00:00Z", "to": "2026-01-03T00:00:00Z"}, "run " + fmt.Sprint(first["run"]) + " is still open"},
		{map[string]string{"from": "2026-01-02T00:00:00Z"}, "names only one end"},
		{map[string]string{"from": "2026-01-02T00:00:00Z", "to": "2026-01-02T00:00:00Z"}, "is empty"},
	} {
		_, err := seeder.Invoke(t.Context(), c.event)
		var own *lambdatest.FunctionError
		if !errors.As(err, &own) || !strings.Contains(own.Message, c.want) {
			t.Errorf("%v: %v, want %q", c.event, err, c.want)
		}
	}
	if waiting, err := s.vendor.Awaiting(t.Context()); err != nil || len(waiting) != 0 {
		t.Errorf("refused windows wait: %v, %v", waiting, err)
	}
}
