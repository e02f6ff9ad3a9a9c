package lambdatest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

// A Function is one deployed function. Its fields are set before the first
// Invoke.
type Function struct {
	Name        string
	Dir         string   // the unpacked zip: bootstrap and what lies beside it
	Env         []string // NAME=VALUE: all that it gets, besides what Lambda itself sets
	Timeout     time.Duration
	Memory      int       // MB
	Concurrency int       // reserved: as many invocations at once; 0: one
	Slices      bool      // give it Memory/1769 of a core, as Lambda does
	Log         io.Writer // its standard output and error; nil: nowhere

	mu      sync.Mutex
	warm    []*sandbox
	all     map[*sandbox]bool
	running int
	stats   Stats
}

// Stats counts what happened to a function.
type Stats struct {
	Invocations, Throttled, Errors, Timeouts, Killed, Starts int
	Billed                                                   time.Duration   // rounded up to a millisecond each, starts included
	FirstPoll                                                []time.Duration // of each start: exec to the first poll
	PeakKB                                                   int             // resident memory, over all programs that lived on
}

// Errors of Invoke.
var (
	// ErrThrottled: as many invocations as are reserved are at work.
	ErrThrottled = errors.New("throttled: the reserved concurrency is in use")
	// ErrTimeout: the program was killed at its deadline.
	ErrTimeout = errors.New("task timed out")
	// ErrExited: the program ended while it had an invocation.
	ErrExited = errors.New("the runtime exited")
)

// A FunctionError is what the program itself reported.
type FunctionError struct{ Type, Message string }

func (e *FunctionError) Error() string { return e.Type + ": " + e.Message }

// Invoke runs the function once and returns its answer, as an asynchronous
// invocation without retries would. The end of ctx kills the program.
func (f *Function) Invoke(ctx context.Context, payload any) (json.RawMessage, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return nil, err
	}
	s, err := f.take()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	answer, err := s.invoke(ctx, body, f.Timeout)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	f.stats.Billed += (time.Since(began) + time.Millisecond - 1).Truncate(time.Millisecond)
	var own *FunctionError
	switch {
	case err == nil:
	case errors.As(err, &own):
		f.stats.Errors++
	case errors.Is(err, ErrTimeout):
		f.stats.Timeouts++
	default:
		f.stats.Killed++
	}
	if s.alive() {
		f.stats.PeakKB = max(f.stats.PeakKB, s.peakKB())
		s.freeze()
		f.warm = append(f.warm, s)
	} else {
		delete(f.all, s)
	}
	return answer, err
}

// take finds an idle sandbox, or makes one.
func (f *Function) take() (*sandbox, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.Invocations++
	if f.running >= max(f.Concurrency, 1) {
		f.stats.Throttled++
		return nil, ErrThrottled
	}
	f.running++
	if n := len(f.warm); n > 0 {
		s := f.warm[n-1]
		f.warm = f.warm[:n-1]
		s.thaw()
		return s, nil
	}
	s, err := start(f)
	if err != nil {
		f.running--
		return nil, err
	}
	if f.all == nil {
		f.all = map[*sandbox]bool{}
	}
	f.all[s] = true
	f.stats.Starts++
	return s, nil
}

// Busy tells how many invocations are at work.
func (f *Function) Busy() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running
}

// Kill kills every program of the function, as a lost host would.
func (f *Function) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.all {
		s.kill()
	}
	f.warm = nil
}

// Signal sends SIGTERM to every program that is at work.
func (f *Function) Signal(sig os.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.all {
		_ = s.cmd.Process.Signal(sig) // it may have ended
	}
}

// Stats returns the counts so far.
func (f *Function) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := f.stats
	st.FirstPoll = slices.Clone(st.FirstPoll)
	return st
}

func (f *Function) polled(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.FirstPoll = append(f.stats.FirstPoll, d)
}

// Close kills every program and waits for it.
func (f *Function) Close() {
	f.Kill()
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.all {
		s.wait()
	}
}

// lines passes whole lines on with a prefix, so that programs do not write into
// each other's.
type lines struct {
	mu     *sync.Mutex
	w      io.Writer
	prefix string
	rest   []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		l.mu.Lock()
		fmt.Fprintf(l.w, "%s%s\n", l.prefix, l.rest[:i])
		l.mu.Unlock()
		l.rest = l.rest[i+1:]
	}
}

var output sync.Mutex
