package awsfleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/sluicehq/sluice/internal/governor"
)

// governorStore implements governor.Store on one row, which is written if its
// revision is still the one that was read. Nothing is tried again but a write
// that somebody else's came before: the governor must know soon that it cannot
// go on, and of a write without an answer nobody knows whether it counts.
//
// A write costs by the kilobyte, so the audit log does not stay in the row. An
// entry is written with the change that it tells of, in the row; the next
// change, by whomever, first copies it to a row of its own and then leaves it
// out. Entries therefore are never lost, and never tell of a change that was
// not made: only what has been read from the row is copied. The name of such a
// row is the entry's time, the revision that brought it and its place in there,
// which makes copying twice harmless.
type governorStore struct{ v *Vendor }

// apart sets the items of other vendors apart. The stack's own has no mark.
func (s *governorStore) apart(vendor string) string {
	if vendor == s.v.stack.Vendor {
		return ""
	}
	return "#" + vendor
}

func (s *governorStore) item(vendor string) key { return key{"vendor", "governor" + s.apart(vendor)} }

// Update implements governor.Store.
func (s *governorStore) Update(ctx context.Context, vendor string, fn func(*governor.Item) error) error {
	for try := 0; ; try++ {
		it, err := s.read(ctx, vendor)
		if err != nil {
			return wrap(err, "reading the governor's item of %s", vendor)
		}
		was := it.Rev
		for i, e := range it.Log {
			if err := s.keep(ctx, vendor, e, was, i); err != nil {
				return wrap(err, "keeping the audit log of %s", vendor)
			}
		}
		it.Log = nil
		if err := fn(&it); err != nil {
			return wrap(err, "changing the governor's item of %s", vendor)
		}
		if it.Rev == was {
			return fmt.Errorf("changing the governor's item of %s: the change left revision %d as it was", vendor, was)
		}
		held, err := s.write(ctx, vendor, it, was)
		if err != nil || held {
			return wrap(err, "changing the governor's item of %s", vendor)
		}
		if err := pause(ctx, min(try, 2)); err != nil {
			return wrap(err, "changing the governor's item of %s, which others keep changing", vendor)
		}
	}
}

func (s *governorStore) write(ctx context.Context, vendor string, it governor.Item, was int64) (held bool, err error) {
	s.v.cloud.usage.count("governor.write", 1)
	r := s.item(vendor).row()
	r["rev"] = num(it.Rev)
	it.Rev = 0
	if r["doc"], err = packItem(it); err != nil {
		return false, err
	}
	only := expr{only: "attribute_not_exists(#pk)"}
	if was != 0 {
		only = expr{only: "#rev = :was", vals: row{":was": num(was)}}
	}
	return s.v.quick.put(ctx, r, only)
}

// Load implements governor.Store.
func (s *governorStore) Load(ctx context.Context, vendor string) (governor.Item, error) {
	it, err := s.read(ctx, vendor)
	return it, wrap(err, "reading the governor's item of %s", vendor)
}

func (s *governorStore) read(ctx context.Context, vendor string) (it governor.Item, err error) {
	s.v.cloud.usage.count("governor.read", 1)
	r, err := s.v.quick.get(ctx, s.item(vendor))
	if err != nil || r == nil {
		return it, err
	}
	if it, err = unpackItem(r["doc"]); err != nil {
		return it, err
	}
	it.Rev = r.num("rev")
	return it, nil
}

// keepLog is for how many days entries of the audit log are kept.
const keepLog = 400

func (s *governorStore) entry(vendor string, e governor.Entry, rev int64, i int) key {
	return key{"log" + s.apart(vendor), fmt.Sprintf("%s#%012d#%02d", e.At.UTC().Format(stamp), rev, i)}
}

// keep writes an entry to a row of its own.
func (s *governorStore) keep(ctx context.Context, vendor string, e governor.Entry, rev int64, i int) error {
	s.v.cloud.usage.count("governor.log", 1)
	r := s.entry(vendor, e, rev, i).row()
	r["at"], r["by"], r["what"], r["ttl"] = num(e.At.UnixNano()), str(e.By), str(e.What), s.v.expiry(keepLog)
	for name, text := range map[string]string{"old": e.Old, "new": e.New, "why": e.Why} {
		if text != "" {
			r[name] = str(text)
		}
	}
	_, err := s.v.quick.put(ctx, r, expr{})
	return err
}

// keptEntries is how many of the latest entries are shown.
const keptEntries = 200

// History returns the latest entries of the audit log, oldest first.
func (s *governorStore) History(ctx context.Context, vendor string) ([]governor.Entry, error) {
	entries := map[string]governor.Entry{} // by name: those of the row may have been copied already
	it, err := s.read(ctx, vendor)
	if err != nil {
		return nil, wrap(err, "reading the governor's item of %s", vendor)
	}
	for i, e := range it.Log {
		entries[s.entry(vendor, e, it.Rev, i).sk] = e
	}
	err = s.v.table.query(ctx, scan{pk: "log" + s.apart(vendor), last: true, limit: keptEntries}, func(r row) error {
		entries[r.str("sk")] = governor.Entry{
			At: time.Unix(0, r.num("at")).UTC(), By: r.str("by"), What: r.str("what"), Old: r.str("old"), New: r.str("new"), Why: r.str("why"),
		}
		return nil
	})
	if err != nil {
		return nil, wrap(err, "reading the audit log of %s", vendor)
	}
	var names []string
	for name := range entries {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(a, b) })
	var out []governor.Entry
	for _, name := range names[max(len(names)-keptEntries, 0):] {
		out = append(out, entries[name])
	}
	return out, nil
}

// clockFresh is how old a reading of DynamoDB's clock may be, and fastTrip how
// long its round trip at most, to be used without asking again.
const (
	clockFresh = 5 * time.Second
	fastTrip   = 60 * time.Millisecond
)

// Clock implements governor.Store: the Date of DynamoDB's last answer, which is
// cut to the second, and the time since.
func (s *governorStore) Clock(ctx context.Context) (time.Time, time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, 0, err
	}
	r := s.v.cloud.usage.lastClock()
	for try := 0; try < 3 && (time.Since(r.at) > clockFresh || r.trip > fastTrip); try++ {
		asked := time.Now()
		if _, err := s.v.quick.get(ctx, s.item(s.v.stack.Vendor)); err != nil {
			return time.Time{}, 0, wrap(err, "reading DynamoDB's clock")
		}
		if r = s.v.cloud.usage.lastClock(); r.at.Before(asked) {
			return time.Time{}, 0, fmt.Errorf("reading DynamoDB's clock: its answer has no Date")
		}
	}
	// Where in the round trip the server looked at its clock we do not know.
	now, resolution := r.theirs.Add(time.Since(r.at)), time.Second
	if r.trip > fastTrip {
		now, resolution = now.Add(-r.trip/2), resolution+r.trip
	}
	return now, resolution, nil
}

// A doc of up to so many bytes is text, for people to read in the console; the
// row is under a kilobyte then. A larger one is packed.
const readableDoc = 900

func packItem(it governor.Item) (types.AttributeValue, error) {
	doc, err := pack(it)
	if err != nil || len(doc) <= readableDoc {
		return str(string(doc)), err
	}
	small, err := deflate(doc)
	return &types.AttributeValueMemberB{Value: small}, err
}

func unpackItem(doc types.AttributeValue) (it governor.Item, err error) {
	text := ""
	switch d := doc.(type) {
	case *types.AttributeValueMemberS:
		text = d.Value
	case *types.AttributeValueMemberB:
		if text, err = inflate(d.Value); err != nil {
			return it, fmt.Errorf("the governor's item cannot be read: %w", err)
		}
	}
	if err := it.UnmarshalJSON([]byte(text)); err != nil {
		return it, fmt.Errorf("the governor's item cannot be read: %w", err)
	}
	return it, nil
}
