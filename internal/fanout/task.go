package fanout

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"time"
)

// A Window is the half-open interval of data time [From, To) that a run's
// requests may use, so that a replay or a backfill asks for the same data.
type Window struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// A Node is one thing found by a tier.
//
// Path is its key path, outermost key first, its own key last. A node that a
// unique tier found is known by its own key alone, so its path starts there.
// The root, which no tier found, has an empty path. Carry holds the fields it
// hands down, as exact JSON.
type Node struct {
	Path  []string                   `json:"path"`
	Carry map[string]json.RawMessage `json:"carry,omitempty"`
}

// A Task is one unit of work: a tier's request for one node, made for one run.
// It is the whole message: a worker needs nothing else to do it.
type Task struct {
	ID     string `json:"id"`   // TaskID of Run, Tier and Node.Path
	Run    string `json:"run"`  // the run's ID
	Tier   string `json:"tier"` // the tier whose request this is
	Life   int    `json:"life"` // 1, and one more for each replay
	Window Window `json:"window"`
	Node
	Replay string `json:"replay,omitempty"` // the tag of the replay that began this life; empty in the first
	Dead   bool   `json:"dead,omitempty"`   // this message is no work, but the token of a dead letter
}

// Redrive is the tag of a life that began because somebody moved the token of a
// dead letter back to its queue, past Sluice.
const Redrive = "redrive"

// TaskID derives a task's ID from what makes it the task it is, so that
// sending it twice is harmless. It is 26 characters of lower-case base32: 130
// bits of a SHA-256 over the length-prefixed parts.
func TaskID(run, tier string, path []string) string {
	h := sha256.New()
	part := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	part(run)
	part(tier)
	for _, k := range path {
		part(k)
	}
	return idEncoding.EncodeToString(h.Sum(nil))[:26]
}

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Child is the task of the tier below for a node that t found.
func (t Task) Child(tier string, n Node) Task {
	return Task{ID: TaskID(t.Run, tier, n.Path), Run: t.Run, Tier: tier, Life: 1, Window: t.Window, Node: n}
}

// Outcome is how one delivery of a task ends.
type Outcome string

const (
	Done      Outcome = "done"      // settled: fetched, landed, children sent
	Gone      Outcome = "gone"      // settled: the vendor no longer has it
	Dead      Outcome = "dead"      // settled: kept failing; a dead letter with its reason
	Discarded Outcome = "discarded" // settled: dead, and an operator has decided to leave it so
	Duplicate Outcome = "duplicate" // an earlier delivery had settled it
	Retried   Outcome = "retried"   // failed, counted, and hidden until its next attempt
	Returned  Outcome = "returned"  // given back unharmed: no attempt is counted
	Abandoned Outcome = "abandoned" // its receipt was lost: another worker holds it
)

// Settled tells whether o ends the task, not only the delivery.
func (o Outcome) Settled() bool { return o == Done || o == Gone || o == Dead || o == Discarded }
