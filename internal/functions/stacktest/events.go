package stacktest

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// A mapping is an event source mapping: messages of a queue call a function.
type mapping struct {
	function, queue, url string // queue is its ARN
	batch                int
}

func (a *Account) makeMapping(_ context.Context, id string) error {
	function, err := a.Template.text(id, "FunctionName")
	if err != nil {
		return err
	}
	m := mapping{function: functionOf(function)}
	if m.queue, err = a.Template.text(id, "EventSourceArn"); err != nil {
		return err
	}
	if m.batch, err = a.Template.number(id, "BatchSize"); err != nil {
		return err
	}
	m.url = a.url(m.queue[strings.LastIndex(m.queue, ":")+1:])
	if a.Functions[m.function] == nil || m.url == "" {
		return fmt.Errorf("it has %s call %s, which are not both of the stack", m.queue, function)
	}
	a.mappings = append(a.mappings, m)
	return nil
}

// functionOf is the function that an alias's ARN is about.
func functionOf(arn string) string {
	return strings.Split(strings.TrimPrefix(arn, "arn:aws:lambda:"+region+":"+account+":function:"), ":")[0]
}

// Pump has S3 tell of what was landed, and the queues call their functions, until
// ctx ends; what they called goes on until it has ended.
func (a *Account) Pump(ctx context.Context, every time.Duration) {
	seen := map[string]bool{}
	steps := []func() error{func() error { return a.tell(ctx, seen) }}
	for _, m := range a.mappings {
		steps = append(steps, func() error { return a.poll(ctx, m) })
	}
	for _, step := range steps {
		a.firing.Go(func() {
			for ctx.Err() == nil {
				if err := step(); err != nil && ctx.Err() == nil && a.opt.Log != nil {
					fmt.Fprintf(a.opt.Log, "pump {\"msg\":\"pump\",\"err\":%q}\n", err)
				}
				select {
				case <-ctx.Done():
				case <-time.After(every):
				}
			}
		})
	}
}

// poll does what Lambda does with a queue: it receives in the function's name,
// calls it, and deletes what it has not reported. Whatever a function that died
// had in hand shows again at once, and not after the hour and a half for which it
// would be hidden.
func (a *Account) poll(ctx context.Context, m mapping) error {
	as := func(action string, in, out any) error {
		return a.callAs(ctx, m.function, "SQS", "AmazonSQS."+action, in, out)
	}
	if err := as("GetQueueAttributes", map[string]any{"QueueUrl": m.url, "AttributeNames": []string{"ApproximateNumberOfMessages"}}, nil); err != nil {
		return err
	}
	var got struct {
		Messages []struct {
			MessageID     string `json:"MessageId"`
			ReceiptHandle string
			Body          string
			Attributes    map[string]string
		}
	}
	in := map[string]any{"QueueUrl": m.url, "MaxNumberOfMessages": m.batch, "MessageSystemAttributeNames": []string{"All"}, "AttributeNames": []string{"All"}}
	if err := as("ReceiveMessage", in, &got); err != nil || len(got.Messages) == 0 {
		return err
	}
	var ev events.SQSEvent
	for _, msg := range got.Messages {
		ev.Records = append(ev.Records, events.SQSMessage{
			MessageId: msg.MessageID, ReceiptHandle: msg.ReceiptHandle, Body: msg.Body, Attributes: msg.Attributes,
			EventSource: "aws:sqs", EventSourceARN: m.queue, AWSRegion: region,
		})
	}
	body, err := a.Invoke(ctx, m.function, ev)
	var out events.SQSEventResponse
	if err == nil {
		err = json.Unmarshal(body, &out)
	}
	failed := map[string]bool{}
	for _, f := range out.BatchItemFailures {
		failed[f.ItemIdentifier] = true
	}
	errs := []error{err}
	for _, msg := range ev.Records {
		receipt := map[string]any{"QueueUrl": m.url, "ReceiptHandle": msg.ReceiptHandle}
		switch {
		case err != nil:
			receipt["VisibilityTimeout"] = 0
			errs = append(errs, a.call(context.WithoutCancel(ctx), "SQS", "AmazonSQS.ChangeMessageVisibility", receipt, nil))
		case !failed[msg.MessageId]:
			errs = append(errs, as("DeleteMessage", receipt, nil))
		}
	}
	return errors.Join(errs...)
}

// tell sends the bucket's notifications of objects that were not seen before, and
// of each third twice: "at least once".
func (a *Account) tell(ctx context.Context, seen map[string]bool) error {
	bucket := a.Template.Of("AWS::S3::Bucket")[0]
	v, err := a.Template.at(bucket, "NotificationConfiguration", "QueueConfigurations")
	if err != nil {
		return err
	}
	name, err := a.Template.name(bucket)
	if err != nil {
		return err
	}
	told, _ := v.([]any)
	for _, one := range told {
		prefix, suffix := filterOf(one)
		arn := fmt.Sprint(one.(map[string]any)["Queue"])
		to := a.url(arn[strings.LastIndex(arn, ":")+1:])
		keys, err := a.Keys(ctx, prefix)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if seen[key] || !strings.HasSuffix(key, suffix) || to == "" {
				continue
			}
			event := fmt.Sprintf(`{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":%q,"eventName":"ObjectCreated:Put","s3":{"s3SchemaVersion":"1.0","bucket":{"name":%q},"object":{"key":%q}}}]}`,
				region, name, strings.ReplaceAll(url.QueryEscape(key), "%2F", "/"))
			for range 1 + (len(seen)+1)%3/2 {
				if err := a.call(ctx, "SQS", "AmazonSQS.SendMessage", map[string]any{"QueueUrl": to, "MessageBody": event}, nil); err != nil {
					return err
				}
			}
			seen[key] = true
		}
	}
	return nil
}

func filterOf(config any) (prefix, suffix string) {
	src, _ := json.Marshal(config)
	var c struct {
		Filter struct {
			S3Key struct {
				Rules []struct{ Name, Value string }
			}
		}
	}
	if json.Unmarshal(src, &c) != nil {
		return "", ""
	}
	for _, r := range c.Filter.S3Key.Rules {
		switch r.Name {
		case "prefix":
			prefix = r.Value
		case "suffix":
			suffix = r.Value
		}
	}
	return prefix, suffix
}

// Keys lists the objects of the vendor's bucket under a prefix.
func (a *Account) Keys(ctx context.Context, prefix string) (keys []string, err error) {
	q := url.Values{"list-type": {"2"}, "prefix": {prefix}}
	for {
		text, err := a.bucket(ctx, http.MethodGet, "?"+q.Encode(), nil)
		if err != nil {
			return nil, err
		}
		var page struct {
			Contents              []struct{ Key string }
			NextContinuationToken string
		}
		if err := xml.Unmarshal(text, &page); err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			keys = append(keys, o.Key)
		}
		if page.NextContinuationToken == "" {
			return keys, nil
		}
		q.Set("continuation-token", page.NextContinuationToken)
	}
}

// Read reads an object of the vendor's bucket.
func (a *Account) Read(ctx context.Context, key string) ([]byte, error) {
	return a.bucket(ctx, http.MethodGet, "/"+(&url.URL{Path: key}).EscapedPath(), nil)
}

// Write writes one.
func (a *Account) Write(ctx context.Context, key string, data []byte) error {
	_, err := a.bucket(ctx, http.MethodPut, "/"+(&url.URL{Path: key}).EscapedPath(), data)
	return err
}

func (a *Account) bucket(ctx context.Context, method, rest string, data []byte) ([]byte, error) {
	name, err := a.Template.name(a.Template.Of("AWS::S3::Bucket")[0])
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, a.opt.URL+"/"+name+rest, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return sendAs(req, "deployer", "s3")
}
