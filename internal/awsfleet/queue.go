package awsfleet

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/sluicehq/sluice/internal/fanout"
)

// queue implements fanout.Queue on one SQS queue. A receipt is SQS's own.
type queue struct {
	cloud  *Cloud
	url    string
	vendor string
	broken error // why there is no such queue
}

// SQS's bounds.
const (
	batchSize    = 10
	longestPoll  = 20 * time.Second
	longestHide  = 12 * time.Hour
	billedUnit   = 64 << 10
	largestBatch = 1 << 20
)

// poisonHidden is for how long a message that is none of ours is put aside. The
// queue's redrive policy takes it away in the end.
const poisonHidden = 10 * time.Minute

func queueText(url string) string { return "queue " + queueName(url) + " (" + url + ")" }

func (q *queue) failed(err error, format string, args ...any) error {
	return wrap(explain(err, queueText(q.url)), format, args...)
}

// Receive implements fanout.Queue. Only whole seconds can be waited or hidden:
// waits are rounded down, so that ctx's end does not cut one, and hiding up.
func (q *queue) Receive(ctx context.Context, max int, wait, visibility time.Duration) ([]fanout.Delivery, error) {
	if q.broken != nil {
		return nil, q.broken
	}
	if err := ctx.Err(); err != nil || max <= 0 {
		return nil, err
	}
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end))
	}
	wait = min(wait, longestPoll).Truncate(time.Second)
	poll, cancel := context.WithTimeout(ctx, wait+operationTime)
	defer cancel()
	out, err := q.cloud.sqs.ReceiveMessage(poll, &sqs.ReceiveMessageInput{
		QueueUrl: &q.url, MaxNumberOfMessages: int32(min(max, batchSize)),
		WaitTimeSeconds: int32(wait / time.Second), VisibilityTimeout: int32(clampHide(visibility, time.Second) / time.Second),
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil
		}
		return nil, q.failed(err, "receiving from queue %s", queueName(q.url))
	}
	bytes := 0
	var ds []fanout.Delivery
	var poison []fanout.Hide
	for _, m := range out.Messages {
		bytes += len(aws.ToString(m.Body))
		d := fanout.Delivery{Receipt: fanout.Receipt(aws.ToString(m.ReceiptHandle))}
		if err := json.Unmarshal([]byte(aws.ToString(m.Body)), &d.Task); err != nil || d.Task.ID == "" || d.Task.Run == "" {
			q.cloud.log.Warn("a message is not a task of ours; it is put aside until the redrive policy moves it",
				"queue", queueName(q.url), "message", aws.ToString(m.MessageId), "err", err)
			poison = append(poison, fanout.Hide{Receipt: d.Receipt, For: poisonHidden})
			continue
		}
		ds = append(ds, d)
	}
	q.cloud.usage.units(0, 0, billed(bytes))
	if len(poison) > 0 {
		if err := q.Hide(ctx, poison); err != nil {
			q.cloud.log.Warn("putting messages aside that are not ours", "queue", queueName(q.url), "err", err)
		}
	}
	return ds, nil
}

// clampHide rounds up to whole seconds within what SQS takes.
func clampHide(d, least time.Duration) time.Duration {
	return min(max((d+time.Second-1).Truncate(time.Second), least), longestHide)
}

func billed(bytes int) int { return max(1, (bytes+billedUnit-1)/billedUnit) }

// Hide implements fanout.Queue. An entry of zero must be on the wire as such:
// without one SQS has nothing to go by. This SDK writes it.
func (q *queue) Hide(ctx context.Context, hides []fanout.Hide) error {
	if q.broken != nil {
		return q.broken
	}
	entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(hides))
	for i, h := range hides {
		entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{
			Id: entryID(i), ReceiptHandle: aws.String(string(h.Receipt)), VisibilityTimeout: int32(clampHide(h.For, 0) / time.Second),
		}
	}
	var mu sync.Mutex
	var lost []fanout.Receipt
	err := each(ctx, batches(len(hides)), func(b int) error {
		lo, hi := b*batchSize, min((b+1)*batchSize, len(hides))
		return resend(ctx, hi-lo, func(ctx context.Context, at []int) ([]types.BatchResultErrorEntry, error) {
			some := pick(entries[lo:hi], at)
			out, err := q.cloud.sqs.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.url, Entries: some})
			if err != nil {
				return nil, q.failed(err, "hiding %d deliveries of queue %s", len(hides), queueName(q.url))
			}
			q.cloud.usage.units(0, 0, 1)
			return out.Failed, nil
		}, func(i int, e types.BatchResultErrorEntry) bool {
			if !receiptGone(e) {
				return false
			}
			mu.Lock()
			defer mu.Unlock()
			lost = append(lost, hides[lo+i].Receipt)
			return true
		}, "hiding", queueName(q.url))
	})
	if err != nil {
		return err
	}
	if lost != nil {
		return &fanout.LostError{Receipts: lost}
	}
	return nil
}

// receiptGone tells whether an entry failed for its receipt: it has expired, its
// message is deleted or no longer hidden, or has been hidden for 12 hours in all.
func receiptGone(e types.BatchResultErrorEntry) bool {
	code := strings.TrimPrefix(aws.ToString(e.Code), "AWS.SimpleQueueService.")
	message := aws.ToString(e.Message)
	return code == "ReceiptHandleIsInvalid" || code == "MessageNotInflight" ||
		code == "InvalidParameterValue" && (strings.Contains(message, "ReceiptHandle") || strings.Contains(message, "Total VisibilityTimeout"))
}

// Delete implements fanout.Queue.
func (q *queue) Delete(ctx context.Context, receipts []fanout.Receipt) error {
	if q.broken != nil {
		return q.broken
	}
	entries := make([]types.DeleteMessageBatchRequestEntry, len(receipts))
	for i, r := range receipts {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: entryID(i), ReceiptHandle: aws.String(string(r))}
	}
	return each(ctx, batches(len(receipts)), func(b int) error {
		lo, hi := b*batchSize, min((b+1)*batchSize, len(receipts))
		return resend(ctx, hi-lo, func(ctx context.Context, at []int) ([]types.BatchResultErrorEntry, error) {
			out, err := q.cloud.sqs.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &q.url, Entries: pick(entries[lo:hi], at)})
			if err != nil {
				return nil, q.failed(err, "deleting %d messages of queue %s", len(receipts), queueName(q.url))
			}
			q.cloud.usage.units(0, 0, 1)
			return out.Failed, nil
		}, func(_ int, e types.BatchResultErrorEntry) bool { return receiptGone(e) }, "deleting", queueName(q.url))
	})
}

func batches(n int) int { return (n + batchSize - 1) / batchSize }

// errPartly says that SQS did not take some entries of a batch.
var errPartly = errors.New("SQS did not take all of a batch")
