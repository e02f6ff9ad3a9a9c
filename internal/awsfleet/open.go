package awsfleet

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/sluicehq/sluice/internal/run"
)

// Whether the vendor has an open run is asked every minute of every day, so it
// has a row of its own: the names of all runs that may be open, each with a
// revision. The row is a superset of the open runs at every instant:
//
//	named at rev => the run becomes open at rev        (create, Open)
//	the run is not open at rev or later => unnamed, if still named at rev or before
//
// A name is only ever raised to a later revision, never lowered. Whoever dies
// between two steps leaves a name too many; openRows reads the runs behind the
// names and takes such names away.

var openRow = key{"vendor", "open"}

const openMark = "r:"

// name adds a run that is about to be open at rev.
func (v *Vendor) name(ctx context.Context, id string, rev int) error {
	_, _, err := v.table.update(ctx, openRow, expr{
		set:  "SET #run = :rev",
		only: "attribute_not_exists(#run) OR #run < :rev",
		vals: row{":rev": num(rev)}, as: map[string]string{"#run": openMark + id},
	}, types.ReturnValueNone)
	return err // not held: it is named at rev or later
}

// unname takes a run away that is not open at rev or later.
func (v *Vendor) unname(ctx context.Context, id string, rev int) error {
	_, _, err := v.table.update(ctx, openRow, expr{
		set:  "REMOVE #run",
		only: "#run <= :rev",
		vals: row{":rev": num(rev)}, as: map[string]string{"#run": openMark + id},
	}, types.ReturnValueNone)
	return err // not held: somebody is about to open it, or has taken it away
}

// mayBeOpen are the names in the row.
func mayBeOpen(r row) map[string]int {
	names := map[string]int{}
	for attr := range r {
		if id, ok := strings.CutPrefix(attr, openMark); ok {
			names[id] = r.int(attr)
		}
	}
	return names
}

// openRows reads the open runs, and takes names away that need not be there.
func (v *Vendor) openRows(ctx context.Context) (open []row, err error) {
	r, err := v.table.get(ctx, openRow)
	if err != nil {
		return nil, err
	}
	names := mayBeOpen(r)
	if len(names) == 0 {
		return nil, nil
	}
	var keys []key
	for id := range names {
		keys = append(keys, runKey(id))
	}
	rows, err := v.table.getAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	for id, rev := range names {
		r := rows[runKey(id)]
		if run.State(r.str("state")) == run.Open {
			open = append(open, r)
		} else if err := v.mend(ctx, id, rev, r); err != nil {
			v.cloud.log.Debug("a run that is not open is still named among those that may be", "run", id, "err", err)
		}
	}
	return open, nil
}

// OpenRuns are the vendor's open runs, newest first: one read if there is none.
func (v *Vendor) OpenRuns(ctx context.Context) ([]run.Run, error) {
	rows, err := v.openRows(ctx)
	if err != nil {
		return nil, wrap(err, "looking for open runs of %s", v.stack.Vendor)
	}
	var out []run.Run
	for _, r := range rows {
		one, err := unpackRun(r)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b run.Run) int { return cmp.Or(b.Opened.Compare(a.Opened), cmp.Compare(b.ID, a.ID)) })
	return out, nil
}

// mend takes away a name that stood at rev before the run was read and found not
// open. A name without a run stays: somebody is creating the run, or will when
// its window is seeded again.
func (v *Vendor) mend(ctx context.Context, id string, rev int, r row) error {
	if r == nil {
		return nil
	}
	if at := r.int("rev"); at < rev && run.State(r.str("state")) != run.Superseded {
		// Somebody is about to open the run at rev, or has died doing it. Moving the
		// closed run on to rev makes sure that they do not: they will try again at a
		// later one, and name it so first.
		_, held, err := v.table.update(ctx, runKey(id), expr{
			set:  "SET #rev = :to",
			only: "#rev = :at AND #state = :closed",
			vals: row{":at": num(at), ":to": num(rev), ":closed": str(string(run.Closed))},
		}, types.ReturnValueNone)
		if err != nil || !held {
			return err
		}
	}
	return v.unname(ctx, id, rev)
}
