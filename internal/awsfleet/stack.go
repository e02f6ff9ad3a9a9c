package awsfleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Stack names what was deployed for one vendor.
type Stack struct {
	Vendor   string            `json:"vendor"`
	Table    string            `json:"table"`
	Bucket   string            `json:"bucket"`
	Queues   map[string]Queues `json:"queues"`            // by tier
	Secrets  map[string]string `json:"secrets,omitempty"` // by name: ssm:NAME or secretsmanager:NAME
	Session  string            `json:"session,omitempty"` // the parameter that keeps what a login yields; empty: none is needed
	KeepDays int               `json:"keep_days"`         // how long rows of a run are kept
	Lake     Lake              `json:"lake,omitzero"`     // empty: none is deployed
}

// A Lake says where a vendor's tables are, and by which queue they are made.
// The URLs are of SQS queues.
type Lake struct {
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix"`            // what the lake's names begin with in the bucket
	KMSKey string `json:"kms_key,omitempty"` // ARN of the operator's key that its objects are under
	Queue  string `json:"queue"`             // landed objects that wait to be converted, and closed runs to be published
	Dead   string `json:"dead"`              // what cannot be
}

// Queues are the URLs of a tier's queue and of its dead-letter queue.
type Queues struct {
	URL  string `json:"url"`
	Dead string `json:"dead"`
}

const defaultKeepDays = 90

// ParseStack reads a stack as it stands in the parameter /sluice/VENDOR/stack
// and in a function's environment.
func ParseStack(text string) (Stack, error) {
	var s Stack
	dec := json.NewDecoder(strings.NewReader(text))
	if err := dec.Decode(&s); err != nil {
		return Stack{}, fmt.Errorf("the stack's description is not JSON as it is deployed: %w (deploy again)", err)
	}
	if err := s.check(); err != nil {
		return Stack{}, err
	}
	if s.KeepDays == 0 {
		s.KeepDays = defaultKeepDays
	}
	return s, nil
}

func (s Stack) check() error {
	missing := func(what string) error {
		return fmt.Errorf("the description of stack %q lacks %s (deploy again)", s.Vendor, what)
	}
	switch {
	case s.Vendor == "":
		return errors.New("the stack's description lacks vendor (deploy again)")
	case s.Table == "":
		return missing("table")
	case s.Bucket == "":
		return missing("bucket")
	case len(s.Queues) == 0:
		return missing("queues")
	case s.KeepDays < 0:
		return fmt.Errorf("the description of stack %q has keep_days %d: it must not be negative", s.Vendor, s.KeepDays)
	}
	for _, tier := range slices.Sorted(maps.Keys(s.Queues)) {
		if s.Queues[tier].URL == "" {
			return missing("queues." + tier + ".url")
		}
		if s.Queues[tier].Dead == "" {
			return missing("queues." + tier + ".dead")
		}
	}
	if l := s.Lake; l != (Lake{}) && (l.Bucket == "" || l.Queue == "" || l.Dead == "") {
		return missing("lake.bucket, lake.queue or lake.dead")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		if _, _, err := secretPlace(s.Secrets[name]); err != nil {
			return fmt.Errorf("the description of stack %q: secrets.%s: %w", s.Vendor, name, err)
		}
	}
	return nil
}

// queueName is the name at the end of a queue's URL.
func queueName(url string) string { return url[strings.LastIndex(url, "/")+1:] }
