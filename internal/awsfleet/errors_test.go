package awsfleet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/fanout"
)

// TestExplain: what AWS says, in one line that says what to do.
func TestExplain(t *testing.T) {
	refused := func(service, op, code, message string) error {
		return &smithy.OperationError{ServiceID: service, OperationName: op, Err: &smithy.GenericAPIError{Code: code, Message: message}}
	}
	dated := func(ago time.Duration, code, message string) error {
		resp := &smithyhttp.Response{Response: &http.Response{StatusCode: 403, Header: http.Header{"Date": {time.Now().Add(-ago).UTC().Format(http.TimeFormat)}}}}
		return &smithy.OperationError{ServiceID: "DynamoDB", OperationName: "GetItem", Err: &awshttp.ResponseError{
			ResponseError: &smithyhttp.ResponseError{Response: resp, Err: &smithy.GenericAPIError{Code: code, Message: message}}}}
	}
	const denied = "User: arn:aws:sts::1:assumed-role/x/y is not authorized to perform: sqs:sendmessage on resource: arn:aws:sqs:eu:1:q because no identity-based policy allows the action"
	for _, c := range []struct {
		err  error
		want string
	}{
		{refused("SQS", "SendMessageBatch", "AccessDeniedException", denied), "no rights: arn:aws:sts::1:assumed-role/x/y is not allowed to sqs:sendmessage on arn:aws:sqs:eu:1:q"},
		{refused("SQS", "SendMessageBatch", "AccessDenied", "no"), "no rights: not allowed to sqs:SendMessage on the thing"},
		{refused("S3", "HeadObject", "Forbidden", "Forbidden"), "no rights: not allowed to s3:GetObject on the thing"},
		{refused("S3", "ListObjectsV2", "AccessDenied", "Access Denied"), "no rights: not allowed to s3:ListBucket on the thing"},
		{refused("S3", "CompleteMultipartUpload", "AccessDenied", "Access Denied"), "no rights: not allowed to s3:PutObject on the thing"},
		{refused("SQS", "ReceiveMessage", "AWS.SimpleQueueService.NonExistentQueue", "x"), "the thing is gone: "},
		{refused("DynamoDB", "GetItem", "ResourceNotFoundException", "x"), "the thing is gone: "},
		{refused("S3", "PutObject", "NoSuchBucket", "x"), "the thing is gone: "},
		{refused("SQS", "ReceiveMessage", "ExpiredToken", "x"), "the AWS credentials have expired: "},
		{refused("SQS", "ReceiveMessage", "InvalidClientTokenId", "x"), "the AWS credentials are not valid (InvalidClientTokenId)"},
		{refused("DynamoDB", "GetItem", "InvalidSignatureException", "The request signature we calculated does not match"), "the AWS credentials are not valid"},
		{dated(time.Hour, "InvalidSignatureException", "Signature expired: 20261101T000000Z is now earlier than"), "this machine's clock is off: 1h0m"},
		{dated(-5*time.Minute, "RequestTimeTooSkewed", "x"), "behind AWS"},
		{refused("DynamoDB", "UpdateItem", "ProvisionedThroughputExceededException", "x"), "AWS throttles DynamoDB UpdateItem"},
		{refused("S3", "PutObject", "SlowDown", "x"), "AWS throttles S3 PutObject (SlowDown)"},
		{refused("DynamoDB", "PutItem", "ValidationException", "too big\nand more"), "DynamoDB PutItem: ValidationException: too big"},
		{&smithy.OperationError{ServiceID: "SQS", OperationName: "ReceiveMessage", Err: &net.DNSError{Name: "sqs.nowhere.amazonaws.com"}}, "no network, or no such region: the name sqs.nowhere.amazonaws.com"},
		{errors.New("get identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found"), "there are no AWS credentials: "},
		{errors.New("refresh cached SSO token failed, unable to refresh SSO token"), "aws sso login"},
		{&smithy.OperationError{ServiceID: "SQS", OperationName: "ReceiveMessage", Err: context.DeadlineExceeded}, "SQS ReceiveMessage: no answer in time"},
		{errors.New("something\n  else"), "something else"},
	} {
		got := awsfleet.Explain(fmt.Errorf("doing: %w", c.err), "the thing")
		if !strings.Contains(got.Error(), c.want) || strings.Contains(got.Error(), "\n") {
			t.Errorf("%v\nis explained as %q\nwant              %q", c.err, got, c.want)
		}
		if !errors.Is(got, c.err) {
			t.Errorf("%v is lost beneath its explanation", c.err)
		}
	}
}

// TestTrouble: the same from the wire.
func TestTrouble(t *testing.T) {
	t.Parallel()
	s := awstest.StandIn(t)
	stack := s.Make(t, vendor, "a", "b")
	v := s.Open(t, "AKIATEST").Use(stack)
	ctx, one := t.Context(), []fanout.Task{task("r1", "a", "x")}
	ok(t, v.Check(ctx))
	ok(t, s.DeleteQueue(ctx, stack.Queues["b"].URL))
	gone := stack
	gone.Table, gone.Bucket = "no-such-table", "no-such-bucket"
	lost := s.Open(t, "AKIATEST").Use(gone)
	for _, c := range []struct {
		err  error
		want string
	}{
		{v.Check(ctx), "looking at queue " + name(stack.Queues["b"].URL) + ": queue " + name(stack.Queues["b"].URL) + " ("},
		{v.Queue(vendor, "b").Send(ctx, one), " is gone: deploy the stack again, or name the right region/profile"},
		{second(lost.Ledger(vendor).Look(ctx, one)), "table no-such-table is gone"},
		{second(lost.Governor().Load(ctx, vendor)), "table no-such-table is gone"},
		{awsfleet.Objects(lost).Put(ctx, "x", nil), "bucket no-such-bucket is gone"},
		{lost.Check(ctx), "table no-such-table is gone"},
		{v.Queue(vendor, "c").Send(ctx, one), "has no tier c (it has [a b])"},
		{v.Queue("w", "a").Send(ctx, one), "this is the stack of vendor v, not of w"},
		{second(v.Runs().Create(ctx, newRunOf("w"), false)), "this is the stack of vendor v, not of w"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%v\nwant %s", c.err, c.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func name(url string) string { return url[strings.LastIndex(url, "/")+1:] }

// TestThrottled: DynamoDB's throttling is waited out, and if it lasts the
// operation fails within the time that the engine has.
func TestThrottled(t *testing.T) {
	t.Parallel()
	s, v, _ := opened(t, "a")
	l, ts := v.Ledger(vendor), []fanout.Task{task("r1", "a", "x")}
	s.Inject(func(n int, r awstest.Request) awstest.Fault {
		if n%3 != 0 {
			return awstest.Throttled(r.Service)
		}
		return awstest.Fault{}
	})
	for range 3 {
		_, err := l.Look(t.Context(), ts)
		ok(t, err)
	}
	s.Inject(func(_ int, r awstest.Request) awstest.Fault { return awstest.Throttled(r.Service) })
	began := time.Now()
	_, err := l.Look(t.Context(), ts)
	if err == nil || time.Since(began) > 14*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	began = time.Now()
	_, err = v.Governor().Load(t.Context(), vendor)
	if err == nil || !strings.Contains(err.Error(), "AWS throttles DynamoDB GetItem") || time.Since(began) > time.Second {
		t.Errorf("the governor's read: %v after %v", err, time.Since(began))
	}
}

// TestSilence: a server that does not answer holds the governor up for less
// than a second.
func TestSilence(t *testing.T) {
	t.Parallel()
	s, v := open(t)
	s.Inject(func(int, awstest.Request) awstest.Fault { return awstest.Fault{Delay: time.Minute} })
	began := time.Now()
	_, err := v.Governor().Load(t.Context(), vendor)
	if err == nil || !strings.Contains(err.Error(), "no answer in time") || time.Since(began) > 1200*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestNoNetwork, no region, no profile.
func TestNoNetwork(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_PROFILE", "")
	if _, err := awsfleet.Open(t.Context(), awsfleet.Options{}); err == nil || !strings.Contains(err.Error(), "no AWS region: set AWS_REGION") {
		t.Errorf("without a region: %v", err)
	}
	if _, err := awsfleet.Open(t.Context(), awsfleet.Options{Profile: "nobody"}); err == nil || !strings.Contains(err.Error(), `there is no AWS profile "nobody"`) {
		t.Errorf("without the profile: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	c, err := awsfleet.Open(t.Context(), awsfleet.Options{Region: "eu-central-1"})
	ok(t, err)
	v := c.Use(awsfleet.Stack{Vendor: vendor, Table: "x"})
	if _, err := v.Governor().Load(t.Context(), vendor); err == nil || !strings.Contains(err.Error(), "no network: 127.0.0.1:1 does not answer") {
		t.Errorf("without a network: %v", err)
	}
}
