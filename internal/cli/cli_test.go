package cli_test

import (
	"bytes"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/cli"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

const (
	token   = "tok-4711-secret"
	theDay  = "2026-01-02"
	nextDay = "2026-01-03"
)

// TestMain lets many tests wait at once: they wait more than they work.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// world is a simulated vendor and a home that knows its token.
type world struct {
	t    *testing.T
	sim  *vendorsim.Server
	tree vendorsim.Tree
	home string
	via  http.RoundTripper
}

// small is a tree of 1 + 4 + 20 + 60 calls.
var small = vendorsim.Tree{Groups: 4, Devices: 20, Datagroups: 60, Points: 3}

func newWorld(t *testing.T, tree vendorsim.Tree) *world {
	t.Helper()
	sim, err := vendorsim.Serve("127.0.0.1:0", vendorsim.Config{
		Tree: tree, Token: token, Latency: time.Millisecond,
		// A machine on which all tests run at once delays calls on their way to the
		// vendor; what it takes to keep a limit is shown elsewhere.
		Limits: []vendorsim.Limit{{Kind: vendorsim.Bucket, N: 1000, Per: time.Second, Burst: 1000}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	w := &world{t: t, sim: sim, tree: tree, home: t.TempDir()}
	w.secret(token)
	return w
}

// secret writes the home's secrets file.
func (w *world) secret(value string) {
	w.t.Helper()
	dir := filepath.Join(w.home, "secrets")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sim.yaml"), []byte("token: "+value+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// result is what a command left behind.
type result struct {
	code     int
	out, err string
}

// buffer is a bytes.Buffer for several writers.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// sluice runs a command in this world's home.
func (w *world) sluice(args ...string) result {
	return w.stopped(nil, args...)
}

func (w *world) stopped(stop <-chan os.Signal, args ...string) result {
	w.t.Helper()
	return execute(w.t, cli.Process{Args: append(args, "--home", w.home), Stop: stop, Transport: w.via})
}

// stoppedAt runs a command and asks it to stop once it has said something.
func (w *world) stoppedAt(said string, args ...string) result {
	w.t.Helper()
	stop := make(chan os.Signal, 1)
	var out, err buffer
	var group sync.WaitGroup
	group.Go(func() {
		for range 2000 {
			if strings.Contains(err.String(), said) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		stop <- os.Interrupt
	})
	code := cli.Main(w.t.Context(), cli.Process{Args: append(args, "--home", w.home), Stop: stop, Stdout: &out, Stderr: &err})
	group.Wait()
	return result{code, out.String(), err.String()}
}

func execute(t *testing.T, p cli.Process) result {
	t.Helper()
	var out, err buffer
	p.Stdout, p.Stderr = &out, &err
	code := cli.Main(t.Context(), p)
	r := result{code, out.String(), err.String()}
	for _, s := range []string{r.out, r.err} {
		if strings.Contains(s, token) {
			t.Errorf("sluice %v shows a secret:\n%s", p.Args, s)
		}
	}
	return r
}

// run runs the sim's spec over a fixed day.
func (w *world) run(more ...string) result {
	w.t.Helper()
	return w.sluice(w.runArgs(more...)...)
}

func (w *world) runArgs(more ...string) []string {
	return append([]string{"run", "sim", "--set", "base=" + w.sim.URL, "--from", theDay, "--to", nextDay}, more...)
}

// want checks an exit code and texts in what was said.
func (r result) want(t *testing.T, code int, texts ...string) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\n%s\n%s", r.code, code, r.out, r.err)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			t.Errorf("%q is not in:\n%s\n%s", text, r.out, r.err)
		}
	}
	return r
}

var runID = regexp.MustCompile(`sim-\d{8}-[0-9a-v]{6}`)

func (r result) runID() string { return runID.FindString(r.out + r.err) }

// line makes sure that there is one line of error and nothing else.
func (r result) line(t *testing.T) {
	t.Helper()
	if strings.Count(r.err, "\n") != 1 || strings.Contains(r.err, "Usage:") || strings.Contains(r.err, "goroutine") {
		t.Errorf("not one line:\n%s", r.err)
	}
}

// failing answers 400 for paths that end in what it is told to, while on.
type failing struct {
	mu   sync.Mutex
	path string
}

func (f *failing) fail(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.path = path
}

func (f *failing) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	path := f.path
	f.mu.Unlock()
	if path == "" || !strings.HasSuffix(r.URL.Path, path) {
		return http.DefaultTransport.RoundTrip(r)
	}
	return &http.Response{
		StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(`{"error":"this device is not for you"}`)),
	}, nil
}
