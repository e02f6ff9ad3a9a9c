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

// A token is a message with what it says.
type token struct {
	events.SQSMessage
	notice
	err error // it cannot be read
}

// Handle works a batch of messages and reports those that are to come again, each
// by itself. Publications come last: one that takes up the time that is left
// keeps no conversion from being done. It never fails as a whole, and lets no
// panic out.
func (w *Worker) Handle(ctx context.Context, ev events.SQSEvent) (out events.SQSEventResponse, err error) {
	began, soft := time.Now(), softEnd(ctx)
	w.converted = 0
	var objects, runs []token
	for _, m := range ev.Records {
		t := token{SQSMessage: m}
		if t.notice, t.err = parse(m.Body); t.publish != "" {
			runs = append(runs, t)
		} else {
			objects = append(objects, t)
		}
	}
	for _, t := range objects {
		w.work(ctx, t, &out, func() error { return w.objects(ctx, t, soft) })
	}
	if w.converted > 0 {
		w.Log.InfoContext(ctx, "converted", "objects", w.converted, "seconds", time.Since(began).Seconds())
	}
	for _, t := range runs {
		w.work(ctx, t, &out, func() error { return w.publish(ctx, t.publish, soft, delay(t)) })
	}
	return out, nil
}

// work does what a message wants, and reports it if it is to come again.
func (w *Worker) work(ctx context.Context, t token, out *events.SQSEventResponse, do func() error) {
	err := do()
	if err == nil {
		return
	}
	if !errors.Is(err, errLate) {
		w.Log.ErrorContext(ctx, "a message could not be worked and comes again", "message", t.MessageId, "received", received(t), "err", err)
	}
	w.later(ctx, t, err)
	out.BatchItemFailures = append(out.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: t.MessageId})
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

// objects converts what a notification tells of. What panics is an error.
func (w *Worker) objects(ctx context.Context, t token, soft time.Time) error {
	switch {
	case !time.Now().Before(soft):
		return errLate
	case t.err != nil:
		return w.bury(ctx, landed{message: t.Body}, t.err)
	}
	var errs []error
	for _, o := range t.notice.objects {
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
func (w *Worker) later(ctx context.Context, t token, why error) {
	after := delay(t)
	if errors.Is(why, errLate) {
		after = 0
	}
	if err := w.Vendor.ShowAgain(ctx, t.ReceiptHandle, after); err != nil {
		w.Log.WarnContext(ctx, "a message shows again when its queue lets it", "message", t.MessageId, "err", err)
	}
}

func received(t token) int {
	n, _ := strconv.Atoi(t.Attributes["ApproximateReceiveCount"])
	return max(n, 1)
}

// delay is how long a message waits that could not be worked.
func delay(t token) time.Duration {
	return min(30*time.Second<<min(received(t)-1, 5), 15*time.Minute)
}
