package cli

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// quietFor is how long a warning is not said again word for word: a store that
// fails is tried every other second.
const quietFor = 30 * time.Second

// calm is a log handler that does not repeat itself.
type calm struct {
	slog.Handler
	said *said
}

type said struct {
	mu sync.Mutex
	at map[string]time.Time
}

func newCalm(h slog.Handler) slog.Handler { return calm{h, &said{at: map[string]time.Time{}}} }

// Handle implements slog.Handler.
func (c calm) Handle(ctx context.Context, r slog.Record) error {
	text := r.Level.String() + r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += "\x00" + a.String()
		return true
	})
	if r.Level >= slog.LevelWarn && c.said.lately(text, r.Time) {
		return nil
	}
	return c.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (c calm) WithAttrs(attrs []slog.Attr) slog.Handler {
	return calm{c.Handler.WithAttrs(attrs), c.said}
}

// WithGroup implements slog.Handler.
func (c calm) WithGroup(name string) slog.Handler { return calm{c.Handler.WithGroup(name), c.said} }

func (s *said) lately(text string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.at[text]; ok && now.Sub(at) < quietFor {
		return true
	}
	if len(s.at) > 1000 { // bounded; what is forgotten is said once more
		clear(s.at)
	}
	s.at[text] = now
	return false
}
