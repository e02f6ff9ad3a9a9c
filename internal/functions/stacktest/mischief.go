package stacktest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
)

// Storm delivers again every message that the functions have sent so far, but for
// those in which without stands: what a queue that promises "at least once" may
// do. It returns how many messages that were.
func (a *Account) Storm(ctx context.Context, sent []awstest.Request, without string) (n int, err error) {
	for _, r := range sent {
		if r.Action != "SendMessageBatch" || a.Functions[r.Key] == nil {
			continue
		}
		var batch struct {
			QueueUrl string
			Entries  []map[string]any
		}
		if err := json.Unmarshal(r.Body, &batch); err != nil {
			return n, err
		}
		batch.Entries = slices.DeleteFunc(batch.Entries, func(e map[string]any) bool {
			return without != "" && strings.Contains(fmt.Sprint(e["MessageBody"]), without)
		})
		if len(batch.Entries) == 0 {
			continue
		}
		if err := a.call(ctx, "SQS", "AmazonSQS.SendMessageBatch", batch, nil); err != nil {
			return n, err
		}
		n += len(batch.Entries)
	}
	return n, nil
}

// Redrive moves one message of a queue to its dead-letter queue, as SQS does
// with one that was received too often. It returns the ID of its task; empty:
// there was none.
func (a *Account) Redrive(ctx context.Context, queue string) (task string, err error) {
	url, dead := a.url(queue), a.url(queue+"-dead")
	if url == "" || dead == "" {
		return "", fmt.Errorf("there is no queue %s with a dead-letter queue", queue)
	}
	var got struct {
		Messages []struct{ Body, ReceiptHandle string }
	}
	in := map[string]any{"QueueUrl": url, "MaxNumberOfMessages": 1, "VisibilityTimeout": 60}
	if err := a.call(ctx, "SQS", "AmazonSQS.ReceiveMessage", in, &got); err != nil || len(got.Messages) == 0 {
		return "", err
	}
	m := got.Messages[0]
	var body struct{ ID string }
	if err := json.Unmarshal([]byte(m.Body), &body); err != nil {
		return "", err
	}
	if err := a.call(ctx, "SQS", "AmazonSQS.SendMessage", map[string]any{"QueueUrl": dead, "MessageBody": m.Body}, nil); err != nil {
		return "", err
	}
	return body.ID, a.call(ctx, "SQS", "AmazonSQS.DeleteMessage", map[string]any{"QueueUrl": url, "ReceiptHandle": m.ReceiptHandle}, nil)
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
