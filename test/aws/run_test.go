package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/functions/stacktest"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

var programs = []string{"sluice-sim-seed", "sluice-sim-tier-groups", "sluice-sim-tier-devices", "sluice-sim-tier-datagroups", "sluice-sim-tier-data", "sluice-sim-close", "sluice-sim-lake"}

// TestStack walks the simulated vendor by the synthesized stack to complete
// verdicts: with functions killed, every message delivered again, an outage, a
// message that SQS itself gave up on, a window that waits for another's end, and
// a dead letter that is replayed. Beside it the lake's function, killed too,
// makes tables of it. Then it compares what the functions have called with what
// their policies allow.
func TestStack(t *testing.T) {
	t.Parallel()
	tree := vendorsim.Tree{Groups: 6, Devices: 50, Datagroups: 250, Points: 3, Shared: 4}
	s := deploy(t, vendorsim.Config{Tree: tree, Latency: 5 * time.Millisecond}, "{name: calls, bucket: 25/s, burst: 5, in_flight: 16}",
		stacktest.Options{Timeout: 25 * time.Second})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	day := func(n int) map[string]string {
		return map[string]string{"from": fmt.Sprintf("2026-01-%02dT00:00:00Z", n), "to": fmt.Sprintf("2026-01-%02dT00:00:00Z", n+1)}
	}
	const lake = "sluice-sim-lake"
	inSend := &kill{function: "sluice-sim-tier-datagroups", action: "SendMessageBatch", n: 2, fault: awstest.CutBefore}
	inStaging := &kill{function: lake, action: "PutObject", on: "/lake/staged/", n: 2, fault: awstest.CutBefore}
	beforeSwitch := &kill{function: lake, action: "PutObject", on: "/lake/published/", n: 1, fault: awstest.CutBefore}
	afterSwitch := &kill{function: lake, action: "PutObject", on: "/lake/published/", n: 1, fault: awstest.CutAfter} // the next one
	throttled := &kill{function: lake, action: "GetObject", on: "/landing/", n: 2, fault: awstest.Before, spare: true}
	s.killAt(inSend, inStaging, beforeSwitch, afterSwitch, throttled)
	if err := s.account.Write(ctx, "landing/run=nobody's/tier=data/x.ndjson.zst", []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	seeded := make(chan error, 1)
	go func() { _, err := s.account.Invoke(ctx, "sluice-sim-seed", day(1)); seeded <- err }()
	go s.account.Tick(ctx, ctx, time.Second) // a minute
	s.account.Pump(ctx, 300*time.Millisecond)
	select {
	case <-inSend.done:
	case <-time.After(time.Minute):
		t.Fatal("no second batch of data groups was sent")
	}
	s.account.Functions["sluice-sim-tier-data"].Kill()
	before := s.servers.Record()
	first := s.runs(t)[0].Run
	if n, err := s.account.Storm(ctx, before); err != nil || n == 0 {
		t.Fatalf("delivering again: %d, %v", n, err)
	}
	lost := s.redrive(t, "sluice-sim-data", before)
	if err := s.Misbehave(vendorsim.Trouble{Down: "503", For: vendorsim.Duration(6 * time.Second)}); err != nil {
		t.Fatal(err)
	}
	if err := <-seeded; err != nil {
		t.Fatal("the seeder:", err)
	}
	// The next day's window finds the first run open, and waits.
	body, err := s.account.Invoke(ctx, "sluice-sim-seed", day(2))
	if err != nil || !strings.Contains(string(body), `"queued"`) {
		t.Fatalf("a window while a run is open: %s, %v", body, err)
	}
	s.await(t, first, "closed", 3*time.Minute)
	dead := s.sluice(t, 0, "dead", "sim", "--run", first)
	// Whoever was killed while it sent may have sent it twice: then the other copy
	// has done it.
	if copies := stacktest.Sent(s.servers.Record(), lost); !strings.Contains(dead, "redrive") && copies < 2 {
		t.Errorf("the message that SQS gave up on is no dead letter, and was sent once:\n%s", dead)
	}
	// The window that waited is begun by close; its first answers cannot be read.
	if err := s.Misbehave(vendorsim.Trouble{Malformed: 1}); err != nil {
		t.Fatal(err)
	}
	second := s.other(t, first, time.Minute)
	s.await(t, second, "closed", 2*time.Minute)
	if err := s.Misbehave(vendorsim.Trouble{}); err != nil {
		t.Fatal(err)
	}
	s.sluice(t, 0, "replay", "sim")
	for _, id := range []string{first, second} {
		s.await(t, id, "closed", 2*time.Minute)
		s.complete(t, id, tree)
		s.published(t, id, tree)
	}
	for _, k := range []*kill{inStaging, beforeSwitch, afterSwitch, throttled} {
		select {
		case <-k.done:
		default:
			t.Errorf("the lake's function was not met at %s %s", k.action, k.on)
		}
	}
	s.limits(t, 25, 5)
	s.buried(t)
	stop()
	s.logs(t)
	s.rights(t)
	s.operator(t)
}

type runStatus struct {
	Run, State string
	From, To   time.Time
	Tiers      []struct {
		Tier                          string
		Known, Done, Gone, Dead, Rows int
	}
}

// runs are the vendor's runs, newest first.
func (s *site) runs(t *testing.T) []runStatus {
	t.Helper()
	var all []struct{ Runs []runStatus }
	if err := json.Unmarshal([]byte(s.sluice(t, 0, "status", "sim", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	return all[0].Runs
}

// eventually waits until something is so.
func (s *site) eventually(t *testing.T, what string, longest time.Duration, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); time.Sleep(300 * time.Millisecond) {
		if time.Since(began) > longest {
			t.Fatalf("%s: not within %v:\n%s", what, longest, s.sluice(t, 0, "status", "sim"))
		}
	}
}

// A kill kills a function with its n-th request of an action on what has some
// text in its name: with the second batch that it sends lists are recorded, and
// their children on no queue.
type kill struct {
	function, action, on string
	n                    int
	fault                awstest.Fault // what becomes of the request
	spare                bool          // only that
	done                 chan struct{} // closed when it has happened
}

func (s *site) killAt(kills ...*kill) {
	for _, k := range kills {
		k.done = make(chan struct{})
	}
	s.servers.Inject(func(_ int, r awstest.Request) awstest.Fault { // by one goroutine at a time
		for _, k := range kills {
			if r.Key != k.function || r.Action != k.action || !strings.Contains(r.Resource, k.on) || k.n == 0 {
				continue
			}
			if k.n--; k.n > 0 {
				continue
			}
			if !k.spare {
				s.account.Functions[k.function].Kill()
			}
			close(k.done)
			return k.fault
		}
		return awstest.Fault{}
	})
}

// await waits until a run is in a state.
func (s *site) await(t *testing.T, id, state string, longest time.Duration) {
	t.Helper()
	s.eventually(t, "run "+id+" is "+state, longest, func() bool {
		return slices.ContainsFunc(s.runs(t), func(r runStatus) bool { return r.Run == id && r.State == state })
	})
}

// other waits for a run besides the one that is known.
func (s *site) other(t *testing.T, known string, longest time.Duration) (id string) {
	t.Helper()
	s.eventually(t, "another run", longest, func() bool {
		for _, r := range s.runs(t) {
			if r.Run != known {
				id = r.Run
			}
		}
		return id != ""
	})
	return id
}

// redrive makes SQS give up on one message, of a task that was not sent before the
// functions were killed and their messages delivered again: a copy of it would be
// done before close is sure that SQS has given up on the other.
func (s *site) redrive(t *testing.T, queue string, before []awstest.Request) (task string) {
	t.Helper()
	s.eventually(t, "a message to give up on", 90*time.Second, func() bool {
		var err error
		if task, err = s.account.Redrive(t.Context(), queue, before); err != nil {
			t.Fatal(err)
		}
		return task != ""
	})
	return task
}

// complete checks that a run's verdict is complete, and that what was landed is
// the truth, each leaf once.
func (s *site) complete(t *testing.T, id string, tree vendorsim.Tree) {
	t.Helper()
	i := slices.IndexFunc(s.runs(t), func(r runStatus) bool { return r.Run == id })
	r := s.runs(t)[i]
	var verdict struct {
		State   string
		Verdict struct{ Known, Done, Dead, Missing int }
	}
	doc, err := s.account.Read(t.Context(), "verdicts/"+id+".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(doc, &verdict); err != nil {
		t.Fatal(err)
	}
	if v := verdict.Verdict; verdict.State != "closed" || v.Dead+v.Missing != 0 || v.Done != v.Known || v.Known != tree.Calls() {
		t.Errorf("run %s: the verdict beside the data says %+v, want %d done", id, verdict, tree.Calls())
	}
	want := map[string]int{}
	for leaf := range tree.Leaves(r.From.Unix(), r.To.Unix()) {
		for _, row := range leaf.Rows {
			want[fmt.Sprint(leaf.Device, " ", leaf.Datagroup, " ", row.Time, " ", row.Bytes)]++
		}
	}
	for line := range strings.Lines(s.sluice(t, 0, "read", id)) {
		var row struct {
			Device, Datagroup string
			Time              int64
			Bytes             json.Number
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		want[fmt.Sprint(row.Device, " ", row.Datagroup, " ", row.Time, " ", row.Bytes)]--
	}
	for row, n := range want {
		if n != 0 {
			t.Errorf("run %s: row %s: %+d", id, row, -n)
			break
		}
	}
}

// limits checks the vendor's own count of every sliding window.
func (s *site) limits(t *testing.T, rate float64, burst int) {
	t.Helper()
	arrivals := s.Arrivals()
	for _, w := range []time.Duration{time.Second, 5 * time.Second, 10 * time.Second} {
		allowed := int(rate*w.Seconds()) + burst
		if worst := vendorsim.Worst(arrivals, w); worst > allowed {
			t.Errorf("%d calls in %v: at most %d", worst, w, allowed)
		}
	}
	st := s.Stats()
	t.Logf("%d calls, %d answered badly, %d repeated, worst windows %v", st.Calls, st.Failed, st.Repeated, st.Worst)
	// Two functions were killed with at most what was in flight and what waited for
	// its batch: five seconds of work.
	if most := 5*25 + 32; st.Repeated > most {
		t.Errorf("%d calls repeated: at most %d", st.Repeated, most)
	}
}
