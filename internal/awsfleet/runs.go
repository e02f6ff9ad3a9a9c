package awsfleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// runs implements run.Store.
type runs struct{ v *Vendor }

// stamp is an instant with a fixed width, so that it sorts as text.
const stamp = "20060102T150405.000000000Z"

func windowName(w fanout.Window) string {
	return w.From.UTC().Format(stamp) + "_" + w.To.UTC().Format(stamp)
}

func windowKey(w fanout.Window) key { return key{"window", windowName(w)} }

// Create implements run.Store. The window's row names its run and holds all of
// it; once that is written the rest follows from it:
//
//	window row => replaced run superseded => named as open => listed => run row
//
// Whoever finds the window's row and no run finishes what its creator began.
func (s *runs) Create(ctx context.Context, r run.Run, again bool) (run.Run, error) {
	if err := s.v.mine(r.Vendor); err != nil {
		return run.Run{}, err
	}
	for {
		w, err := s.v.table.get(ctx, windowKey(r.Window))
		if err != nil {
			return run.Run{}, wrap(err, "reading the window's run")
		}
		if w != nil {
			got, err := s.finish(ctx, w)
			if err != nil {
				return run.Run{}, err
			}
			if !again || got.ID == r.ID {
				return got, nil
			}
			// A repeated Create whose run has been replaced meanwhile.
			if got, err := s.Get(ctx, r.ID); err == nil || !errors.Is(err, run.ErrNoRun) {
				return got, err
			}
		}
		// Whether it was us or somebody else, the row is there now.
		if err := s.begin(ctx, r, w.str("run")); err != nil {
			return run.Run{}, err
		}
	}
}

// begin makes r the run of its window, in the place of another or of none,
// unless somebody else comes before it.
func (s *runs) begin(ctx context.Context, r run.Run, instead string) (err error) {
	if r.Previous, err = s.latest(ctx, r.ID); err != nil {
		return err
	}
	doc, err := packRun(r)
	if err != nil {
		return err
	}
	w := windowKey(r.Window).row()
	w["run"], w["doc"], w["replaces"], w["ttl"] = str(r.ID), doc, str(instead), s.v.ttl()
	only := expr{only: "attribute_not_exists(#pk)"}
	if instead != "" {
		only = expr{only: "#run = :old", vals: row{":old": str(instead)}}
	}
	_, err = s.v.table.put(ctx, w, only)
	return wrap(err, "opening run %s of its window", r.ID)
}

// finish carries out what a window's row says, and returns its run.
func (s *runs) finish(ctx context.Context, w row) (run.Run, error) {
	id := w.str("run")
	got, err := s.Get(ctx, id)
	if err == nil || !errors.Is(err, run.ErrNoRun) {
		return got, err
	}
	var r run.Run
	if err := json.Unmarshal([]byte(w.str("doc")), &r); err != nil {
		return r, fmt.Errorf("the window's row of run %s cannot be read: %w", id, err)
	}
	if old := w.str("replaces"); old != "" {
		if err := s.supersede(ctx, old); err != nil {
			return r, wrap(err, "putting run %s in the place of %s", id, old)
		}
	}
	if err := s.v.name(ctx, id, r.Rev); err != nil {
		return r, wrap(err, "noting that run %s is open", id)
	}
	name := row{"pk": str("runs"), "sk": str(r.Opened.UTC().Format(stamp) + "#" + id), "run": str(id), "ttl": s.v.ttl()}
	if _, err := s.v.table.put(ctx, name, expr{}); err != nil {
		return r, wrap(err, "listing run %s", id)
	}
	rr := runKey(id).row()
	rr["doc"], rr["state"], rr["rev"], rr["ttl"] = w["doc"], str(string(run.Open)), num(r.Rev), s.v.ttl()
	held, err := s.v.table.put(ctx, rr, expr{only: "attribute_not_exists(#pk)"})
	if err != nil {
		return r, wrap(err, "opening run %s", id)
	}
	if !held { // somebody else has finished it
		return s.Get(ctx, id)
	}
	return unpackRun(rr)
}

// supersede ends a run that a newer one replaces, if it is open.
func (s *runs) supersede(ctx context.Context, id string) error {
	_, _, err := s.v.table.update(ctx, runKey(id), expr{
		set:  "SET #state = :over",
		only: "#state = :open",
		vals: row{":open": str(string(run.Open)), ":over": str(string(run.Superseded))},
	}, types.ReturnValueNone)
	if err != nil {
		return err
	}
	r, err := s.v.table.get(ctx, runKey(id))
	if err != nil || run.State(r.str("state")) != run.Superseded {
		return err
	}
	// It is never opened again, so its name may go whatever its revision.
	_, _, err = s.v.table.update(ctx, openRow, expr{set: "REMOVE #run", as: map[string]string{"#run": openMark + id}}, types.ReturnValueNone)
	return err
}

// latest is the run that was seeded last, not counting one.
func (s *runs) latest(ctx context.Context, except string) (id string, err error) {
	found := errors.New("found")
	err = s.v.table.query(ctx, scan{pk: "runs", last: true}, func(r row) error {
		if r.str("run") == except {
			return nil
		}
		_, err := s.Get(ctx, r.str("run"))
		if errors.Is(err, run.ErrNoRun) {
			return nil
		}
		if id = r.str("run"); err == nil {
			err = found
		}
		return err
	})
	if errors.Is(err, found) {
		return id, nil
	}
	return "", wrap(err, "looking for the run before")
}

// packRun leaves out what the row has in attributes of its own.
func packRun(r run.Run) (types.AttributeValue, error) {
	r.State, r.Closed, r.Verdict = "", time.Time{}, nil
	doc, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("packing run %s: %w", r.ID, err)
	}
	return str(string(doc)), nil
}

func unpackRun(r row) (out run.Run, err error) {
	if err := json.Unmarshal([]byte(r.str("doc")), &out); err != nil {
		return out, fmt.Errorf("the row %s cannot be read: %w", r.str("pk"), err)
	}
	out.State, out.Rev, out.Marks = run.State(r.str("state")), r.int("rev"), r.set("marks")
	if ns := r.num("closed"); ns != 0 {
		out.Closed = time.Unix(0, ns).UTC()
	}
	if text := r.str("verdict"); text != "" {
		out.Verdict = new(run.Verdict)
		if err := json.Unmarshal([]byte(text), out.Verdict); err != nil {
			return out, fmt.Errorf("the verdict of run %s cannot be read: %w", out.ID, err)
		}
	}
	return out, nil
}

// Get implements run.Store.
func (s *runs) Get(ctx context.Context, id string) (run.Run, error) {
	r, err := s.v.table.get(ctx, runKey(id))
	if err != nil {
		return run.Run{}, wrap(err, "reading run %s", id)
	}
	if r == nil {
		return run.Run{}, fmt.Errorf("%w: %s", run.ErrNoRun, id)
	}
	return unpackRun(r)
}

// List implements run.Store.
func (s *runs) List(ctx context.Context, vendor string) (out []run.Run, err error) {
	if vendor != "" && vendor != s.v.stack.Vendor {
		return nil, nil
	}
	var keys []key
	err = s.v.table.query(ctx, scan{pk: "runs", last: true}, func(r row) error {
		keys = append(keys, runKey(r.str("run")))
		return nil
	})
	if err != nil {
		return nil, wrap(err, "listing runs")
	}
	rows, err := s.v.table.getAll(ctx, keys)
	if err != nil {
		return nil, wrap(err, "listing runs")
	}
	for _, k := range keys {
		if rows[k] == nil { // listed, and its creator died, or has not come to it
			continue
		}
		r, err := unpackRun(rows[k])
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}
