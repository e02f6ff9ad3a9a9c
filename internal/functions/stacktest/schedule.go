package stacktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/functions/lambdatest"
)

// Fire fires a function's schedule once, as if at the given instant, and does
// not wait for the answer.
func (a *Account) Fire(ctx context.Context, function string, at time.Time) error {
	s, ok := a.schedules[function]
	if !ok {
		return fmt.Errorf("function %s has no schedule", function)
	}
	input := strings.ReplaceAll(s.input, "<aws.scheduler.scheduled-time>", at.UTC().Format("2006-01-02T15:04:05Z"))
	a.firing.Go(func() { _, _ = a.Invoke(ctx, function, json.RawMessage(input)) })
	return nil
}

// Invoke runs a function and remembers how that ended. A tick that finds the
// reserved concurrency in use is dropped, as the schedules say.
func (a *Account) Invoke(ctx context.Context, function string, payload any) (json.RawMessage, error) {
	f := a.Functions[function]
	if f == nil {
		return nil, fmt.Errorf("there is no function %s", function)
	}
	began := time.Now()
	body, err := f.Invoke(ctx, payload)
	if !errors.Is(err, lambdatest.ErrThrottled) {
		a.mu.Lock()
		a.answers[function] = append(a.answers[function], Answer{began, body, err})
		a.mu.Unlock()
	}
	return body, err
}

// Answers are how a function's invocations ended so far.
func (a *Account) Answers(function string) []Answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Answer(nil), a.answers[function]...)
}

// Tick fires the schedules of every minute, with so much time in place of a
// minute, until ctx ends; what they started goes on until its own ctx does.
func (a *Account) Tick(ctx, started context.Context, minute time.Duration) {
	t := time.NewTicker(minute)
	defer t.Stop()
	for {
		for name, s := range a.schedules {
			if s.minutely {
				_ = a.Fire(started, name, time.Now()) // it has a schedule
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
