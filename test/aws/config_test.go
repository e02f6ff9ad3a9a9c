package aws

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

// fails runs a command that cannot work, and checks that it ends with exit code
// 2 and says why in one line. It returns how long that took.
func (s *madeSite) fails(t *testing.T, args []string, phrases ...string) time.Duration {
	t.Helper()
	began := time.Now()
	_, errs := s.sluice(t, 2, args...)
	oneLine(t, errs, phrases...)
	return time.Since(began)
}

// oneLine checks that a command's last words are one line for people.
func oneLine(t *testing.T, said string, phrases ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(said), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "sluice: ") || len(last) > 600 {
		t.Errorf("no clear line:\n%s", lastLines(said))
	}
	says(t, last, phrases...)
	for _, dump := range []string{"goroutine ", "panic", "operation error", "RequestID", "https response error", "%!"} {
		if strings.Contains(said, dump) {
			t.Errorf("%q in what the operator sees:\n%s", dump, lastLines(said))
		}
	}
}

// with is the site with other settings in its environment.
func (s *madeSite) with(env ...string) *madeSite {
	c := *s
	c.env = append(append([]string(nil), s.env...), env...)
	return &c
}

// tiny is a tree of twelve calls.
var tiny = vendorsim.Tree{Groups: 1, Devices: 2, Datagroups: 8, Points: 2}

func (s *madeSite) runArgs() []string {
	return append(s.called("run", s.spec, "--no-progress"), window...)
}

// TestBadConfiguration: each mistake is one clear line, and harms nothing.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	s := makeSite(t, vendorsim.Config{Tree: tiny})
	s.with("AWS_REGION=", "AWS_DEFAULT_REGION=").fails(t, s.runArgs(), "no AWS region", "AWS_REGION")
	s.with("AWS_PROFILE=nobody").fails(t, s.runArgs(), "no AWS profile", "nobody")
	s.fails(t, append([]string{"run", "prometheus", "--set", "base=" + s.URL}, window...),
		"there is no stack of vendor prometheus in region eu-central-1", "make deploy VENDOR=prometheus")
	// Another region is another set of servers.
	other := awstest.Start(t)
	s.with(append(other.Env("operator"), "AWS_REGION=us-east-1")...).fails(t, s.runArgs(),
		"there is no stack of vendor sim in region us-east-1", "name the right region/profile")
	if took := s.with(endpoints("http://127.0.0.1:9")...).fails(t, s.runArgs(), "no network: 127.0.0.1:9 does not answer"); took > 15*time.Second {
		t.Errorf("no network is said after %v", took)
	}
	s.secretMissing(t)
	s.noRights(t)
	s.signedTooLate(t)
	p := s.run(t)
	if code := p.finish(t, 30*time.Second); code != 0 {
		t.Fatalf("with all of it right the run ended with %d:\n%s", code, lastLines(p.errs.String()))
	}
	s.truth(t, runOf(t, p.out.String()), tiny, nil)
	if st := s.Stats(); st.Calls != tiny.Calls() {
		t.Errorf("%d calls, want %d", st.Calls, tiny.Calls())
	}
}

// secretMissing takes the secret's parameter away, and puts it back.
func (s *madeSite) secretMissing(t *testing.T) {
	t.Helper()
	name := "/sluice/sim/secrets/token"
	describe := func(place string) {
		stack := s.stack
		stack.Secrets = map[string]string{"token": "ssm:" + place}
		doc, err := json.Marshal(stack)
		if err == nil {
			err = s.servers.PutParameter(t.Context(), "/sluice/sim/stack", string(doc), false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	describe(name + "-2")
	s.fails(t, s.runArgs(), `secret "token" of vendor sim is missing: there is no parameter `+name+"-2",
		"aws ssm put-parameter --region eu-central-1 --type SecureString --name "+name+"-2 --value")
	describe(name)
}

// noRights takes one right after the other away: what is not allowed on what is
// said, in the words of policies.
func (s *madeSite) noRights(t *testing.T) {
	t.Helper()
	defer s.servers.Inject(nil)
	// In this order: once a run is open, a governor that can be read and not written
	// is waited for, as in an outage.
	for _, right := range [][2]string{
		{"ssm.GetParameter", "ssm:GetParameter on parameter /sluice/sim/stack"}, {"dynamodb.GetItem", "dynamodb:GetItem on table " + s.stack.Table},
		{"sqs.GetQueueAttributes", "sqs:GetQueueAttributes on queue " + s.stack.Table}, {"s3.ListObjectsV2", "s3:ListBucket on bucket " + s.stack.Bucket},
		{"dynamodb.PutItem", "dynamodb:PutItem on table " + s.stack.Table}, {"sqs.SendMessageBatch", "sqs:SendMessage on queue " + s.stack.Table + "-groups"},
	} {
		action, on := right[0], right[1]
		s.servers.Inject(func(_ int, r awstest.Request) awstest.Fault {
			if r.Service+"."+r.Action == action {
				return awstest.Fault{Code: "AccessDeniedException", Status: http.StatusForbidden}
			}
			return awstest.Fault{}
		})
		s.fails(t, s.runArgs(), "no rights: not allowed to "+on)
	}
}

// signedTooLate answers as AWS does when a machine's clock is ten minutes slow.
func (s *madeSite) signedTooLate(t *testing.T) {
	t.Helper()
	front := before(t, s.servers.URL, func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("Date", time.Now().Add(10*time.Minute).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"__type":"InvalidSignatureException","message":"Signature expired: 20260101T000000Z is now earlier than 20260101T000500Z (20260101T001000Z - 5 min.)"}`)
		return true
	})
	s.with(endpoints(front)...).fails(t, s.runArgs(), "this machine's clock is off: ", "s behind AWS", "NTP")
}

// TestClockOff: DynamoDB's clock says that this machine's is ten minutes off.
// Nothing is booked, and that is said; with the clock set the run goes on.
func TestClockOff(t *testing.T) {
	t.Parallel()
	s := makeSite(t, vendorsim.Config{Tree: tiny})
	to, err := url.Parse(s.servers.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(r *http.Response) error {
		r.Header.Set("Date", time.Now().Add(10*time.Minute).UTC().Format(http.TimeFormat))
		return nil
	}
	front := httptest.NewServer(proxy)
	defer front.Close()
	p := s.with("AWS_ENDPOINT_URL_DYNAMODB="+front.URL).start(t, append(s.called("run", s.spec), window...)...)
	if p.waits(7 * time.Second) {
		t.Fatalf("the run has ended:\n%s", lastLines(p.errs.String()))
	}
	p.Process.Signal(syscall.SIGTERM)
	if code := p.finish(t, 12*time.Second); code != 3 {
		t.Errorf("stopped, the run ended with %d", code)
	}
	says(t, p.errs.String(), "this machine's clock is ", " s behind the store's; no calls until it is right", "Resume with: sluice run", "--on aws")
	booked := 0
	for _, r := range s.servers.Record() {
		if r.Action == "PutItem" && strings.Contains(string(r.Body), `"governor"`) && strings.Contains(string(r.Body), "booked") {
			booked++
		}
	}
	if n := len(s.Arrivals()); n+booked != 0 {
		t.Errorf("%d calls and %d bookings by a clock that is off", n, booked)
	}
	p = s.run(t)
	if code := p.finish(t, 30*time.Second); code != 0 {
		t.Errorf("with the clock set the run ended with %d:\n%s", code, lastLines(p.errs.String()))
	}
}

// endpoints is an environment that looks for AWS elsewhere.
func endpoints(url string) (env []string) {
	for _, service := range []string{"SQS", "DYNAMODB", "S3", "SSM", "SECRETS_MANAGER"} {
		env = append(env, "AWS_ENDPOINT_URL_"+service+"="+url)
	}
	return env
}
