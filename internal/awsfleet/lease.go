package awsfleet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// A Lease says who drains a tier. It saves money, nothing else: two drains of
// one tier are safe.
type Lease struct {
	Owner       string    // empty: nobody
	Soft        time.Time // when it stops starting things
	Expires     time.Time // when it is over unless renewed
	HandingOver bool      // it has stopped: whoever stands by may begin
}

func leaseKey(tier string, slot int) key { return key{"drain", fmt.Sprintf("%s#%d", tier, slot)} }

func (l Lease) row(tier string, slot int) row {
	r := leaseKey(tier, slot).row()
	r["owner"], r["soft"], r["expires"], r["over"] = str(l.Owner), num(l.Soft.UnixNano()), num(l.Expires.UnixNano()), yes(l.HandingOver)
	return r
}

func unpackLease(r row) Lease {
	if r == nil {
		return Lease{}
	}
	return Lease{Owner: r.str("owner"), Soft: time.Unix(0, r.num("soft")).UTC(), Expires: time.Unix(0, r.num("expires")).UTC(), HandingOver: r.yes("over")}
}

// Peek tells, in one read, whether there may be an open run and who drains the
// tier, slot by slot.
func (v *Vendor) Peek(ctx context.Context, tier string, workers int) (open bool, leases []Lease, err error) {
	keys := []key{openRow}
	for slot := range workers {
		keys = append(keys, leaseKey(tier, slot))
	}
	rows, err := v.table.getAll(ctx, keys)
	if err != nil {
		return false, nil, wrap(err, "looking who drains tier %s", tier)
	}
	for _, k := range keys[1:] {
		leases = append(leases, unpackLease(rows[k]))
	}
	return len(mayBeOpen(rows[openRow])) > 0, leases, nil
}

// Acquire takes a slot that nobody has at now, or that is being handed over, or
// that is the lease's owner's already.
func (v *Vendor) Acquire(ctx context.Context, tier string, slot int, l Lease, now time.Time) (ok bool, err error) {
	ok, err = v.table.put(ctx, l.row(tier, slot), expr{
		only: "attribute_not_exists(#pk) OR #expires <= :now OR #over = :yes OR #owner = :owner",
		vals: row{":now": num(now.UnixNano()), ":yes": yes(true), ":owner": str(l.Owner)},
	})
	return ok, wrap(err, "taking slot %d of tier %s", slot, tier)
}

// Renew changes a lease that is still its owner's.
func (v *Vendor) Renew(ctx context.Context, tier string, slot int, l Lease) (ok bool, err error) {
	ok, err = v.table.put(ctx, l.row(tier, slot), expr{only: "#owner = :owner", vals: row{":owner": str(l.Owner)}})
	return ok, wrap(err, "renewing slot %d of tier %s", slot, tier)
}

// Release gives a slot up, if it is the owner's.
func (v *Vendor) Release(ctx context.Context, tier string, slot int, owner string) error {
	_, err := v.table.remove(ctx, leaseKey(tier, slot), expr{only: "#owner = :owner", vals: row{":owner": str(owner)}})
	return wrap(err, "giving up slot %d of tier %s", slot, tier)
}

// A Waiting is a window that is to be read when the vendor's open run has ended.
type Waiting struct {
	fanout.Window
	Again bool      `json:"again,omitempty"` // by a new run, even if it has one
	Noted time.Time `json:"noted,omitzero"`  // when
}

func waitingKey(w fanout.Window) key { return key{"waiting", windowName(w)} }

// Await notes a window that waits.
func (v *Vendor) Await(ctx context.Context, w Waiting) error {
	doc, err := json.Marshal(w)
	if err != nil {
		return err
	}
	r := waitingKey(w.Window).row()
	r["doc"], r["ttl"] = str(string(doc)), v.ttl()
	_, err = v.table.put(ctx, r, expr{})
	return wrap(err, "noting the window that waits")
}

// Awaiting lists the windows that wait, oldest first.
func (v *Vendor) Awaiting(ctx context.Context) ([]Waiting, error) {
	windows, _, err := v.Waits(ctx)
	return windows, err
}

// Waits lists, in one read, the windows that wait, oldest first, and the
// publications that were asked for.
func (v *Vendor) Waits(ctx context.Context) (windows []Waiting, asked []Publication, err error) {
	err = v.table.query(ctx, scan{pk: "waiting"}, func(r row) error {
		if strings.HasPrefix(r.str("sk"), publishMark) {
			asked = append(asked, unpackPublication(r))
			return nil
		}
		var w Waiting
		if err := json.Unmarshal([]byte(r.str("doc")), &w); err != nil {
			return fmt.Errorf("the row of waiting window %s cannot be read: %w", r.str("sk"), err)
		}
		windows = append(windows, w)
		return nil
	})
	slices.SortFunc(windows, func(a, b Waiting) int { return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To)) })
	return windows, asked, wrap(err, "looking for what waits")
}

// Forget takes a window off those that wait.
func (v *Vendor) Forget(ctx context.Context, w fanout.Window) error {
	_, err := v.table.remove(ctx, waitingKey(w), expr{})
	return wrap(err, "forgetting a window that waited")
}
