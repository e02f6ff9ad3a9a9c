package awsfleet

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/sluicehq/sluice/internal/run"
)

// Finish implements run.Store. The run is closed before its name is taken out
// of those that may be open.
func (s *runs) Finish(ctx context.Context, id string, rev int, v run.Verdict) error {
	doc, err := packVerdict(v)
	if err != nil {
		return wrap(err, "packing the verdict of run %s", id)
	}
	record := expr{set: "SET #verdict = :v", only: "#rev = :rev", vals: row{":v": str(doc), ":rev": num(rev)}}
	if v.Settled() {
		closing := expr{
			set:  "SET #verdict = :v, #state = :closed, #closed = :at",
			only: "#rev = :rev AND #state = :open",
			vals: row{":v": str(doc), ":rev": num(rev), ":at": num(v.At.UnixNano()), ":open": str(string(run.Open)), ":closed": str(string(run.Closed))},
		}
		_, held, err := s.v.table.update(ctx, runKey(id), closing, types.ReturnValueNone)
		if err != nil {
			return wrap(err, "closing run %s", id)
		}
		if held {
			return wrap(s.v.unname(ctx, id, rev), "noting that run %s is closed", id)
		}
		// It is not open, or not at rev, or not there; or it was closed by a write
		// whose answer was lost.
		record.only += " AND #state <> :open"
		record.vals[":open"] = str(string(run.Open))
	}
	_, held, err := s.v.table.update(ctx, runKey(id), record, types.ReturnValueNone)
	if err != nil {
		return wrap(err, "recording the verdict of run %s", id)
	}
	if held {
		if !v.Settled() {
			return nil
		}
		return wrap(s.v.unname(ctx, id, rev), "noting that run %s is closed", id)
	}
	if _, err := s.Get(ctx, id); err != nil {
		return err
	}
	return run.ErrChanged
}

// A row holds 400 KB. The names that a verdict carries are bounded, but not
// their length.
const largestVerdict = 300 << 10

// packVerdict drops names until the verdict fits. The whole of it is in the
// bucket.
func packVerdict(v run.Verdict) (string, error) {
	for {
		doc, err := json.Marshal(v)
		if err != nil || len(doc) <= largestVerdict {
			return string(doc), err
		}
		names := []*[]string{&v.DeadNames, &v.DiscardedNames, &v.GoneNames, &v.MissingNames, &v.Problems}
		longest, size := names[0], 0
		for _, n := range names {
			if s := total(*n); s > size {
				longest, size = n, s
			}
		}
		if size == 0 {
			return "", fmt.Errorf("a verdict of %d bytes is too large", len(doc))
		}
		*longest = (*longest)[:len(*longest)/2]
	}
}

func total(names []string) (n int) {
	for _, s := range names {
		n += len(s) + 1
	}
	return n
}

// Open implements run.Store. The run is named among those that may be open
// before it is.
func (s *runs) Open(ctx context.Context, id string) error {
	for try := 0; ; try++ {
		r, err := s.Get(ctx, id)
		if err != nil {
			return err
		}
		if r.State == run.Superseded {
			return fmt.Errorf("run %s: %w", id, run.ErrSuperseded)
		}
		if err := s.v.name(ctx, id, r.Rev+1); err != nil {
			return wrap(err, "noting that run %s is open", id)
		}
		_, held, err := s.v.table.update(ctx, runKey(id), expr{
			set:  "SET #state = :open, #rev = :next",
			only: "#rev = :rev AND #state <> :over",
			vals: row{":open": str(string(run.Open)), ":over": str(string(run.Superseded)), ":rev": num(r.Rev), ":next": num(r.Rev + 1)},
		}, types.ReturnValueNone)
		if err != nil || held {
			return wrap(err, "opening run %s", id)
		}
		if err := pause(ctx, try); err != nil {
			return wrap(err, "opening run %s", id)
		}
	}
}

// pass moves a run on to its next revision and leaves it as open as it is. The
// name of an open one stays at the revision before: it is a name all the same.
func (s *runs) pass(ctx context.Context, id string) error {
	_, _, err := s.v.table.update(ctx, runKey(id), expr{
		set: "ADD #rev :one", only: "attribute_exists(#rev)", vals: row{":one": num(1)},
	}, types.ReturnValueNone)
	return wrap(err, "moving run %s on to its next revision", id)
}
