package fanout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The ports of the engine. For all of them an error means "unknown": the
// operation may or may not have taken effect, wholly or in part, and calling
// again with the same arguments is safe. They are safe for concurrent use.
// The contract of each is checked by a suite in fanouttest.

// A Queue holds one tier's tasks, at least once, as SQS does.
type Queue interface {
	// Send puts tasks on the queue. It takes any number; a backend makes batches.
	Send(ctx context.Context, tasks []Task) error

	// Receive takes up to max deliveries (a backend may give fewer at once: SQS
	// ten) and hides them for visibility. With none there, it waits up to wait
	// and then returns none. When ctx ends while it waits, it returns what it
	// has and no error.
	Receive(ctx context.Context, max int, wait, visibility time.Duration) ([]Delivery, error)

	// Hide sets how long each delivery stays hidden from now on: a heartbeat, a
	// pause before a retry, or zero to give it back. Receipts that no longer hold
	// their task are named by a *LostError; the others are hidden all the same.
	Hide(ctx context.Context, hides []Hide) error

	// Delete removes tasks for good. A receipt that was lost is passed over.
	Delete(ctx context.Context, receipts []Receipt) error
}

// A Receipt is the proof of holding one delivery.
type Receipt string

// A Delivery is one receipt of a task.
type Delivery struct {
	Task    Task
	Receipt Receipt
}

// A Hide asks for one delivery to stay hidden for a time from now. Keep says
// that it stays in hand (a heartbeat); otherwise it has been given back, and the
// death of whoever had it does not show it any earlier.
type Hide struct {
	Receipt Receipt
	For     time.Duration
	Keep    bool
}

// ErrReceiptLost is the cause of a task's context when its delivery is no
// longer held: another worker may have it.
var ErrReceiptLost = errors.New("receipt lost: another worker may hold this task")

// A LostError names the receipts that no longer hold their tasks.
type LostError struct{ Receipts []Receipt }

func (e *LostError) Error() string {
	names := make([]string, len(e.Receipts))
	for i, r := range e.Receipts {
		names[i] = string(r)
	}
	return fmt.Sprintf("%v (%s)", ErrReceiptLost, strings.Join(names, ", "))
}

func (e *LostError) Is(target error) bool { return target == ErrReceiptLost }

// A Ledger is the record of what has happened to each task of each run: a set,
// never a counter. Of two writes of the same thing the first wins.
type Ledger interface {
	// AnyOpen tells whether the vendor has an open run: if not, there is nothing
	// to do.
	AnyOpen(ctx context.Context) (bool, error)

	// Look tells where each task stands, in the order asked.
	Look(ctx context.Context, tasks []Task) ([]Standing, error)

	// List records chunks of lists and returns, in the same order, the rows that
	// hold: the first written for the run, task and chunk.
	List(ctx context.Context, rows []Listed) ([]Listed, error)

	// MarkSent notes that the children of these chunks are on the queue, so that
	// the next delivery need not send them again.
	MarkSent(ctx context.Context, rows []Listed) error

	// Claim gives children that several lists may find to the parent that asks
	// first; mine tells which of them the asking parent owns. The owner may claim
	// again.
	Claim(ctx context.Context, claims []Claim) (mine []bool, err error)

	// Fail records failed attempts, each known by its fetch, and returns how many
	// the task has had in this life and at this chunk so far: a long list that
	// gets on is not failing.
	Fail(ctx context.Context, failures []Failure) (attempts []int, err error)

	// Settle ends tasks, once per life. It is refused in silence for a task that
	// is settled already or that has been reopened in a later life.
	Settle(ctx context.Context, ends []Settlement) error

	// Reopen begins the next life of tasks that are dead in the life given, with
	// the tag Redrive, and returns those that are open in a life begun so, in no
	// order. The others, settled or replayed otherwise meanwhile, are left out, and
	// so are those of a run that a newer one has replaced. Before it returns, the
	// runs of those that are returned are open at a later revision, so that no
	// verdict from before closes them.
	Reopen(ctx context.Context, tasks []Task) ([]Task, error)
}

// A Standing is where a task stands.
type Standing struct {
	RunOpen  bool    // false: the run is closed or unknown; its tasks are not worked
	Life     int     // the task's current life
	Replay   string  // the tag of the replay that began it; empty in the first
	Outcome  Outcome // how this life was settled; empty while open
	Attempts int     // failed attempts in this life since the last recorded chunk
	Reason   *Reason // of the last of them; why a dead or discarded task is dead
	Last     *Listed // the last recorded chunk of its list
}

// CarriedBy tells whether a message of the life before is all that carries the
// task: the token of a dead letter that a redrive has begun another life for. It
// is not sent again, so its token must not be removed before that life has ended.
func (s Standing) CarriedBy(t Task) bool {
	return s.Outcome == "" && s.Replay == Redrive && t.Life == s.Life-1
}

// Listed is the ledger's row of one chunk of a fetched list. Most lists are one
// chunk. A read (a task of the last tier) has rows only when it was cut short.
type Listed struct {
	Run      string `json:"run"`
	Tier     string `json:"tier"`
	Task     string `json:"task"`
	Chunk    int    `json:"chunk"`  // 0, 1, ...
	Fetch    string `json:"fetch"`  // the fetch that counts for this chunk
	Object   string `json:"object"` // landing object that holds its children
	Children int    `json:"children"`
	Rows     int    `json:"rows"`
	Pages    int    `json:"pages"`  // in this chunk
	Cursor   string `json:"cursor"` // where the next chunk begins, and how often the list was begun anew; empty when Final
	Final    bool   `json:"final"`  // the list ends with this chunk
	Sent     bool   `json:"sent"`   // its children are on the queue
}

// A Claim asks for a child to belong to a parent.
type Claim struct{ Run, Child, Parent string }

// A Failure is one failed attempt at a task.
type Failure struct {
	Task   Task
	Fetch  string
	Chunk  int // that it was to fetch
	Reason Reason
}

// A Reason is why an attempt failed, as an operator will want to read it.
type Reason struct {
	Class   Class     `json:"class"`
	Status  int       `json:"status,omitempty"`
	Request string    `json:"request,omitempty"` // secrets masked
	Page    int       `json:"page,omitempty"`
	Message string    `json:"message"`
	Excerpt string    `json:"excerpt,omitempty"` // bounded, secrets masked
	At      time.Time `json:"at"`
}

// A Settlement is a task's end.
type Settlement struct {
	Task     Task
	Outcome  Outcome
	Fetch    string // the fetch that counts for the last part of the task
	Object   string // landing object of that part
	Chunk    int    // how many recorded chunks precede that part
	Children int    // found by that part
	Rows     int    // in that part
	Pages    int    // in that part
	Reason   *Reason
	At       time.Time
}

// Landing keeps results, as fetched, durably.
type Landing interface {
	// Begin starts an object for results of one run and tier. Nothing is durable
	// before its Commit.
	Begin(run, tier string) LandingBatch

	// Children reads back the children of one chunk of a list.
	Children(ctx context.Context, row Listed) ([]Node, error)
}

// A LandingBatch collects records into one object. It is used by one goroutine
// at a time.
type LandingBatch interface {
	Object() string                   // the name that the object will have
	Add(r Record) error               // packs the record; r's body may be reused afterwards
	Size() int                        // bytes packed so far
	Commit(ctx context.Context) error // makes the object durable; may be called again after an error
}

// A Record is one landed thing: a page as it came, or the children of a chunk.
// Which of several fetches' records count, the ledger says.
type Record struct {
	Kind     string    `json:"kind"` // "page" or "list"
	Task     Task      `json:"task"`
	Fetch    string    `json:"fetch"`
	Chunk    int       `json:"chunk"`
	Page     int       `json:"page,omitempty"` // 0, 1, ... within the chunk
	At       time.Time `json:"at"`             // when the answer had been read
	Cursor   string    `json:"cursor,omitempty"`
	Status   int       `json:"status,omitempty"`
	Rows     int       `json:"rows,omitempty"`
	Children []Node    `json:"children,omitempty"`
	Body     []byte    `json:"-"` // one JSON text, kept to the letter but for space between tokens
}
