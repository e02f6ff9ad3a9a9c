// Package servers starts real servers for tests, filled with data whose truth is
// known, and runs commands as their users would.
package servers

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

var installing sync.Mutex

// Need finds a server's program, or installs its Debian package; a test that
// needs it fails if neither can be done.
func Need(t *testing.T, program, pkg string) string {
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
			t.Logf("apt-get %v: %v\n%s", args, err, Tail(out))
		}
	}
	t.Fatalf("this test needs %s: install it (on Debian: apt-get install %s)", program, pkg)
	return ""
}

// Tail is the end of what a program has said.
func Tail(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// FreePort is a loopback port that was free a moment ago.
func FreePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// A Process is a running command.
type Process struct {
	*exec.Cmd
	Out  Output
	Done chan struct{} // closed when it has ended
	Code int           // its exit code, then
}

// Output is what a process says, to be read while it runs.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (s *Output) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// String is all of it so far.
func (s *Output) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Start runs a command; it is killed when the test ends.
func Start(t *testing.T, env []string, name string, args ...string) *Process {
	t.Helper()
	p := &Process{Cmd: exec.Command(name, args...), Done: make(chan struct{})}
	p.Env = append(os.Environ(), env...)
	p.Stdout, p.Stderr = &p.Out, &p.Out
	p.WaitDelay = 2 * time.Second // what it started may hold its output open
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Wait() // its exit code says it
		p.Code = p.ProcessState.ExitCode()
		close(p.Done)
	}()
	t.Cleanup(func() { p.Process.Kill(); <-p.Done })
	return p
}

// Finish waits for a command and returns its exit code.
func (p *Process) Finish(t *testing.T, longest time.Duration) int {
	t.Helper()
	select {
	case <-p.Done:
		return p.Code
	case <-time.After(longest):
		t.Fatalf("%v still runs after %v:\n%s", p.Args, longest, Tail([]byte(p.Out.String())))
		return -1
	}
}

// Write writes a file.
func Write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// AwaitHTTP waits until a server answers.
func AwaitHTTP(t *testing.T, p *Process, url string, ok func(status int) bool) {
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
		case <-p.Done:
			t.Fatalf("%v has ended:\n%s", p.Args, Tail([]byte(p.Out.String())))
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("%v does not answer at %s:\n%s", p.Args, url, Tail([]byte(p.Out.String())))
}
