// Package test runs the built command against real servers, as its users would.
package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// sluice is the command under test, built once.
var sluice string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	sluice = filepath.Join(dir, "sluice")
	if out, err := exec.Command("go", "build", "-o", sluice, "../cmd/sluice").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the command: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

var installing sync.Mutex

// need finds a server's program, or installs its Debian package; a test that
// needs it fails if neither can be done.
func need(t *testing.T, program, pkg string) string {
	t.Helper()
	installing.Lock()
	defer installing.Unlock()
	for _, dir := range []string{"", "/usr/sbin/", "/usr/bin/"} {
		if path, err := exec.LookPath(dir + program); err == nil {
			return path
		}
	}
	// Debian would start the server at once; the tests start their own.
	if _, err := os.Stat("/usr/sbin/policy-rc.d"); errors.Is(err, os.ErrNotExist) && os.Geteuid() == 0 {
		os.WriteFile("/usr/sbin/policy-rc.d", []byte("#!/bin/sh\nexit 101\n"), 0o755)
		defer os.Remove("/usr/sbin/policy-rc.d")
	}
	for _, args := range [][]string{{"install", "-y", "--no-install-recommends", pkg}, {"update"}, {"install", "-y", "--no-install-recommends", pkg}} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		out, err := cmd.CombinedOutput()
		if path, lookErr := exec.LookPath("/usr/sbin/" + program); lookErr == nil {
			return path
		}
		if path, lookErr := exec.LookPath(program); lookErr == nil {
			return path
		}
		if err != nil && args[0] == "install" {
			t.Logf("apt-get %v: %v\n%s", args, err, tail(out))
		}
	}
	t.Fatalf("this test needs %s: install it (on Debian: apt-get install %s)", program, pkg)
	return ""
}

func tail(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// freePort is a loopback port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// A process is a running command.
type process struct {
	*exec.Cmd
	out  syncBuffer
	done chan struct{}
	code int
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs a command; it is killed when the test ends.
func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.Env = append(os.Environ(), env...)
	p.Stdout, p.Stderr = &p.out, &p.out
	p.WaitDelay = 2 * time.Second // what it started may hold its output open
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Wait() // its exit code says it
		p.code = p.ProcessState.ExitCode()
		close(p.done)
	}()
	t.Cleanup(func() { p.Process.Kill(); <-p.done })
	return p
}

// finish waits for a command and returns its exit code.
func (p *process) finish(t *testing.T, longest time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.code
	case <-time.After(longest):
		t.Fatalf("%v still runs after %v:\n%s", p.Args, longest, tail([]byte(p.out.String())))
		return -1
	}
}

// run runs the command under test to its end.
func run(t *testing.T, env []string, want int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, sluice, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("sluice %v ended with %d, want %d:\n%s\n%s", args, got, want, tail(out.Bytes()), tail(errs.Bytes()))
	}
	t.Logf("sluice %s\n%s", strings.Join(args, " "), tail(errs.Bytes()))
	return out.String()
}

// awaitHTTP waits until a server answers.
func awaitHTTP(t *testing.T, p *process, url string, ok func(status int) bool) {
	t.Helper()
	for range 600 {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			if ok(resp.StatusCode) {
				return
			}
		}
		select {
		case <-p.done:
			t.Fatalf("%v has ended:\n%s", p.Args, tail([]byte(p.out.String())))
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("%v does not answer at %s:\n%s", p.Args, url, tail([]byte(p.out.String())))
}
