package lambdatest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A sandbox is one running program with the Runtime API that it polls.
type sandbox struct {
	f      *Function
	cmd    *exec.Cmd
	server *http.Server
	next   chan *invocation
	exited chan struct{}

	first   sync.Once
	mu      sync.Mutex
	began   time.Time // exec
	current *invocation
}

type invocation struct {
	id       string
	body     []byte
	deadline time.Time
	done     chan result // holds one
}

type result struct {
	body []byte
	err  error
}

func start(f *Function) (*sandbox, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting function %s: %w", f.Name, err)
	}
	s := &sandbox{f: f, next: make(chan *invocation), exited: make(chan struct{})}
	s.server = &http.Server{Handler: s.api()}
	go func() { _ = s.server.Serve(ln) }() // ends with Close
	s.cmd = exec.Command(filepath.Join(f.Dir, "bootstrap"))
	s.cmd.Dir = f.Dir
	s.cmd.Env = append([]string{
		"AWS_LAMBDA_RUNTIME_API=" + ln.Addr().String(), "LAMBDA_TASK_ROOT=" + f.Dir,
		"AWS_LAMBDA_FUNCTION_NAME=" + f.Name, "AWS_LAMBDA_FUNCTION_VERSION=1", "_HANDLER=bootstrap",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + strconv.Itoa(f.Memory), "TZ=:UTC", "HOME=/tmp", "PATH=/usr/bin:/bin",
	}, f.Env...)
	if f.Log != nil {
		out := &lines{mu: &output, w: f.Log, prefix: f.Name + " "}
		s.cmd.Stdout, s.cmd.Stderr = out, out
	}
	s.cmd.WaitDelay = time.Second
	s.mu.Lock()
	s.began = time.Now()
	s.mu.Unlock()
	if err := s.cmd.Start(); err != nil {
		s.server.Close()
		return nil, fmt.Errorf("starting function %s: %w", f.Name, err)
	}
	go func() {
		_ = s.cmd.Wait() // how it ended shows in the invocation
		close(s.exited)
		s.server.Close()
	}()
	if f.Slices {
		go s.slice()
	}
	return s, nil
}

// api is the Runtime API.
func (s *sandbox) api() http.Handler {
	mux := http.NewServeMux()
	const root = "/2018-06-01/runtime/"
	mux.HandleFunc("GET "+root+"invocation/next", s.serveNext)
	mux.HandleFunc("POST "+root+"invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		s.answer(w, r.PathValue("id"), result{body, err})
	})
	mux.HandleFunc("POST "+root+"invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) {
		s.answer(w, r.PathValue("id"), result{err: reported(r)})
	})
	mux.HandleFunc("POST "+root+"init/error", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
	})
	return mux
}

func reported(r *http.Request) error {
	var e struct{ ErrorType, ErrorMessage string }
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		return fmt.Errorf("an error that cannot be read: %w", err)
	}
	return &FunctionError{e.ErrorType, e.ErrorMessage}
}

func (s *sandbox) serveNext(w http.ResponseWriter, r *http.Request) {
	s.first.Do(func() {
		s.mu.Lock()
		began := s.began
		s.mu.Unlock()
		s.f.polled(time.Since(began))
	})
	select {
	case <-r.Context().Done():
	case inv := <-s.next:
		h := w.Header()
		h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:123456789012:function:"+s.f.Name)
		h.Set("Lambda-Runtime-Trace-Id", "Root=1-"+strings.Repeat("0", 8)+"-"+strings.Repeat("0", 24))
		h.Set("Content-Type", "application/json")
		_, _ = w.Write(inv.body)
	}
}

func (s *sandbox) answer(w http.ResponseWriter, id string, res result) {
	s.mu.Lock()
	inv := s.current
	s.mu.Unlock()
	if inv == nil || inv.id != id {
		http.Error(w, `{"errorType":"InvalidRequestID"}`, http.StatusBadRequest)
		return
	}
	select {
	case inv.done <- res:
	default:
	}
	w.WriteHeader(http.StatusAccepted)
}

// invoke hands over one invocation and waits for its end.
func (s *sandbox) invoke(ctx context.Context, body []byte, timeout time.Duration) ([]byte, error) {
	inv := &invocation{id: rand.Text(), body: body, deadline: time.Now().Add(timeout), done: make(chan result, 1)}
	s.mu.Lock()
	s.current = inv
	s.mu.Unlock()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	next := s.next
	for {
		select {
		case next <- inv:
			next = nil
		case res := <-inv.done:
			return res.body, res.err
		case <-s.exited:
			select {
			case res := <-inv.done:
				return res.body, res.err
			default:
			}
			return nil, fmt.Errorf("function %s: %w: %v", s.f.Name, ErrExited, s.cmd.ProcessState)
		case <-deadline.C:
			s.kill()
			s.wait()
			return nil, fmt.Errorf("function %s: %w after %v", s.f.Name, ErrTimeout, timeout)
		case <-ctx.Done():
			s.kill()
			s.wait()
			return nil, ctx.Err()
		}
	}
}

func (s *sandbox) alive() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// peakKB is the program's peak resident memory so far; 0 where it cannot be told.
func (s *sandbox) peakKB() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}

// kill ends the program as SIGKILL does, also a frozen one.
func (s *sandbox) kill() { _ = s.cmd.Process.Kill() } // it may have ended
func (s *sandbox) wait() { <-s.exited }

// freeze stops the program between invocations.
func (s *sandbox) freeze() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }
func (s *sandbox) thaw()   { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// slice gives the program its share of each 20 ms: a whole core has 1,769 MB.
// It is harsher than Lambda, where a program that has slept may use its share at
// once: what holds here holds there.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
func (s *sandbox) slice() {
	const period = 20 * time.Millisecond
	on := max(period*time.Duration(s.f.Memory)/1769, time.Millisecond)
	if on >= period {
		return
	}
	for s.alive() {
		s.thaw()
		time.Sleep(on)
		s.freeze()
		time.Sleep(period - on)
	}
}
