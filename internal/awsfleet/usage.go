package awsfleet

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Usage is what was asked of AWS so far, in the units that it bills.
type Usage struct {
	// Calls counts requests on the wire, retries too, by "sqs.ReceiveMessage"; and
	// the writes of the ledger and the governor by kind, "ledger.settle".
	Calls map[string]int
	// ReadUnits and WriteUnits of DynamoDB, as it reports them. A write whose
	// condition failed counts as one: it does not report those.
	ReadUnits, WriteUnits float64
	// SQSUnits are SQS requests in units of 64 KB.
	SQSUnits int
}

// Since is what was used after before was read.
func (u Usage) Since(before Usage) Usage {
	d := Usage{
		Calls:     map[string]int{},
		ReadUnits: u.ReadUnits - before.ReadUnits, WriteUnits: u.WriteUnits - before.WriteUnits, SQSUnits: u.SQSUnits - before.SQSUnits,
	}
	for what, n := range u.Calls {
		if n -= before.Calls[what]; n != 0 {
			d.Calls[what] = n
		}
	}
	return d
}

// usage counts, and remembers what time it is at DynamoDB. It is safe for
// concurrent use.
type usage struct {
	mu    sync.Mutex
	sum   Usage
	clock reading
}

func (u *usage) count(what string, n int) {
	if n == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sum.Calls == nil {
		u.sum.Calls = map[string]int{}
	}
	u.sum.Calls[what] += n
}

func (u *usage) units(read, write float64, sqs int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sum.ReadUnits += read
	u.sum.WriteUnits += write
	u.sum.SQSUnits += sqs
}

func (u *usage) snapshot() Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.sum
	s.Calls = maps.Clone(s.Calls)
	if s.Calls == nil {
		s.Calls = map[string]int{}
	}
	return s
}

// A reading is what a server's clock said, and when we knew.
type reading struct {
	theirs time.Time     // its Date header: the true time is up to a second later
	at     time.Time     // the middle of the round trip, by our clock
	trip   time.Duration // how long it took
}

// services are the names of the SDK's clients as they are written here.
var services = map[string]string{
	"SQS": "sqs", "DynamoDB": "dynamodb", "S3": "s3", "SSM": "ssm", "Secrets Manager": "secretsmanager",
}

// meter counts every attempt: it stands next to the wire, below the retries.
func (u *usage) meter(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("SluiceMeter",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			service := services[awsmiddleware.GetServiceID(ctx)]
			u.count(service+"."+awsmiddleware.GetOperationName(ctx), 1)
			began := time.Now()
			out, meta, err := next.HandleDeserialize(ctx, in)
			if resp, ok := out.RawResponse.(*smithyhttp.Response); ok && resp != nil && service == "dynamodb" {
				u.readClock(resp.Header, began)
			}
			return out, meta, err
		}), middleware.After)
}

func (u *usage) readClock(h http.Header, began time.Time) {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	trip := time.Since(began)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clock = reading{theirs.UTC(), began.Add(trip / 2), trip}
}

func (u *usage) lastClock() reading {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.clock
}
