package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

// A madeSite is a simulated vendor and its stack, made without a template: for
// the operator's command and the long-lived worker, which need no Lambda.
type madeSite struct {
	*vendorsim.Server
	servers *awstest.Servers
	stack   awsfleet.Stack
	spec    string
	env     []string
}

var tiers = []string{"groups", "devices", "datagroups", "data"}

// makeSite makes a site whose vendor has the given tree. change replaces text of
// the shipped spec, in pairs.
func makeSite(t *testing.T, cfg vendorsim.Config, change ...string) *madeSite {
	t.Helper()
	cfg.Token = token
	sim, err := vendorsim.Serve("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	s := &madeSite{Server: sim, servers: awstest.Start(t)}
	if s.stack, err = s.servers.MakeStack(t.Context(), "sim", map[string]string{"token": token}, tiers...); err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(filepath.Join(repo, "vendors/sim.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(src)
	for i := 0; i < len(change); i += 2 {
		if !strings.Contains(text, change[i]) {
			t.Fatalf("the shipped spec does not say %q", change[i])
		}
		text = strings.Replace(text, change[i], change[i+1], 1)
	}
	dir := t.TempDir()
	s.spec = filepath.Join(dir, "sim.yaml")
	if err := os.WriteFile(s.spec, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s.env = append(s.servers.Env("operator"), "SLUICE_HOME="+dir)
	return s
}

// limited is a change of the shipped spec: another limit.
func limited(limit string) []string {
	return []string{"{name: calls, bucket: 1000/s, burst: 50, in_flight: 64}", limit}
}

// window is the window that all of these tests read.
var window = []string{"--from", "2026-01-01", "--to", "2026-01-02"}

// called are the arguments of a command that calls the vendor.
func (s *madeSite) called(command ...string) []string {
	return append(command, "--set", "base="+s.URL)
}

// run starts `sluice run` of the window.
func (s *madeSite) run(t *testing.T) *process {
	t.Helper()
	return s.start(t, append(s.called("run", s.spec, "--no-progress"), window...)...)
}

// worker starts a long-lived worker of a tier.
func (s *madeSite) worker(t *testing.T, tier string, more ...string) *process {
	t.Helper()
	return s.start(t, append(s.called("worker", s.spec, tier), more...)...)
}

// sluice runs the operator's command to its end, and returns what it said on
// both of its outputs.
func (s *madeSite) sluice(t *testing.T, want int, args ...string) (out, errs string) {
	t.Helper()
	p := s.start(t, args...)
	if got := p.finish(t, time.Minute); got != want {
		t.Fatalf("sluice %v ended with %d, want %d:\n%s\n%s", args, got, want, lastLines(p.out.String()), lastLines(p.errs.String()))
	}
	return p.out.String(), p.errs.String()
}

// depth is what a tier's queue holds, also what is hidden.
func (s *madeSite) depth(t *testing.T, tier string) awsfleet.Depth {
	t.Helper()
	work, _, err := s.servers.Open(t, "AKIAMAKER").Use(s.stack).Depth(t.Context(), tier)
	if err != nil {
		t.Fatal(err)
	}
	return work
}

// calls waits until the vendor has had so many calls.
func (s *madeSite) calls(t *testing.T, n int, longest time.Duration, of *process) {
	t.Helper()
	for began := time.Now(); len(s.Arrivals()) < n; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > longest {
			t.Fatalf("the vendor has had %d calls after %v, not %d:\n%s", len(s.Arrivals()), longest, n, lastLines(of.errs.String()))
		}
	}
}

// truth checks that what is read back of a run is what the vendor has, each leaf
// once, but for the leaves that lack says are not to be had.
func (s *madeSite) truth(t *testing.T, id string, tree vendorsim.Tree, lacks func(vendorsim.Leaf) bool) {
	t.Helper()
	want := map[string]int{}
	for leaf := range tree.Leaves(1767225600, 1767312000) {
		for _, row := range leaf.Rows {
			if lacks == nil || !lacks(leaf) {
				want[fmt.Sprint(leaf.Device, " ", leaf.Datagroup, " ", row.Time, " ", row.Bytes)]++
			}
		}
	}
	rows, _ := s.sluice(t, 0, "read", id, "--spec", s.spec)
	for line := range strings.Lines(rows) {
		var row struct {
			Device, Datagroup json.RawMessage
			Time              int64
			Bytes             json.Number
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		want[fmt.Sprint(bare(row.Device), " ", bare(row.Datagroup), " ", row.Time, " ", row.Bytes)]--
	}
	for row, n := range want {
		if n != 0 {
			t.Errorf("run %s: row %s: %+d", id, row, -n)
			return
		}
	}
}

// bare is a JSON string, or number, as text.
func bare(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

// runOf finds the run's ID in what a command said.
func runOf(t *testing.T, said string) string {
	t.Helper()
	for _, word := range strings.Fields(said) {
		if word = strings.Trim(word, ".,:;()"); strings.HasPrefix(word, "sim-2026") && strings.Count(word, "-") == 2 {
			return word
		}
	}
	t.Fatalf("no run is named in:\n%s", lastLines(said))
	return ""
}

// A process is the operator's command at work.
type process struct {
	*exec.Cmd
	out, errs shared
	done      chan struct{}
	ended     time.Time
}

// shared is text that is written while it is read.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

var building sync.Mutex

// start starts the operator's command on the stack; it is killed when the test
// ends.
func (s *madeSite) start(t *testing.T, args ...string) *process {
	t.Helper()
	building.Lock()
	path := command(t)
	building.Unlock()
	p := &process{Cmd: exec.Command(path, append(args, "--on", "aws")...), done: make(chan struct{})}
	p.Env = append(os.Environ(), s.env...)
	p.Stdout, p.Stderr = &p.out, &p.errs
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Wait() // its exit code says it
		p.ended = time.Now()
		close(p.done)
	}()
	t.Cleanup(func() { p.Process.Kill(); <-p.done })
	return p
}

// finish waits for the command and returns its exit code.
func (p *process) finish(t *testing.T, longest time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.ProcessState.ExitCode()
	case <-time.After(longest):
		p.Process.Signal(syscall.SIGKILL)
		t.Fatalf("sluice %v still runs after %v:\n%s\n%s", p.Args[1:], longest, lastLines(p.out.String()), lastLines(p.errs.String()))
		return -1
	}
}

// waits tells whether the command ends within a time.
func (p *process) waits(longest time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	select {
	case <-p.done:
		return true
	case <-ctx.Done():
		return false
	}
}

func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// TestMain lets more tests run at once than there are cores, for they mostly
// wait, and removes the command that was built.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f != nil && f.Value.String() == f.DefValue {
		_ = flag.Set(f.Name, "8") // it is a number
	}
	code := m.Run()
	if built != "" {
		if err := os.RemoveAll(filepath.Dir(built)); err != nil && !errors.Is(err, os.ErrNotExist) {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}
