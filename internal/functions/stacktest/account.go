package stacktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/functions/lambdatest"
)

// Options are how an account is to run a stack.
type Options struct {
	URL     string                          // of the stand-in servers
	Env     func(accessKey string) []string // the environment that leads to them, with a key by which a function is known
	More    []string                        // to be added to every function's environment: what a Lambda's image has and this machine lacks
	Log     io.Writer                       // what the functions write; nil: nowhere
	Timeout time.Duration                   // of every function instead of the template's; 0: the template's
	Slices  bool                            // give each function its share of a core
}

// An Account is a stack that was deployed on stand-in servers.
type Account struct {
	Template  *Template
	Functions map[string]*lambdatest.Function // by name

	opt       Options
	schedules map[string]schedule
	mappings  []mapping
	firing    sync.WaitGroup
	mu        sync.Mutex
	answers   map[string][]Answer
}

// An Answer is how one invocation ended.
type Answer struct {
	At   time.Time
	Body json.RawMessage
	Err  error
}

// schedule is one EventBridge schedule.
type schedule struct {
	function, input string
	minutely        bool
}

const mappingKind = "AWS::Lambda::EventSourceMapping"

// Deploy makes a stack's resources and gets its functions ready. Close it.
func Deploy(ctx context.Context, t *Template, opt Options) (*Account, error) {
	a := &Account{Template: t, opt: opt, Functions: map[string]*lambdatest.Function{}, schedules: map[string]schedule{}, answers: map[string][]Answer{}}
	for _, step := range []struct {
		kind string
		do   func(ctx context.Context, id string) error
	}{
		{"AWS::SQS::Queue", a.makeQueue}, {"AWS::SQS::Queue", a.redrive}, {"AWS::DynamoDB::Table", a.makeTable},
		{"AWS::S3::Bucket", a.makeBucket}, {"AWS::SSM::Parameter", a.makeParameter},
		{"AWS::Lambda::Function", a.makeFunction}, {"AWS::Scheduler::Schedule", a.makeSchedule},
		{mappingKind, a.makeMapping},
	} {
		ids := t.Of(step.kind)
		if len(ids) == 0 && step.kind != mappingKind { // without a lake
			return nil, fmt.Errorf("stack %s has no %s", t.Name, step.kind)
		}
		for _, id := range ids {
			if err := step.do(ctx, id); err != nil {
				return nil, fmt.Errorf("deploying %s %s of stack %s: %w", step.kind, id, t.Name, err)
			}
		}
	}
	return a, nil
}

// Close kills the functions and waits for them, and removes what holds data, so
// that the stack can be deployed again.
func (a *Account) Close() {
	for _, f := range a.Functions {
		f.Close()
	}
	a.firing.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, id := range a.Template.Of("AWS::SQS::Queue") {
		_ = a.call(ctx, "SQS", "AmazonSQS.DeleteQueue", map[string]any{"QueueUrl": a.Template.refs[id]}, nil) // nobody may deploy again
	}
	for _, id := range a.Template.Of("AWS::DynamoDB::Table") {
		_ = a.call(ctx, "DYNAMODB", "DynamoDB_20120810.DeleteTable", map[string]any{"TableName": a.Template.Resources[id].Properties["TableName"]}, nil)
	}
}

func (a *Account) makeQueue(ctx context.Context, id string) error {
	name, err := a.Template.name(id)
	if err != nil {
		return err
	}
	attributes := map[string]string{}
	for _, p := range []string{"VisibilityTimeout", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds"} {
		if v, ok := a.Template.Resources[id].Properties[p]; ok {
			attributes[p] = fmt.Sprint(v)
		}
	}
	var out struct{ QueueUrl string }
	err = a.call(ctx, "SQS", "AmazonSQS.CreateQueue", map[string]any{"QueueName": name, "Attributes": attributes}, &out)
	a.Template.refs[id] = out.QueueUrl
	return err
}

// redrive sets the redrive policy: the dead-letter queue is there now.
func (a *Account) redrive(ctx context.Context, id string) error {
	v, err := a.Template.at(id, "RedrivePolicy")
	if err != nil || v == nil {
		return err
	}
	policy, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.call(ctx, "SQS", "AmazonSQS.SetQueueAttributes", map[string]any{
		"QueueUrl": a.Template.refs[id], "Attributes": map[string]string{"RedrivePolicy": string(policy)},
	}, nil)
}

func (a *Account) makeTable(ctx context.Context, id string) error {
	in := map[string]any{}
	for _, p := range []string{"TableName", "AttributeDefinitions", "KeySchema", "BillingMode"} {
		in[p] = a.Template.Resources[id].Properties[p]
	}
	if err := a.call(ctx, "DYNAMODB", "DynamoDB_20120810.CreateTable", in, nil); err != nil {
		return err
	}
	for {
		var out struct{ Table struct{ TableStatus string } }
		err := a.call(ctx, "DYNAMODB", "DynamoDB_20120810.DescribeTable", map[string]any{"TableName": in["TableName"]}, &out)
		if err != nil || out.Table.TableStatus == "ACTIVE" {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (a *Account) makeBucket(ctx context.Context, id string) error {
	name, err := a.Template.name(id)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, a.opt.URL+"/"+name, nil)
	if err != nil {
		return err
	}
	_, err = sendAs(req, "deployer", "s3")
	return err
}

func (a *Account) makeParameter(ctx context.Context, id string) error {
	name, err := a.Template.name(id)
	if err != nil {
		return err
	}
	value, err := a.Template.text(id, "Value")
	if err != nil {
		return err
	}
	return a.call(ctx, "SSM", "AmazonSSM.PutParameter", map[string]any{"Name": name, "Value": value, "Type": "String"}, nil)
}

// makeFunction unpacks nothing: an asset is a directory already.
func (a *Account) makeFunction(_ context.Context, id string) error {
	name, err := a.Template.name(id)
	if err != nil {
		return err
	}
	key, err := a.Template.text(id, "Code", "S3Key")
	if err != nil {
		return err
	}
	dir, ok := a.Template.assets[key]
	if !ok {
		return fmt.Errorf("its code %s is no asset", key)
	}
	if _, err := os.Stat(dir + "/bootstrap"); err != nil {
		return err
	}
	timeout, err := a.Template.number(id, "Timeout")
	if err != nil {
		return err
	}
	memory, err := a.Template.number(id, "MemorySize")
	if err != nil {
		return err
	}
	reserved, err := a.Template.number(id, "ReservedConcurrentExecutions")
	if err != nil {
		return err
	}
	env, err := a.environment(id, name)
	if err != nil {
		return err
	}
	f := &lambdatest.Function{
		Name: name, Dir: dir, Env: env, Timeout: time.Duration(timeout) * time.Second, Memory: memory,
		Concurrency: reserved, Slices: a.opt.Slices, Log: a.opt.Log,
	}
	if a.opt.Timeout > 0 {
		f.Timeout = a.opt.Timeout
	}
	a.Functions[name] = f
	return nil
}

// environment is the template's, and what Lambda itself adds: the region,
// credentials (each function's own, so that its requests can be told), and here
// the endpoints.
func (a *Account) environment(id, name string) ([]string, error) {
	v, err := a.Template.at(id, "Environment", "Variables")
	if err != nil {
		return nil, err
	}
	vars, _ := v.(map[string]any)
	env := slices.Concat([]string{"SLUICE_SETTLE=0s"}, a.opt.Env(name), a.opt.More)
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, fmt.Sprintf("%s=%v", k, vars[k]))
	}
	return env, nil
}

func (a *Account) makeSchedule(_ context.Context, id string) error {
	target, err := a.Template.text(id, "Target", "Arn")
	if err != nil {
		return err
	}
	input, err := a.Template.text(id, "Target", "Input")
	if err != nil {
		return err
	}
	expression, err := a.Template.text(id, "ScheduleExpression")
	if err != nil {
		return err
	}
	function := functionOf(target)
	if a.Functions[function] == nil {
		return fmt.Errorf("its target %s is no function of the stack", target)
	}
	a.schedules[function] = schedule{function, input, strings.HasPrefix(expression, "cron(* ") || expression == "rate(1 minute)"}
	return nil
}

// call makes one request of AWS's JSON protocol.
func (a *Account) call(ctx context.Context, service, target string, in, out any) error {
	return a.callAs(ctx, "deployer", service, target, in, out)
}

// callAs is call by somebody else's key.
func (a *Account) callAs(ctx context.Context, key, service, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.opt.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	kind := "application/x-amz-json-1.1"
	if service == "SQS" || service == "DYNAMODB" {
		kind = "application/x-amz-json-1.0"
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("X-Amz-Target", target)
	text, err := sendAs(req, key, strings.ToLower(service))
	if err == nil && out != nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	return nil
}

func sendAs(req *http.Request, key, service string) ([]byte, error) {
	now := time.Now().UTC()
	req.Header.Set("X-Amz-Date", now.Format("20060102T150405Z"))
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+key+"/"+now.Format("20060102")+"/"+region+"/"+service+
		"/aws4_request, SignedHeaders=host;x-amz-date, Signature=0000")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, errors.New(resp.Status + ": " + string(text))
	}
	return text, nil
}

// TableBytes is the size of what the vendor's table holds, as DynamoDB counts:
// names and values of all attributes, and 100 bytes for each row.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
func (a *Account) TableBytes(ctx context.Context) (sum float64, err error) {
	name, err := a.Template.name(a.Template.Of("AWS::DynamoDB::Table")[0])
	if err != nil {
		return 0, err
	}
	in := map[string]any{"TableName": name}
	for {
		var out struct {
			Items            []map[string]map[string]any
			LastEvaluatedKey map[string]any
		}
		if err := a.call(ctx, "DYNAMODB", "DynamoDB_20120810.Scan", in, &out); err != nil {
			return 0, err
		}
		for _, item := range out.Items {
			sum += 100
			for attr, typed := range item {
				for kind, v := range typed {
					text := fmt.Sprint(v)
					if kind == "B" {
						text = text[:len(text)*3/4] // base64
					}
					sum += float64(len(attr) + len(text))
				}
			}
		}
		if out.LastEvaluatedKey == nil {
			return sum, nil
		}
		in["ExclusiveStartKey"] = out.LastEvaluatedKey
	}
}
