package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
)

// A Publication is a run's tables as they were switched; its manifest.
type Publication struct {
	Vendor    string       `json:"vendor"`
	Run       run.Run      `json:"run"` // with its verdict
	Published time.Time    `json:"published"`
	Spec      string       `json:"spec"`
	Pages     int          `json:"pages"`          // landed pages that count, as the ledger says
	Waste     int          `json:"waste"`          // landed pages that do not
	Left      []Dead       `json:"left,omitempty"` // landed objects that an operator has left out
	Tables    []*Published `json:"tables"`
	Notes     []string     `json:"notes,omitempty"`
	// Unchanged says that the run was published already, with the same rows.
	Unchanged bool `json:"-"`
}

// mostTries is how often a publication begins anew because another one has
// changed the index meanwhile.
const mostTries = 10

// Publish publishes a closed run: its tables count from one write of the index
// on. It is safe to call again at any time, after a crash or beside another
// call. After soft nothing new is started; a zero soft is never.
//
// Errors: ErrUnfinished when soft came first; *Refused when the run is not to be
// published as it is.
func (l *Lake) Publish(ctx context.Context, id string, soft time.Time) (Publication, error) {
	out, err := l.publish(ctx, []string{id}, false, soft)
	if err != nil {
		return Publication{}, err
	}
	return out[0], nil
}

// Rebuild makes the tables of runs anew from what has landed, by this lake's
// spec, and switches all of them at once. If they are all the runs that are
// published, their tables' columns are decided anew; otherwise the tables keep
// theirs. Errors are those of Publish.
func (l *Lake) Rebuild(ctx context.Context, ids []string, soft time.Time) ([]Publication, error) {
	return l.publish(ctx, ids, true, soft)
}

func (l *Lake) publish(ctx context.Context, ids []string, rebuild bool, soft time.Time) ([]Publication, error) {
	if len(l.Plan.Lake.Tables) == 0 {
		return nil, fmt.Errorf("the spec of vendor %s names no table: there is nothing to publish", l.Plan.Name)
	}
	if !rebuild {
		pub, err := l.published(ctx, ids[0])
		if err != nil {
			return nil, err
		}
		if pub != nil {
			return []Publication{*pub}, nil
		}
	}
	var all []*publishing
	for _, id := range ids {
		p, err := l.begin(ctx, id, soft)
		if err != nil {
			return nil, l.refused(ctx, id, err)
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *publishing) int { return a.run.Opened.Compare(b.run.Opened) })
	for range mostTries {
		out, err := l.attempt(ctx, all, rebuild, soft)
		if errors.Is(err, landing.ErrSwapped) {
			continue
		}
		if err != nil {
			return nil, l.refused(ctx, all[len(all)-1].run.ID, err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("publishing: the index %s was changed %d times meanwhile: %w", l.indexName(), mostTries, ErrUnfinished)
}

// A publishing is a run on its way: all that does not depend on other runs.
type publishing struct {
	run    run.Run
	sel    *selection
	left   []Dead
	notes  []string
	inputs map[string][]input
	rows   map[string]int
}

// begin finds out whether a run may be published, converts what is missing and
// selects what counts.
func (l *Lake) begin(ctx context.Context, id string, soft time.Time) (*publishing, error) {
	r, err := l.Runs.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("publishing run %s: %w", id, err)
	}
	if err := l.allowed(r); err != nil {
		return nil, err
	}
	missing, _, err := l.missing(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := l.convertAll(ctx, r, missing, soft); err != nil {
		return nil, err
	}
	missing, markers, err := l.missing(ctx, id)
	if err != nil {
		return nil, err
	}
	p := &publishing{run: r, inputs: map[string][]input{}, rows: map[string]int{}}
	dead, left, err := l.living(ctx, id, missing)
	switch {
	case err != nil:
		return nil, err
	case len(dead) > 0:
		return nil, refuse(id, "%s cannot be converted, such as %s (%s): `sluice lake dead %s` shows them", counted(len(dead), "landed object", "landed objects"), dead[0].Object, dead[0].Reason, id)
	case len(missing) > len(left):
		return nil, fmt.Errorf("publishing run %s: %d landed objects are new: %w", id, len(missing)-len(left), ErrUnfinished)
	}
	p.left = left
	var sum ledgered
	if p.sel, sum, err = l.selects(ctx, r, markers); err != nil {
		return nil, err
	}
	if lost := p.sel.lost(sum, left); lost != "" {
		return nil, refuse(id, "%s", lost)
	}
	if own := l.ownRows(p.sel); own != sum.rows && len(left) == 0 {
		p.notes = append(p.notes, fmt.Sprintf("the spec makes %d rows of what the ledger has counted %d for: it has changed since the run", own, sum.rows))
	}
	for _, table := range l.Plan.Lake.Tables {
		if p.inputs[table.Name], p.rows[table.Name], err = l.inputs(ctx, r, p.sel, table.Name, soft); err != nil {
			return nil, err
		}
	}
	return p, l.unchanged(ctx, r)
}

// unchanged makes sure that what was read of a run's ledger is what the run was
// closed with.
func (l *Lake) unchanged(ctx context.Context, was run.Run) error {
	now, err := l.Runs.Get(ctx, was.ID)
	if err != nil {
		return fmt.Errorf("publishing run %s: %w", was.ID, err)
	}
	if now.Rev != was.Rev || now.State != was.State {
		return fmt.Errorf("publishing run %s: it was opened again meanwhile: %w", was.ID, ErrUnfinished)
	}
	return nil
}

// ownRows are the rows that the ledger has counted too: of the tables that tiers
// name.
func (l *Lake) ownRows(s *selection) (n int) {
	for _, o := range s.objects {
		for table, rows := range o.made {
			if l.table(table).From == "" {
				n += rows
			}
		}
	}
	return n
}

// allowed tells whether a run's verdict lets it be published.
func (l *Lake) allowed(r run.Run) error {
	v := r.Verdict
	if r.State != run.Closed || v == nil {
		return refuse(r.ID, "it is %s: only a run that is closed with its verdict is published", r.State)
	}
	var reasons []string
	if v.Missing > 0 {
		reasons = append(reasons, tasksOf(v.Missing, "missing", v.MissingNames))
	}
	if v.Strays > 0 {
		reasons = append(reasons, counted(v.Strays, "task is", "tasks are")+" settled that no list has")
	}
	if most := l.mostDead(*v); v.Dead > most {
		reasons = append(reasons, fmt.Sprintf("%s, and the spec allows %d (lake.dead): replay or discard them (`sluice dead %s`)", tasksOf(v.Dead, "dead", v.DeadNames), most, r.Vendor))
	}
	reasons = append(reasons, v.Problems...)
	if len(reasons) > 0 {
		return &Refused{r.ID, reasons}
	}
	return nil
}

// mostDead is how many dead tasks the spec allows.
func (l *Lake) mostDead(v run.Verdict) int {
	if p := l.Plan.Lake.DeadPercent; p > 0 {
		return int(float64(v.Known) * p / 100)
	}
	return l.Plan.Lake.Dead
}

// refused notes why a run is not published, for whoever looks at the tables.
func (l *Lake) refused(ctx context.Context, id string, err error) error {
	var r *Refused
	if !errors.As(err, &r) {
		return err
	}
	return errors.Join(err, l.write(ctx, l.refusedName(id), Refusal{Run: id, Reasons: r.Reasons, At: time.Now().UTC()}))
}

// A Refusal says why a closed run is not published.
type Refusal struct {
	Run     string    `json:"run"`
	Reasons []string  `json:"reasons"`
	At      time.Time `json:"at"`
}
