package awsfleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
)

// Options are what Open may be told. The zero value asks the environment and
// the shared configuration files, as every AWS tool does.
type Options struct {
	Region     string // empty: AWS_REGION, or the profile's
	Profile    string // empty: AWS_PROFILE, or the default one
	Prefix     string // of the names of stacks, as the environment file has it; empty: sluice
	Log        *slog.Logger
	HTTPClient *http.Client                      // nil: one that suits each service
	Load       []func(*config.LoadOptions) error // more of the SDK's own
}

// Cloud is one account and region of AWS. It is safe for concurrent use.
type Cloud struct {
	region  string
	prefix  string
	log     *slog.Logger
	usage   usage
	dynamo  *dynamodb.Client
	quick   *dynamodb.Client // the same without retries: what must fail soon
	sqs     *sqs.Client
	s3      *s3.Client
	ssm     *ssm.Client
	secrets *secretsmanager.Client
}

// How long one operation may take in all, retries and their pauses included:
// the engine is to know within some 15 s that it cannot go on.
const (
	operationTime = 12 * time.Second
	quickTime     = 900 * time.Millisecond // for what the governor waits for
)

// Open prepares the use of AWS. It does not touch the network.
func Open(ctx context.Context, opt Options) (*Cloud, error) {
	c := &Cloud{prefix: cmp.Or(opt.Prefix, defaultPrefix), log: cmp.Or(opt.Log, slog.New(slog.DiscardHandler))}
	load := []func(*config.LoadOptions) error{
		config.WithAPIOptions([]func(*middleware.Stack) error{c.usage.meter}),
		config.WithRetryer(func() aws.Retryer { return retry.NewStandard(patience) }),
		config.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, args ...any) {
			c.log.Debug("the AWS SDK says", "what", fmt.Sprintf(format, args...))
		})),
	}
	load = append(load, opt.Load...)
	if opt.Region != "" {
		load = append(load, config.WithRegion(opt.Region))
	}
	if opt.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(opt.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	var profile config.SharedConfigProfileNotExistError
	if errors.As(err, &profile) {
		return nil, fmt.Errorf("there is no AWS profile %q: name another (AWS_PROFILE), or make it with aws configure --profile %s", profile.Profile, profile.Profile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", explain(err, ""))
	}
	if cfg.Region == "" {
		return nil, errors.New("no AWS region: set AWS_REGION, or the profile's with aws configure set region NAME")
	}
	c.region = cfg.Region
	c.connect(cfg, opt.HTTPClient)
	return c, nil
}

func (c *Cloud) connect(cfg aws.Config, given *http.Client) {
	// Each service has connections of its own: a long poll may take 20 s to
	// answer, a row must not.
	client := func(answer time.Duration) aws.HTTPClient {
		if given != nil {
			return given
		}
		return awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
			tr.MaxIdleConns, tr.MaxIdleConnsPerHost = 2*width, 2*width
			tr.ResponseHeaderTimeout = answer
		})
	}
	c.dynamo = dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		o.HTTPClient = client(4 * time.Second)
		o.Retryer = retry.NewAdaptiveMode(func(a *retry.AdaptiveModeOptions) { a.StandardOptions = append(a.StandardOptions, patience) })
	})
	c.quick = dynamodb.New(c.dynamo.Options(), func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
	c.sqs = sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.HTTPClient = client(25 * time.Second) })
	c.s3 = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.HTTPClient = client(20 * time.Second)
		o.UsePathStyle = o.BaseEndpoint != nil // a bucket's name is no host name there
		o.DisableLogOutputChecksumValidationSkipped = true
	})
	c.ssm = ssm.NewFromConfig(cfg, func(o *ssm.Options) { o.HTTPClient = client(8 * time.Second) })
	c.secrets = secretsmanager.NewFromConfig(cfg, func(o *secretsmanager.Options) { o.HTTPClient = client(8 * time.Second) })
}

// patience is how requests that failed are tried again: soon, as most pass the
// second time, and for some five seconds in all.
func patience(o *retry.StandardOptions) {
	o.MaxAttempts = 8
	o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
		longest := min(50*time.Millisecond<<min(max(attempt-1, 0), 10), 2*time.Second)
		return longest/2 + rand.N(longest/2), nil
	})
}

// Region is the region in use.
func (c *Cloud) Region() string { return c.region }

// Usage is what was asked of AWS so far.
func (c *Cloud) Usage() Usage { return c.usage.snapshot() }

// Calls is Usage's count of calls.
func (c *Cloud) Calls() map[string]int { return c.usage.snapshot().Calls }

// ErrNoStack says that a vendor has no stack in this region and account.
var ErrNoStack = errors.New("no such stack")

const (
	defaultPrefix = "sluice"
	stackSuffix   = "/stack"
)

// Stack finds a vendor's stack by name.
func (c *Cloud) Stack(ctx context.Context, vendor string) (Stack, error) {
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	name := c.stacks() + vendor + stackSuffix
	out, err := c.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
	var none *ssmtypes.ParameterNotFound
	if errors.As(err, &none) {
		return Stack{}, &noStack{vendor, c.region}
	}
	if err != nil {
		return Stack{}, wrap(explain(err, "parameter "+name), "looking for the stack of vendor %s", vendor)
	}
	s, err := ParseStack(aws.ToString(out.Parameter.Value))
	return s, wrap(err, "parameter %s", name)
}

// stacks is where the parameters of all stacks are.
func (c *Cloud) stacks() string { return "/" + c.prefix + "/" }

// noStack is ErrNoStack with its remedy.
type noStack struct{ vendor, region string }

func (e *noStack) Error() string {
	return fmt.Sprintf("there is no stack of vendor %s in region %s (deploy it with make deploy VENDOR=%s, or name the right region/profile)", e.vendor, e.region, e.vendor)
}

func (e *noStack) Unwrap() error { return ErrNoStack }

// Vendors lists the vendors that have a stack here.
func (c *Cloud) Vendors(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	var names []string
	pages := ssm.NewGetParametersByPathPaginator(c.ssm, &ssm.GetParametersByPathInput{
		Path: aws.String(strings.TrimSuffix(c.stacks(), "/")), Recursive: aws.Bool(true),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, wrap(explain(err, "parameters "+c.stacks()), "looking for stacks in region %s", c.region)
		}
		for _, p := range page.Parameters {
			vendor, ok := strings.CutSuffix(strings.TrimPrefix(aws.ToString(p.Name), c.stacks()), stackSuffix)
			if ok && !strings.Contains(vendor, "/") {
				names = append(names, vendor)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// Use works with a stack. It does not touch the network.
func (c *Cloud) Use(stack Stack) *Vendor {
	if stack.KeepDays == 0 {
		stack.KeepDays = defaultKeepDays
	}
	return &Vendor{cloud: c, stack: stack, tiers: newTierMemory(),
		table: &table{client: c.dynamo, name: stack.Table, usage: &c.usage, limit: operationTime},
		quick: &table{client: c.quick, name: stack.Table, usage: &c.usage, limit: quickTime},
	}
}

// wrap adds what was being done to what.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
