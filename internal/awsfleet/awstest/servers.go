package awstest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/sluicehq/sluice/internal/awsfleet"
)

// Servers are one caller's view of the servers: the processes are shared by all
// of one test binary, the proxy, the buckets and the parameters are its own. It
// is safe for concurrent use.
type Servers struct {
	URL string // of all services, behind the proxy; empty: the real AWS

	proxy  *proxy
	params *parameters
	web    *http.Server
	conf   aws.Config
	suffix string // sets the names of this caller's things apart
	real   bool
	undo   []func() error // of what was made in a real account, or started for this caller
	pids   []string
	mu     sync.Mutex
}

// Real tells whether the tests are to use a real account.
func Real() bool { return os.Getenv("SLUICE_TEST_AWS") == "1" }

// backend is what all callers of one process share.
type backend struct{ sqs, dynamo *process }

var shared struct {
	once sync.Once
	b    *backend
	err  error
}

func start(ctx context.Context) (*backend, error) {
	dir := nodeDir()
	if err := install(ctx, dir); err != nil {
		return nil, err
	}
	path, err := node(dir)
	if err != nil {
		return nil, err
	}
	b := new(backend)
	if b.sqs, err = spawn(path, dir, "sqs.mjs"); err != nil {
		return nil, err
	}
	if b.dynamo, err = spawn(path, dir, "dynamodb.mjs"); err != nil {
		b.sqs.stop()
		return nil, err
	}
	return b, nil
}

// Start gives a test its servers, or the real AWS where the environment says so.
func Start(t testing.TB) *Servers {
	t.Helper()
	if Real() {
		return startReal(t)
	}
	return StandIn(t)
}

// StandIn gives a test its servers, for what the real AWS cannot do: tell what
// was asked, and fail. The processes are started with the first and end with
// the test binary.
func StandIn(t testing.TB) *Servers {
	t.Helper()
	shared.once.Do(func() { shared.b, shared.err = start(context.Background()) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	s, err := view(shared.b, "-"+strings.ToLower(rand.Text()[:8]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Apart gives a test servers of its own, so that what it deploys may have the
// names that a template gives it. They end with the test.
func Apart(t testing.TB) *Servers {
	t.Helper()
	b, err := start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.sqs.stop(); b.dynamo.stop() })
	s, err := view(b, "-"+strings.ToLower(rand.Text()[:8]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func startReal(t testing.TB) *Servers {
	conf, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &Servers{real: true, conf: conf, suffix: "-" + strings.ToLower(rand.Text()[:8]), proxy: new(proxy)}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("something is left in the account: %v", err)
		}
	})
	return s
}

// Run starts servers without a test. Names of what is made are plain. Close
// ends them.
func Run(ctx context.Context) (*Servers, error) {
	b, err := start(ctx)
	if err != nil {
		return nil, err
	}
	s, err := view(b, "")
	if err != nil {
		b.stop()
		return nil, err
	}
	s.undo = append(s.undo, func() error { b.stop(); return nil })
	for _, p := range []*process{b.sqs, b.dynamo} {
		s.pids = append(s.pids, strconv.Itoa(p.cmd.Process.Pid))
	}
	return s, nil
}

func (b *backend) stop() {
	b.sqs.stop()
	b.dynamo.stop()
}

// view puts a proxy before the servers.
func view(b *backend, suffix string) (*Servers, error) {
	s := &Servers{suffix: suffix, params: newParameters()}
	s.proxy = newProxy(map[string]http.Handler{
		"sqs": forward(b.sqs.addr), "dynamodb": forward(b.dynamo.addr), "s3": newBuckets(),
		"ssm": http.HandlerFunc(s.params.serveSSM), "secretsmanager": http.HandlerFunc(s.params.serveSecrets),
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.URL = "http://" + l.Addr().String()
	s.web = &http.Server{Handler: s.proxy, ReadHeaderTimeout: time.Minute}
	go s.web.Serve(l)
	s.conf = aws.Config{Region: Region, BaseEndpoint: &s.URL, Credentials: keys(makerKey)}
	return s, nil
}

// Close ends this view; in a real account it removes what was made.
func (s *Servers) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first error
	for i := len(s.undo) - 1; i >= 0; i-- {
		if err := s.undo[i](); err != nil && first == nil {
			first = err
		}
	}
	s.undo = nil
	if s.web != nil {
		s.web.Close()
	}
	return first
}

// Region is the region that the servers stand for.
const Region = "eu-central-1"

// makerKey is the access key by which Make and its like call; it is not
// recorded.
const makerKey = "AKIAMAKER"

// Env is the environment of a process that is to use these servers, with an
// access key by which its requests are known. In a real account it is empty:
// the process's own holds.
func (s *Servers) Env(accessKey string) []string {
	if s.real {
		return nil
	}
	env := []string{
		"AWS_REGION=" + Region, "AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=secret", "AWS_SESSION_TOKEN=",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull, "AWS_PROFILE=",
	}
	for _, service := range []string{"SQS", "DYNAMODB", "S3", "SSM", "SECRETS_MANAGER"} {
		env = append(env, fmt.Sprintf("AWS_ENDPOINT_URL_%s=%s", service, s.URL))
	}
	return env
}

// Options are Env for a Cloud of this process.
func (s *Servers) Options(accessKey string) awsfleet.Options {
	if s.real {
		return awsfleet.Options{}
	}
	return awsfleet.Options{Region: Region, Load: []func(*config.LoadOptions) error{
		config.WithBaseEndpoint(s.URL), config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}),
		config.WithCredentialsProvider(keys(accessKey)),
	}}
}

// keys are made up: nobody checks the signature.
type keys string

func (k keys) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: string(k), SecretAccessKey: "secret"}, nil
}

// Open opens a Cloud on these servers, by a key of its own.
func (s *Servers) Open(t testing.TB, accessKey string) *awsfleet.Cloud {
	t.Helper()
	c, err := awsfleet.Open(t.Context(), s.Options(accessKey))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Processes are the IDs of the Node programs that Run has started.
func (s *Servers) Processes() []string { return s.pids }
