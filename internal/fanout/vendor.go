package fanout

import (
	"context"
	"fmt"
	"time"
)

// Vendor makes single vendor calls. It is safe for concurrent use and knows
// neither queue nor governor: whoever calls it holds a permit for each call.
type Vendor interface {
	// Call fetches one page of t: the first if cursor is empty, else the one
	// that the page before pointed to. Each Call is one request to the vendor, or
	// none: ErrTooLate, when SendBy of ctx has passed before it could be written.
	// One that needs more, such as a login, takes a permit for each by NextPermit. A
	// failure is a *CallError; ctx's end and ErrNoPermit are returned as they are.
	Call(ctx context.Context, t Task, cursor string) (Page, error)
}

// A Page is one answer of the vendor, judged and taken apart.
type Page struct {
	Status   int
	Body     []byte // the answer as it came, decompressed: one JSON text
	Children []Node // what the tier below will be asked about, in the answer's order
	Rows     int    // how many rows the tier's table takes from it
	Rejects  int    // items left out for having no usable key
	Next     string // cursor of the next page; empty: this was the last
	Release  func() // gives the body's bytes back to the byte budget; nil: nothing to give

	// What the answer says about limits of the spec, nil mostly; and the headers
	// that do, bounded and without secrets.
	Limits  map[string]Said
	Headers map[string]string
}

// A Said is what an answer says about one limit.
type Said struct {
	Count   int           // so many calls are allowed; 0: it does not say
	Per     time.Duration // in this time; 0: in the limit's own
	Counted bool          // whether it says what is left:
	Left    int           // so many calls,
	Reset   time.Time     // until then; zero: it does not say
	Cost    int           // how much this call has counted; 0: it does not say
}

// Class says what a failed call means for its task and for the fleet.
type Class string

const (
	// Throttled: the vendor says slow down. Brakes the fleet; no attempt is counted.
	Throttled Class = "throttled"
	// Unavailable: no answer, a time-out or a 5xx. One is the task's trouble, five
	// in a row are an outage, which is nobody's.
	Unavailable Class = "unavailable"
	// Bad: an answer that cannot be read: cut, malformed, an error under 200.
	Bad Class = "bad-answer"
	// Missing: the vendor no longer has the node (404, 410).
	Missing Class = "missing"
	// Refused: the credentials were not accepted (401, 403). Stops the vendor.
	Refused Class = "refused"
	// Broken: a well-formed answer that breaks the spec: a key is missing, a type
	// is wrong, a bound was exceeded.
	Broken Class = "breaks-spec"
	// Rejected: any other 4xx: the request itself is wrong.
	Rejected Class = "rejected"
	// Expired: the cursor of a list is no longer good. The list begins anew.
	Expired Class = "expired"
	// Redriven is no answer of the vendor: the queue gave up on the message, having
	// delivered it many more times than the engine would (SQS's redrive policy).
	Redriven Class = "redrive"
)

// A CallError is a failed vendor call, with what an operator needs to judge it.
// It holds no secret.
type CallError struct {
	Class      Class
	Status     int           // HTTP status; 0 when there was no answer
	RetryAfter time.Duration // Throttled, Unavailable: how long the vendor asks to wait; 0 when it did not say
	Request    string        // method and URL, secrets masked
	Page       int           // 1 for the first page of the list
	Excerpt    string        // the answer's beginning, bounded, printable, secrets masked
	Err        error         // what is wrong, in a sentence

	Limits  map[string]Said   // as in Page
	Headers map[string]string // as in Page
}

func (e *CallError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("%s: page %d: status %d: %v", e.Request, e.Page, e.Status, e.Err)
	}
	return fmt.Sprintf("%s: page %d: %v", e.Request, e.Page, e.Err)
}

func (e *CallError) Unwrap() error { return e.Err }
