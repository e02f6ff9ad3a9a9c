package aws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/internal/functions/stacktest"
)

// regular are the metrics that a vendor may have; rare ones are there only while
// something is wrong.
var (
	regular = []string{"Calls", "Dead", "LimitUsed", "MinutesLeft", "Settled", "Throttled"}
	rare    = []string{"Held", "LakeRefused", "VerdictMissing"}
)

// logs checks what the functions wrote: one JSON text a line, no secret, and no
// metric that nobody ordered, in one dimension.
func (s *site) logs(t *testing.T) {
	t.Helper()
	drains, seen := 0, map[string]bool{}
	for line := range strings.Lines(s.log.String()) {
		_, text, _ := strings.Cut(line, " ")
		if strings.Contains(text, token) {
			t.Errorf("a secret was logged: %s", line)
		}
		var entry struct {
			Msg string
			Aws struct {
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct{ Name string }
				}
			} `json:"_aws"`
		}
		if err := json.Unmarshal([]byte(text), &entry); err != nil {
			t.Errorf("no JSON: %s", line)
			continue
		}
		if entry.Msg == "drain" {
			drains++
		}
		for _, m := range entry.Aws.CloudWatchMetrics {
			if m.Namespace != "Sluice" || len(m.Dimensions) != 1 || !slices.Equal(m.Dimensions[0], []string{"Vendor"}) {
				t.Errorf("metrics by other dimensions than the vendor: %s", line)
			}
			for _, metric := range m.Metrics {
				seen[metric.Name] = true
				if !slices.Contains(regular, metric.Name) && !slices.Contains(rare, metric.Name) {
					t.Errorf("a metric that nobody ordered: %s", metric.Name)
				}
			}
		}
	}
	for _, name := range regular {
		if !seen[name] {
			t.Errorf("metric %s was never written", name)
		}
	}
	if drains == 0 {
		t.Error("no drain has said what it did")
	}
}

// elsewhere are rights whose use is shown by the adapters' own tests, since a
// vendor of small answers never comes to it.
var elsewhere = map[string]string{
	"s3:AbortMultipartUpload": "awsfleet.TestUploadFails",
	"lake dynamodb:PutItem":   "lakeworker.TestPublishByHand",
}

// rights compares what each function has called with what its policy allows:
// nothing is called that is not allowed; nothing is allowed that no function of
// its kind has ever used.
func (s *site) rights(t *testing.T) {
	t.Helper()
	requests := s.servers.Record()
	unused := map[string][]stacktest.Right{} // by kind and action, how many of its functions did not use it
	used := map[string]bool{}
	for _, function := range programs {
		allowed, err := s.account.Template.Allowed(function)
		if err != nil {
			t.Fatal(err)
		}
		needed := stacktest.Needed(requests, function)
		if len(needed) == 0 {
			t.Errorf("%s has called nothing", function)
		}
		for _, d := range stacktest.Denied(needed, allowed) {
			t.Errorf("%s calls what its policy does not allow: %v", function, d)
		}
		kind := "drains" // the seeder drains as a tier's function does
		for _, other := range []string{"close", "lake"} {
			if strings.HasSuffix(function, "-"+other) {
				kind = other
			}
		}
		idle := stacktest.Unused(needed, allowed)
		for _, a := range allowed {
			key := kind + " " + a.Action + " " + place(a.Resource)
			if slices.Contains(idle, a) {
				unused[key] = append(unused[key], a)
			} else {
				used[key] = true
			}
		}
	}
	for key, rights := range unused {
		kind, _, _ := strings.Cut(key, " ")
		if a := rights[0].Action; !used[key] && elsewhere[a] == "" && elsewhere[kind+" "+a] == "" {
			t.Errorf("allowed and never used: %s (%v)", key, rights)
		}
	}
}

// operator compares what the operator's command has called with the policy that
// the guide gives an operator.
func (s *site) operator(t *testing.T) {
	t.Helper()
	guide, err := os.ReadFile(filepath.Join(repo, "infra/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(guide), "```json\n")
	text, _, _ = strings.Cut(text, "```")
	var policy struct{ Statement []struct{ Action any } }
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		t.Fatalf("the policy in infra/README.md: %v", err)
	}
	allowed := ""
	for _, st := range policy.Statement {
		allowed += fmt.Sprint(st.Action) + " "
	}
	for _, need := range stacktest.Needed(s.servers.Record(), "operator") {
		if !strings.Contains(allowed, need.Action) {
			t.Errorf("the operator's policy in infra/README.md lacks %v", need)
		}
	}
}

// place is what kind of thing a resource is.
func place(arn string) string {
	switch {
	case strings.HasSuffix(arn, "-dead"):
		return "dead-letter queue"
	case strings.Contains(arn, ":sqs:"):
		return "queue"
	}
	return arn
}

// buffer is a log. It is safe for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
