package lakeworker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/lake"
)

// A Lake is what converts and publishes; *lake.Lake does.
type Lake interface {
	Convert(ctx context.Context, object string) error
	Publish(ctx context.Context, run string, soft time.Time) (lake.Publication, error)
}

// A Worker works the messages of one vendor's lake. It is used for one
// invocation at a time, as Lambda does.
type Worker struct {
	Lake   Lake
	Vendor *awsfleet.Vendor
	Log    *slog.Logger

	converted int // in this invocation
}

// Handle works a batch of messages, and reports those that are to come again.
// It never fails as a whole, and lets no panic out.
func (w *Worker) Handle(ctx context.Context, ev events.SQSEvent) (out events.SQSEventResponse, err error) {
	began, soft := time.Now(), softEnd(ctx)
	w.converted = 0
	for _, m := range ev.Records {
		err := errLate
		if time.Now().Before(soft) {
			err = w.message(ctx, m, soft)
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, errLate) {
			w.Log.ErrorContext(ctx, "a message could not be worked and comes again", "message", m.MessageId, "received", received(m), "err", err)
		}
		w.later(ctx, m, err)
		out.BatchItemFailures = append(out.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
	}
	if w.converted > 0 {
		w.Log.InfoContext(ctx, "converted", "objects", w.converted, "seconds", time.Since(began).Seconds())
	}
	return out, nil
}

// errLate says that a message was not begun, since the invocation's time was
// nearly over.
var errLate = errors.New("there was no time left for it")

// softEnd is the instant after which nothing is begun: a file of the lake that
// is being made by then is finished on a small share of a core.
func softEnd(ctx context.Context) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Now().Add(time.Minute)
	}
	return deadline.Add(-min(3*time.Minute, time.Until(deadline)/4))
}

// message works one message. What panics is an error.
func (w *Worker) message(ctx context.Context, m events.SQSMessage, soft time.Time) error {
	n, err := parse(m.Body)
	switch {
	case err != nil:
		return w.bury(ctx, landed{message: m.Body}, err)
	case n.test:
		return nil
	case n.publish != "":
		return w.publish(ctx, n.publish, soft, delay(m))
	}
	var errs []error
	for _, o := range n.objects {
		if o.bucket != w.Vendor.Stack().Bucket {
			w.Log.WarnContext(ctx, "a message tells of another bucket and is passed over", "bucket", o.bucket, "object", o.name)
			continue
		}
		if errs = append(errs, w.convert(ctx, o)); errs[len(errs)-1] == nil {
			w.converted++
		}
	}
	return errors.Join(errs...)
}

// caught calls f; a panic in it is an error, and is logged with its stack.
func (w *Worker) caught(ctx context.Context, doing string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			w.Log.ErrorContext(ctx, "panic", "doing", doing, "what", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fmt.Errorf("%s: %w: %v", doing, errPanic, r)
		}
	}()
	return f()
}

var errPanic = errors.New("panic")

// later lets a message show again: soon the first time, within a quarter of an
// hour at the latest. Without that it would stay hidden for many times as long as
// an invocation may take.
func (w *Worker) later(ctx context.Context, m events.SQSMessage, why error) {
	after := delay(m)
	if errors.Is(why, errLate) {
		after = 0
	}
	if err := w.Vendor.ShowAgain(ctx, m.EventSourceARN, m.ReceiptHandle, after); err != nil {
		w.Log.WarnContext(ctx, "a message shows again when its queue lets it", "message", m.MessageId, "err", err)
	}
}

func received(m events.SQSMessage) int {
	n, _ := strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
	return max(n, 1)
}

// delay is how long a message waits that could not be worked.
func delay(m events.SQSMessage) time.Duration {
	return min(30*time.Second<<min(received(m)-1, 5), 15*time.Minute)
}
