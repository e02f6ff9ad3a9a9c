package governor

import (
	"context"
	"time"
)

// Store keeps one item per vendor, shared by the whole fleet. It is safe for
// concurrent use, also by several processes. An error of any method means that
// it is unknown whether the operation took effect, unless it says otherwise.
type Store interface {
	// Update reads the vendor's item (the zero Item if there is none), lets fn
	// change it, and writes it if nobody else wrote it in between; otherwise it
	// does all of it again. fn may therefore run several times and has no effect
	// but on the item; every change it makes also changes Item.Rev, which a store
	// may use to see that somebody else wrote. If fn returns an error nothing is
	// written and Update returns that error, possibly wrapped.
	Update(ctx context.Context, vendor string, fn func(*Item) error) error

	// Load returns the vendor's item with every write that ended before Load
	// began.
	Load(ctx context.Context, vendor string) (Item, error)

	// Clock returns the store's own time and how coarse it is: the true time is
	// in [now, now+resolution). It is how a machine finds that its clock is off.
	Clock(ctx context.Context) (now time.Time, resolution time.Duration, err error)
}

// Historian is a Store that keeps the audit log apart from the item, whose Log
// then holds the latest entries at most.
type Historian interface {
	// History returns the vendor's latest changes, oldest first.
	History(ctx context.Context, vendor string) ([]Entry, error)
}
