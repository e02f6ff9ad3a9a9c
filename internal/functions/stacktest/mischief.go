package stacktest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
)

// Storm delivers again every message that the functions have sent so far: what
// a queue that promises "at least once" may do. It returns how many requests it
// repeated.
func (a *Account) Storm(ctx context.Context, sent []awstest.Request) (n int, err error) {
	for _, r := range sent {
		if r.Action != "SendMessageBatch" || a.Functions[r.Key] == nil {
			continue
		}
		if err := a.call(ctx, "SQS", "AmazonSQS.SendMessageBatch", json.RawMessage(r.Body), nil); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Redrive moves one message of a queue to its dead-letter queue, as SQS does
// with one that was received too often. It tells whether there was one.
func (a *Account) Redrive(ctx context.Context, queue string) (bool, error) {
	url, dead := a.url(queue), a.url(queue+"-dead")
	if url == "" || dead == "" {
		return false, fmt.Errorf("there is no queue %s with a dead-letter queue", queue)
	}
	var got struct {
		Messages []struct{ Body, ReceiptHandle string }
	}
	in := map[string]any{"QueueUrl": url, "MaxNumberOfMessages": 1, "VisibilityTimeout": 60}
	if err := a.call(ctx, "SQS", "AmazonSQS.ReceiveMessage", in, &got); err != nil || len(got.Messages) == 0 {
		return false, err
	}
	m := got.Messages[0]
	if err := a.call(ctx, "SQS", "AmazonSQS.SendMessage", map[string]any{"QueueUrl": dead, "MessageBody": m.Body}, nil); err != nil {
		return false, err
	}
	return true, a.call(ctx, "SQS", "AmazonSQS.DeleteMessage", map[string]any{"QueueUrl": url, "ReceiptHandle": m.ReceiptHandle}, nil)
}

// url is the URL of a queue.
func (a *Account) url(queue string) string {
	for _, id := range a.Template.Of("AWS::SQS::Queue") {
		if name, err := a.Template.name(id); err == nil && name == queue {
			return a.Template.refs[id]
		}
	}
	return ""
}
