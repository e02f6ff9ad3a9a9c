package awstest

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/sluicehq/sluice/internal/awsfleet"
)

// Make makes a vendor's stack: its queues, each with a dead-letter queue, its
// table and bucket, and the parameter by which it is found.
func (s *Servers) Make(t testing.TB, vendor string, tiers ...string) awsfleet.Stack {
	t.Helper()
	stack, err := s.MakeStack(t.Context(), vendor, nil, tiers...)
	if err != nil {
		t.Fatal(err)
	}
	return stack
}

// MakeStack is Make without a test. secrets are put as SecureStrings.
func (s *Servers) MakeStack(ctx context.Context, vendor string, secrets map[string]string, tiers ...string) (awsfleet.Stack, error) {
	prefix := "sluice-" + vendor
	stack := awsfleet.Stack{
		Vendor: vendor, Table: prefix + s.suffix, Bucket: prefix + s.suffix + "-" + s.conf.Region,
		Queues: map[string]awsfleet.Queues{}, Secrets: map[string]string{}, KeepDays: 1,
	}
	for _, tier := range tiers {
		name := prefix + s.suffix + "-" + tier
		dead, err := s.MakeQueue(ctx, name+"-dead", "", 0)
		if err != nil {
			return stack, err
		}
		url, err := s.MakeQueue(ctx, name, dead, 1000)
		if err != nil {
			return stack, err
		}
		stack.Queues[tier] = awsfleet.Queues{URL: url, Dead: dead}
	}
	if err := s.MakeTable(ctx, stack.Table); err != nil {
		return stack, err
	}
	if err := s.MakeBucket(ctx, stack.Bucket); err != nil {
		return stack, err
	}
	for name, value := range secrets {
		at := "/sluice/" + vendor + "/secrets/" + name
		stack.Secrets[name] = "ssm:" + at
		if err := s.PutParameter(ctx, at, value, true); err != nil {
			return stack, err
		}
	}
	return stack, s.describeStack(ctx, stack)
}

// describeStack puts the parameter by which a stack is found.
func (s *Servers) describeStack(ctx context.Context, stack awsfleet.Stack) error {
	doc, err := json.Marshal(stack)
	if err != nil {
		return err
	}
	name := "/sluice/" + stack.Vendor + "/stack"
	if s.real {
		name = "/sluice/" + stack.Vendor + s.suffix + "/stack" // somebody's own may have that name
	}
	return s.PutParameter(ctx, name, string(doc), false)
}

// MakeLake adds a lake to a stack, in the stack's bucket.
func (s *Servers) MakeLake(ctx context.Context, stack awsfleet.Stack) (awsfleet.Stack, error) {
	stack.Lake = awsfleet.Lake{Bucket: stack.Bucket, Prefix: "lake/"}
	var err error
	if stack.Lake.Dead, err = s.MakeQueue(ctx, stack.Table+"-lake-dead", "", 0); err != nil {
		return stack, err
	}
	if stack.Lake.Queue, err = s.MakeQueue(ctx, stack.Table+"-lake", stack.Lake.Dead, 5); err != nil {
		return stack, err
	}
	return stack, s.describeStack(ctx, stack)
}

// MakeQueue makes a queue as the stack does, and returns its URL. dead is the
// URL of its dead-letter queue, which takes a message that was received more
// than receives times; empty: none.
func (s *Servers) MakeQueue(ctx context.Context, name, dead string, receives int) (string, error) {
	c := sqs.NewFromConfig(s.conf)
	attributes := map[string]string{"VisibilityTimeout": "60", "MessageRetentionPeriod": strconv.Itoa(14 * 24 * 3600), "ReceiveMessageWaitTimeSeconds": "0"}
	if dead != "" {
		out, err := c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &dead, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
		if err != nil {
			return "", fmt.Errorf("making queue %s: %w", name, err)
		}
		attributes["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"%d"}`, out.Attributes["QueueArn"], receives)
	}
	out, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		return "", fmt.Errorf("making queue %s: %w", name, err)
	}
	s.later(func() error {
		_, err := c.DeleteQueue(context.Background(), &sqs.DeleteQueueInput{QueueUrl: out.QueueUrl})
		return err
	})
	return *out.QueueUrl, nil
}

// DeleteQueue deletes a queue, as somebody might under a running fleet.
func (s *Servers) DeleteQueue(ctx context.Context, url string) error {
	_, err := sqs.NewFromConfig(s.conf).DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &url})
	return err
}

// A Message is one that was received.
type Message struct {
	Body, Receipt string
	Attributes    map[string]string // those that its sender gave it
}

// Messages receives what a queue holds, ten at most, and hides it for the
// queue's own time.
func (s *Servers) Messages(ctx context.Context, url string) (out []Message, err error) {
	got, err := sqs.NewFromConfig(s.conf).ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
	})
	if err != nil {
		return nil, err
	}
	for _, m := range got.Messages {
		one := Message{*m.Body, *m.ReceiptHandle, map[string]string{}}
		for name, v := range m.MessageAttributes {
			one.Attributes[name] = aws.ToString(v.StringValue)
		}
		out = append(out, one)
	}
	return out, nil
}

// PutMessage puts a message of any kind on a queue.
func (s *Servers) PutMessage(ctx context.Context, url, body string) error {
	_, err := sqs.NewFromConfig(s.conf).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body})
	return err
}

// MakeTable makes a table as the stack does.
func (s *Servers) MakeTable(ctx context.Context, name string) error {
	c := dynamodb.NewFromConfig(s.conf)
	text := dynamotypes.ScalarAttributeTypeS
	_, err := c.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: dynamotypes.BillingModePayPerRequest,
		AttributeDefinitions: []dynamotypes.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: text}, {AttributeName: aws.String("sk"), AttributeType: text}},
		KeySchema:            []dynamotypes.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: "HASH"}, {AttributeName: aws.String("sk"), KeyType: "RANGE"}},
	})
	if err != nil {
		return fmt.Errorf("making table %s: %w", name, err)
	}
	s.later(func() error {
		_, err := c.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &name})
		return err
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		out, err := c.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
		if err == nil && out.Table.TableStatus == dynamotypes.TableStatusActive {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("table %s is not ready: %w", name, err)
		}
	}
}

// MakeBucket makes a bucket.
func (s *Servers) MakeBucket(ctx context.Context, name string) error {
	c := s3.NewFromConfig(s.conf, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil })
	in := &s3.CreateBucketInput{Bucket: &name}
	if s.real && s.conf.Region != "us-east-1" {
		in.CreateBucketConfiguration = &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(s.conf.Region)}
	}
	if _, err := c.CreateBucket(ctx, in); err != nil {
		return fmt.Errorf("making bucket %s: %w", name, err)
	}
	s.later(func() error { return empty(context.Background(), c, name) })
	return nil
}

// empty deletes a bucket and what is in it.
func empty(ctx context.Context, c *s3.Client, bucket string) error {
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: o.Key}); err != nil {
				return err
			}
		}
	}
	_, err := c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
	return err
}

// PutParameter puts a parameter into SSM, as a SecureString if it is secret.
func (s *Servers) PutParameter(ctx context.Context, name, value string, secret bool) error {
	c := ssm.NewFromConfig(s.conf)
	kind := ssmtypes.ParameterTypeString
	if secret {
		kind = ssmtypes.ParameterTypeSecureString
	}
	if _, err := c.PutParameter(ctx, &ssm.PutParameterInput{Name: &name, Value: &value, Type: kind, Overwrite: aws.Bool(true)}); err != nil {
		return fmt.Errorf("putting parameter %s: %w", name, err)
	}
	s.later(func() error {
		_, err := c.DeleteParameter(context.Background(), &ssm.DeleteParameterInput{Name: &name})
		return err
	})
	return nil
}

// PutSecret puts a secret into Secrets Manager.
func (s *Servers) PutSecret(ctx context.Context, name, value string) error {
	c := secretsmanager.NewFromConfig(s.conf)
	if _, err := c.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: &value}); err != nil {
		return fmt.Errorf("putting secret %s: %w", name, err)
	}
	s.later(func() error {
		_, err := c.DeleteSecret(context.Background(), &secretsmanager.DeleteSecretInput{SecretId: &name, ForceDeleteWithoutRecovery: aws.Bool(true)})
		return err
	})
	return nil
}

// later notes how to remove what was made in a real account.
func (s *Servers) later(undo func() error) {
	if !s.real {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undo = append(s.undo, undo)
}
