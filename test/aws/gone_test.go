package aws

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

// raw sends a request to the stand-ins as whoever makes and deletes things.
func (s *madeSite) raw(t *testing.T, method, path, service, target, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.servers.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", target)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAMAKER/20260101/eu-central-1/"+service+"/aws4_request, SignedHeaders=host;x-amz-date, Signature=00")
	req.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s", method, target, resp.Status)
	}
}

// TestGone: a bucket, then a table that are not there.
func TestGone(t *testing.T) {
	t.Parallel()
	s := makeSite(t, vendorsim.Config{Tree: tiny})
	s.raw(t, http.MethodDelete, "/"+s.stack.Bucket, "s3", "", "")
	s.fails(t, s.runArgs(), "the stack of vendor sim is not whole", "bucket "+s.stack.Bucket+" is gone: deploy the stack again")
	if err := s.servers.MakeBucket(t.Context(), s.stack.Bucket); err != nil {
		t.Fatal(err)
	}
	p := s.run(t)
	if code := p.finish(t, 30*time.Second); code != 0 {
		t.Fatalf("with a bucket the run ended with %d:\n%s", code, lastLines(p.errs.String()))
	}
	s.truth(t, runOf(t, p.out.String()), tiny, nil)
	s.raw(t, http.MethodPost, "/", "dynamodb", "DynamoDB_20120810.DeleteTable", fmt.Sprintf(`{"TableName":%q}`, s.stack.Table))
	time.Sleep(time.Second) // it is being deleted, and still answers
	s.fails(t, s.runArgs(), "the stack of vendor sim is not whole", "table "+s.stack.Table+" is gone: deploy the stack again")
}

// TestQueueDeleted deletes a queue under a worker. That stops, with a clear
// line; what it had called for is kept. Once the queue is there again, repair
// sends what it held, and a run completes.
func TestQueueDeleted(t *testing.T) {
	t.Parallel()
	tree := vendorsim.Tree{Groups: 2, Devices: 10, Datagroups: 400, Points: 2}
	s := makeSite(t, vendorsim.Config{Tree: tree, Latency: 50 * time.Millisecond}, limited("{name: calls, bucket: 50/s, burst: 5, in_flight: 16}")...)
	out, _ := s.sluice(t, 0, append(s.called("seed", s.spec), window...)...)
	id := runOf(t, out)
	upper := []*process{s.worker(t, "devices"), s.worker(t, "datagroups")}
	p := s.worker(t, "data")
	s.calls(t, 130, 30*time.Second, p)
	deleted, queue := time.Now(), s.stack.Queues["data"]
	if err := s.servers.DeleteQueue(t.Context(), queue.URL); err != nil {
		t.Fatal(err)
	}
	if code := p.finish(t, 45*time.Second); code != 2 {
		t.Errorf("the worker ended with %d", code)
	}
	t.Logf("the worker ended %v after its queue", p.ended.Sub(deleted).Round(100*time.Millisecond))
	oneLine(t, p.errs.String(), "queue "+s.stack.Table+"-data", "is gone: deploy the stack again")
	for _, u := range upper {
		u.Process.Kill()
	}
	done := s.leavesDone(t, id)
	again, err := s.servers.MakeQueue(t.Context(), s.stack.Table+"-data", queue.Dead, 1000)
	if err != nil || again != queue.URL {
		t.Fatalf("the queue again: %s, %v", again, err)
	}
	if st := s.statusOf(t, id); st.State != "open" {
		t.Errorf("run %+v: it should be open", st)
	}
	out, _ = s.sluice(t, 0, "repair", id)
	says(t, out, "of run "+id+" on the queue again. Go on with: sluice run")
	run := s.run(t)
	if code := run.finish(t, 40*time.Second); code != 0 {
		t.Fatalf("the run ended with %d:\n%s", code, lastLines(run.errs.String()))
	}
	s.truth(t, id, tree, nil)
	st := s.Stats()
	t.Logf("%d leaves were kept of a worker whose queue was deleted; %d calls repeated", done, st.Repeated)
	// Results that waited behind the batch whose messages could not be deleted are
	// lost with the worker: at most what it had taken ahead.
	if most := 4*50 + 16; st.Repeated > most {
		t.Errorf("%d calls repeated: at most %d", st.Repeated, most)
	}
}

// leavesDone is how many leaves of a run are done: read from the ledger, since
// "sluice status" wants all of a stack's queues.
func (s *madeSite) leavesDone(t *testing.T, id string) int {
	t.Helper()
	counts, err := s.servers.Open(t, "AKIAMAKER").Use(s.stack).Progress(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return counts["data"].Done
}

// TestThrottledLong: DynamoDB throttles for 40 s. The fleet stops calling within
// about a second, says why, loses nothing, and goes on by itself.
func TestThrottledLong(t *testing.T) {
	t.Parallel()
	tree := vendorsim.Tree{Groups: 2, Devices: 10, Datagroups: 260, Points: 2}
	s := makeSite(t, vendorsim.Config{Tree: tree, Latency: 20 * time.Millisecond}, limited("{name: calls, bucket: 50/s, burst: 5, in_flight: 16}")...)
	p := s.start(t, append(s.called("run", s.spec), window...)...)
	s.calls(t, 100, 30*time.Second, p)
	began := time.Now()
	s.servers.Inject(func(_ int, r awstest.Request) awstest.Fault {
		if r.Service == "dynamodb" {
			return awstest.Throttled(r.Service)
		}
		return awstest.Fault{}
	})
	if p.waits(40 * time.Second) {
		t.Fatalf("the run has ended:\n%s", lastLines(p.errs.String()))
	}
	s.servers.Inject(nil)
	healed, stopped := time.Now(), s.Arrivals()
	last := stopped[len(stopped)-1].Sub(began)
	s.calls(t, len(stopped)+1, 60*time.Second, p) // machines may be busy: what it takes is logged
	after := s.Arrivals()[len(stopped)].Sub(healed)
	t.Logf("throttled for 40 s: the last call after %v, the next one %v after the end of it", last.Round(10*time.Millisecond), after.Round(10*time.Millisecond))
	if last > 1500*time.Millisecond {
		t.Errorf("a call was made %v after DynamoDB began to throttle", last)
	}
	if code := p.finish(t, 90*time.Second); code != 0 {
		t.Fatalf("the run ended with %d:\n%s", code, lastLines(p.errs.String()))
	}
	if said := p.errs.String(); !strings.Contains(said, "a store failed; trying again") || !strings.Contains(said, "DynamoDB") {
		t.Errorf("it did not say what was wrong:\n%s", lastLines(said))
	}
	s.truth(t, runOf(t, p.out.String()), tree, nil)
	if st := s.Stats(); st.Repeated != 0 {
		t.Errorf("%d calls repeated", st.Repeated)
	}
}
