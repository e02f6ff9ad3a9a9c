package localfleet

import (
	"context"
	"database/sql"
	"slices"

	"github.com/sluicehq/sluice/internal/run"
)

// Mark implements run.Store.
func (s runs) Mark(ctx context.Context, id, text string) (first bool, err error) {
	err = inTx(ctx, s.h.db, func(tx *sql.Tx) error {
		return change(tx, id, func(r *run.Run) {
			if first = !slices.Contains(r.Marks, text); first {
				r.Marks = append(r.Marks, text)
			}
		})
	})
	return first, wrap(err, "noting something about run %s", id)
}
