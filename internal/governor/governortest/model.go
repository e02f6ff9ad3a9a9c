// Package governortest holds a model of the governor's store, the conformance
// suite that every store passes, and a vendor that counts.
package governortest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
)

// A Model is a governor.Store in memory. It keeps items as JSON, so that what a
// real store would lose is lost here too. The zero Model is not usable.
type Model struct {
	// Before is called before an operation ("load", "update", "clock") takes
	// effect, After when it has. An error of either is returned to the caller:
	// a fault that did nothing, and one that did everything. They may sleep.
	// Nil: no faults. Set them before use.
	Before, After func(op string) error

	// Now is the store's clock; time.Now by default. Resolution is how coarse
	// it is.
	Now        func() time.Time
	Resolution time.Duration

	data *data
}

type data struct {
	mu     sync.Mutex
	items  map[string][]byte
	writes int
	reads  int
}

// NewModel returns an empty model.
func NewModel() *Model {
	return &Model{Now: time.Now, data: &data{items: map[string][]byte{}}}
}

// Handle returns another handle on the same data, with no faults: another
// process's.
func (m *Model) Handle() *Model { return &Model{Now: m.Now, Resolution: m.Resolution, data: m.data} }

// Counts returns how many writes and reads took effect, over all handles.
func (m *Model) Counts() (writes, reads int) {
	m.data.mu.Lock()
	defer m.data.mu.Unlock()
	return m.data.writes, m.data.reads
}

// Update implements governor.Store.
func (m *Model) Update(ctx context.Context, vendor string, fn func(*governor.Item) error) error {
	if err := m.enter(ctx, m.Before, "update"); err != nil {
		m.rehearse(vendor, fn)
		return err
	}
	if err := m.update(vendor, fn); err != nil {
		return err
	}
	return m.enter(ctx, m.After, "update")
}

// rehearse runs fn on an item that is thrown away: an update that got as far as
// the commit, or that somebody else's write made vain.
func (m *Model) rehearse(vendor string, fn func(*governor.Item) error) {
	m.data.mu.Lock()
	defer m.data.mu.Unlock()
	if it, err := m.data.decode(vendor); err == nil {
		_ = fn(&it)
	}
}

func (m *Model) update(vendor string, fn func(*governor.Item) error) error {
	m.data.mu.Lock()
	defer m.data.mu.Unlock()
	again, err := m.data.decode(vendor)
	if err != nil {
		return err
	}
	_ = fn(&again) // as if somebody had written in between: fn must bear it
	it, err := m.data.decode(vendor)
	if err != nil {
		return err
	}
	if err := fn(&it); err != nil {
		return err
	}
	b, err := json.Marshal(it)
	if err != nil {
		return fmt.Errorf("encoding the item of %s: %w", vendor, err)
	}
	m.data.items[vendor] = b
	m.data.writes++
	return nil
}

func (d *data) decode(vendor string) (it governor.Item, err error) {
	if b, ok := d.items[vendor]; ok {
		if err := it.UnmarshalJSON(b); err != nil {
			return it, fmt.Errorf("decoding the item of %s: %w", vendor, err)
		}
	}
	return it, nil
}

// Load implements governor.Store.
func (m *Model) Load(ctx context.Context, vendor string) (governor.Item, error) {
	if err := m.enter(ctx, m.Before, "load"); err != nil {
		return governor.Item{}, err
	}
	m.data.mu.Lock()
	it, err := m.data.decode(vendor)
	m.data.reads++
	m.data.mu.Unlock()
	if err != nil {
		return governor.Item{}, err
	}
	return it, m.enter(ctx, m.After, "load")
}

// Clock implements governor.Store.
func (m *Model) Clock(ctx context.Context) (time.Time, time.Duration, error) {
	if err := m.enter(ctx, m.Before, "clock"); err != nil {
		return time.Time{}, 0, err
	}
	now := m.Now()
	if m.Resolution > 0 {
		now = now.Truncate(m.Resolution)
	}
	return now, m.Resolution, m.enter(ctx, m.After, "clock")
}

func (m *Model) enter(ctx context.Context, hook func(string) error, op string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if hook == nil {
		return nil
	}
	return hook(op)
}
