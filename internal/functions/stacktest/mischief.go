package stacktest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
)

// Storm delivers again every message that the functions have sent: what a queue
// that promises "at least once" may do. It returns how many messages that were.
func (a *Account) Storm(ctx context.Context, sent []awstest.Request) (n int, err error) {
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
		if err := a.call(ctx, "SQS", "AmazonSQS.SendMessageBatch", batch, nil); err != nil {
			return n, err
		}
		n += len(batch.Entries)
	}
	return n, nil
}

// Redrive moves one message of a queue to its dead-letter queue, as SQS does
// with one that was received too often. It is one whose task was not among what
// has been sent before. It returns the ID of its task; empty: there was none.
func (a *Account) Redrive(ctx context.Context, queue string, before []awstest.Request) (task string, err error) {
	url, dead := a.url(queue), a.url(queue+"-dead")
	if url == "" || dead == "" {
		return "", fmt.Errorf("there is no queue %s with a dead-letter queue", queue)
	}
	var got struct {
		Messages []struct{ Body, ReceiptHandle string }
	}
	in := map[string]any{"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 60}
	if err := a.call(ctx, "SQS", "AmazonSQS.ReceiveMessage", in, &got); err != nil {
		return "", err
	}
	for _, m := range got.Messages {
		var body struct{ ID string }
		if err := json.Unmarshal([]byte(m.Body), &body); err != nil {
			return task, err
		}
		receipt := map[string]any{"QueueUrl": url, "ReceiptHandle": m.ReceiptHandle}
		if task != "" || Sent(before, body.ID) > 0 {
			receipt["VisibilityTimeout"] = 0
			err = a.call(ctx, "SQS", "AmazonSQS.ChangeMessageVisibility", receipt, nil)
		} else if err = a.call(ctx, "SQS", "AmazonSQS.SendMessage", map[string]any{"QueueUrl": dead, "MessageBody": m.Body}, nil); err == nil {
			task = body.ID
			err = a.call(ctx, "SQS", "AmazonSQS.DeleteMessage", receipt, nil)
		}
		if err != nil {
			return task, err
		}
	}
	return task, nil
}

// Sent counts how often a task is among what was sent.
func Sent(all []awstest.Request, task string) (n int) {
	for _, r := range all {
		if r.Action == "SendMessageBatch" && bytes.Contains(r.Body, []byte(task)) {
			n++
		}
	}
	return n
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
