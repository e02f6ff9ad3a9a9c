package awsfleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// A plain error says in one line what AWS meant. What it was stays beneath.
type plainError struct {
	line string
	err  error
}

func (e *plainError) Error() string { return e.line }
func (e *plainError) Unwrap() error { return e.err }

// explain makes one clear line of an error of the SDK. what is the thing that
// was asked of: "queue sluice-sim-groups", "table sluice-sim"; it may be empty.
func explain(err error, what string) error {
	if err == nil {
		return nil
	}
	var already *plainError
	if errors.As(err, &already) {
		return err
	}
	return &plainError{cmp.Or(meaning(err, what), oneLine(err)), err}
}

func meaning(err error, what string) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		if line := refusal(err, api, what); line != "" {
			return line
		}
		return operation(err) + ": " + strings.TrimSpace(api.ErrorCode()+": "+firstLine(api.ErrorMessage()))
	}
	text := err.Error()
	var dns *net.DNSError
	var dial *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return operation(err) + " was broken off"
	case strings.Contains(text, "SSO"), strings.Contains(text, "sso session"):
		return "the AWS sign-in has ended: aws sso login"
	case strings.Contains(text, "get credentials"), strings.Contains(text, "failed to refresh cached credentials"):
		return "there are no AWS credentials: set AWS_PROFILE, or sign in (aws sso login, aws configure)"
	case errors.As(err, &dns):
		return fmt.Sprintf("no network, or no such region: the name %s is not known", dns.Name)
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Sprintf("no network: %v does not answer (%v)", dial.Addr, dial.Err)
	case errors.Is(err, context.DeadlineExceeded):
		return operation(err) + ": no answer in time"
	}
	return ""
}

// refusal is the meaning of the codes that operators meet.
func refusal(err error, api smithy.APIError, what string) string {
	code, message := api.ErrorCode(), api.ErrorMessage()
	what = cmp.Or(what, "what was asked for")
	switch code {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden", "403":
		return noRights(err, message, what)
	case "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "ResourceNotFoundException", "NoSuchBucket":
		return what + " is gone: deploy the stack again, or name the right region/profile"
	case "ExpiredToken", "ExpiredTokenException":
		return "the AWS credentials have expired: sign in again (aws sso login), or set new ones"
	case "RequestTimeTooSkewed", "RequestInTheFuture", "RequestExpired":
		return clockLine(err)
	case "InvalidSignatureException", "SignatureDoesNotMatch":
		if strings.Contains(message, "Signature expired") || strings.Contains(message, "not yet current") {
			return clockLine(err)
		}
		return "the AWS credentials are not valid (" + code + "): the secret key does not fit the access key"
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "AuthFailure":
		return "the AWS credentials are not valid (" + code + "): AWS does not know the access key"
	case "ProvisionedThroughputExceededException", "ThrottlingException", "Throttling", "RequestLimitExceeded",
		"RequestThrottled", "SlowDown", "TooManyRequestsException":
		return fmt.Sprintf("AWS throttles %s (%s)", operation(err), code)
	}
	return ""
}

// AWS writes "User: ARN is not authorized to perform: ACTION on resource: ARN because ...".
var denied = regexp.MustCompile(`(?:User: )?(\S+) is not authorized to perform: (\S+)(?: on resource: "?([^\s"]+))?`)

func noRights(err error, message, what string) string {
	if m := denied.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("no rights: %s is not allowed to %s on %s", m[1], m[2], cmp.Or(m[3], what))
	}
	return fmt.Sprintf("no rights: not allowed to %s on %s", action(err), what)
}

// action is the right that an operation needs, as policies call it.
func action(err error) string {
	var op *smithy.OperationError
	if !errors.As(err, &op) {
		return "do this"
	}
	name := op.Operation()
	switch {
	case op.Service() == "S3" && name == "HeadObject":
		name = "GetObject"
	case op.Service() == "S3" && strings.HasPrefix(name, "ListObjects"), op.Service() == "S3" && name == "HeadBucket":
		name = "ListBucket"
	case op.Service() == "S3" && (strings.Contains(name, "MultipartUpload") || name == "UploadPart"):
		name = "PutObject"
	case op.Service() == "SQS":
		name = strings.TrimSuffix(name, "Batch")
	}
	return cmp.Or(services[op.Service()], strings.ToLower(op.Service())) + ":" + name
}

func operation(err error) string {
	var op *smithy.OperationError
	if errors.As(err, &op) {
		return op.Service() + " " + op.Operation()
	}
	return "AWS"
}

// clockLine says by how much the machine's clock differs from the server's.
func clockLine(err error) string {
	const remedy = "set it (NTP) and try again"
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) && resp.HTTPResponse() != nil {
		if theirs, bad := http.ParseTime(resp.HTTPResponse().Header.Get("Date")); bad == nil {
			off := time.Since(theirs).Round(time.Second)
			if off >= 0 {
				return fmt.Sprintf("this machine's clock is off: %v ahead of AWS; %s", off, remedy)
			}
			return fmt.Sprintf("this machine's clock is off: %v behind AWS; %s", -off, remedy)
		}
	}
	return "this machine's clock is off: AWS refuses its signatures; " + remedy
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
