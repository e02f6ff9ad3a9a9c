package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/landing"
)

// A Dead is a landed object that cannot be converted.
type Dead struct {
	Run    string    `json:"run"`
	Object string    `json:"object"` // its name in the landing
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	Spec   string    `json:"spec"` // by which it was tried
	// Discarded says that an operator has decided to publish without it.
	Discarded *Decision `json:"discarded,omitempty"`
}

// A Decision says who has decided something, when and why.
type Decision struct {
	By  string    `json:"by"`
	Why string    `json:"why"`
	At  time.Time `json:"at"`
}

// bury notes that an object cannot be converted. A decision about it stays.
func (l *Lake) bury(ctx context.Context, run, id, object string, why error) error {
	return l.note(ctx, l.deadPrefix(run)+id+".json", func(d Dead, _ bool) (Dead, error) {
		return Dead{Run: run, Object: object, Reason: clip(why.Error(), 2000), At: time.Now().UTC(), Spec: l.specID(), Discarded: d.Discarded}, nil
	})
}

// note changes what is noted about an object, whoever else does so meanwhile.
func (l *Lake) note(ctx context.Context, name string, change func(d Dead, there bool) (Dead, error)) error {
	for {
		data, tag, err := l.Store.Tag(ctx, name)
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		var d Dead
		if tag != "" {
			if err := json.Unmarshal(data, &d); err != nil {
				return fmt.Errorf("reading %s: %w", name, err)
			}
		}
		if d, err = change(d, tag != ""); err != nil {
			return err
		}
		if data, err = json.Marshal(d); err != nil {
			return fmt.Errorf("packing %s: %w", name, err)
		}
		if _, err = l.Store.Swap(ctx, name, tag, data); !errors.Is(err, landing.ErrSwapped) {
			return err
		}
	}
}

// clip bounds a text of somebody else's.
func clip(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// Dead lists a run's landed objects that cannot be converted. Those that have
// been since, with another spec or from another version of the object, are
// forgotten.
func (l *Lake) Dead(ctx context.Context, run string) (out []Dead, err error) {
	names, err := l.names(ctx, l.deadPrefix(run))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		var d Dead
		if err := l.read(ctx, name, &d); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// Retry tries a run's dead objects again, and tells how many could be converted.
// Those that an operator has discarded stay so.
func (l *Lake) Retry(ctx context.Context, run string) (mended int, err error) {
	dead, err := l.Dead(ctx, run)
	if err != nil {
		return 0, err
	}
	for _, d := range dead {
		if d.Discarded != nil {
			continue
		}
		switch err := l.Convert(ctx, d.Object); {
		case errors.Is(err, ErrCorrupt):
		case err != nil:
			return mended, err
		default:
			mended++
			if err := l.unbury(ctx, d); err != nil {
				return mended, err
			}
		}
	}
	return mended, nil
}

func (l *Lake) unbury(ctx context.Context, d Dead) error {
	_, _, id, err := landed(d.Object)
	if err != nil {
		return err
	}
	if err := l.Store.Delete(ctx, l.deadPrefix(d.Run)+id+".json"); err != nil {
		return fmt.Errorf("removing the note about %s: %w", d.Object, err)
	}
	return nil
}

// Discard decides that a run is published without a dead object. object is its
// name in the landing, or its ID.
func (l *Lake) Discard(ctx context.Context, run, object string, by Decision) error {
	id := strings.TrimSuffix(path.Base(object), ".ndjson.zst")
	return l.note(ctx, l.deadPrefix(run)+id+".json", func(d Dead, there bool) (Dead, error) {
		if !there {
			return d, fmt.Errorf("run %s has no dead object %s: `sluice lake dead %s` lists them", run, id, run)
		}
		d.Discarded = &by
		return d, nil
	})
}

// living sorts the dead into those that an operator has left out and those that
// stand in the way. One that has a marker was mended since.
func (l *Lake) living(ctx context.Context, run string, missing []string) (out, left []Dead, err error) {
	dead, err := l.Dead(ctx, run)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range dead {
		switch {
		case !slices.Contains(missing, d.Object):
			if err := l.unbury(ctx, d); err != nil {
				return nil, nil, err
			}
		case d.Discarded != nil:
			left = append(left, d)
		default:
			out = append(out, d)
		}
	}
	return out, left, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
