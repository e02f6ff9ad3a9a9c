package aws

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/vendorsim"
)

// TestBudgets counts, on the wire, what a run asks of AWS at 50 calls a second:
// requests to a tier's queue, writes of the governor and of the ledger, landed
// objects. Polls that find nothing are few and counted beside.
func TestBudgets(t *testing.T) {
	tree := vendorsim.Tree{Groups: 2, Devices: 10, Datagroups: 600, Points: 2, Shared: 2}
	s := makeSite(t, vendorsim.Config{Tree: tree, Latency: 5 * time.Millisecond}, limited("{name: calls, bucket: 50/s, burst: 5, in_flight: 32}")...)
	if code := s.run(t).finish(t, 2*time.Minute); code != 0 {
		t.Fatalf("the run ended with %d", code)
	}
	queue, governor, objects, rows := map[string]int{}, 0, 0, 0
	for _, r := range s.servers.Record() {
		switch {
		case r.Service == "sqs" && strings.HasSuffix(r.Resource, "-data") && r.Action != "GetQueueAttributes":
			queue[r.Action]++
		case r.Service == "s3" && r.Action == "PutObject" && strings.Contains(r.Resource, "/landing/"):
			objects++
		case r.Action == "PutItem" && strings.Contains(string(r.Body), `"governor"`):
			governor++
		case r.Action == "UpdateItem":
			rows++
		}
	}
	tasks := float64(tree.Datagroups)
	requests := 0
	for _, n := range queue {
		requests += n
	}
	// Looking at the queue before it has anything and after the last task: twice a
	// second for as long as the run takes.
	const empty = 30
	t.Logf("target: %.3f SQS requests a task at 50/s, empty polls included (at most 0.33 and %d polls): %v", float64(requests)/tasks, empty, queue)
	if float64(requests) > 0.33*tasks+empty {
		t.Errorf("%d requests to the queue of %v tasks: %v", requests, tasks, queue)
	}
	all := float64(tree.Calls())
	t.Logf("target: %.3f governor writes a call (at most 0.1), %.4f landed objects a task (at most 0.02, and one for each small tier)", float64(governor)/all, float64(objects)/all)
	if float64(governor) > 0.1*all {
		t.Errorf("%d governor writes for %v calls", governor, all)
	}
	if float64(objects) > 0.02*all+6 {
		t.Errorf("%d landed objects for %v tasks", objects, all)
	}
	// One for each settled task, one for each list, one for each claim of a device by
	// a group that lists it, and the counters of each batch beside.
	claims := 0
	for _, r := range s.servers.Record() {
		if r.Action == "UpdateItem" && strings.Contains(string(r.Body), "if_not_exists(#parent") {
			claims++
		}
	}
	lists := 1 + tree.Groups + tree.Devices
	if want := tree.Calls() + lists + claims; rows < want || rows > want+60 {
		t.Errorf("%d rows written: want %d, and some counters", rows, want)
	}
	if claims < tree.Devices || claims > 2*tree.Devices {
		t.Errorf("%d claims for %d devices in two groups at most", claims, tree.Devices)
	}
}
