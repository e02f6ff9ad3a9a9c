package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
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
	if ids = slices.Compact(slices.Sorted(slices.Values(ids))); len(ids) == 0 {
		return nil, errors.New("no run is named: there is nothing to publish")
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
	for try := 0; try < mostTries; try++ {
		var out []Publication
		var err error
		if len(all) == 0 {
			all, err = l.beginAll(ctx, ids, rebuild, soft)
		}
		if err == nil {
			out, err = l.attempt(ctx, all, rebuild, soft)
		}
		switch {
		case errors.Is(err, errStale):
			all = nil
		case errors.Is(err, landing.ErrSwapped):
		case err != nil:
			return nil, l.refused(ctx, rebuild, err)
		default:
			return out, nil
		}
	}
	return nil, fmt.Errorf("publishing: the index %s or staged files were changed %d times meanwhile: %w", l.indexName(), mostTries, ErrUnfinished)
}

// A publishing is a run on its way: all that does not depend on other runs.
type publishing struct {
	run   run.Run
	sel   *selection
	left  []Dead
	notes []string
	parts map[string][]input                      // by table
	rows  map[string]int                          // by table: what must come out
	seen  map[string]map[string]columns.FieldSeen // by table and field
}

// beginAll begins runs, and returns them in the order in which they were opened.
func (l *Lake) beginAll(ctx context.Context, ids []string, rebuild bool, soft time.Time) (all []*publishing, err error) {
	for _, id := range ids {
		p, err := l.begin(ctx, id, rebuild, soft)
		if err != nil {
			return nil, err
		}
		for _, other := range all {
			if other.run.Window.From.Equal(p.run.Window.From) && other.run.Window.To.Equal(p.run.Window.To) {
				return nil, refuse(id, "run %s is of the same window, and only the newer of them counts: name that one", other.run.ID)
			}
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *publishing) int { return a.run.Opened.Compare(b.run.Opened) })
	return all, nil
}

// begin finds out whether a run may be published, converts what is missing and
// selects what counts.
func (l *Lake) begin(ctx context.Context, id string, rebuild bool, soft time.Time) (*publishing, error) {
	r, err := l.Runs.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("publishing run %s: %w", id, err)
	}
	if err := l.allowed(r); err != nil {
		return nil, err
	}
	p := &publishing{run: r}
	markers, err := l.stage(ctx, p, rebuild, soft)
	if err != nil {
		return nil, err
	}
	var sum ledgered
	if p.sel, sum, err = l.selects(ctx, r, markers, p.left); err != nil {
		return nil, err
	}
	if wrong := sum.wrong(); wrong != "" {
		return nil, refuse(id, "%s", wrong)
	}
	if err := p.inputs(ctx, l, soft); err != nil {
		return nil, err
	}
	own := 0
	for table, n := range p.rows {
		if l.table(table).From == "" {
			own += n
		}
	}
	if own != sum.rows && len(p.left) == 0 {
		p.notes = append(p.notes, fmt.Sprintf("the spec makes %d rows of what the ledger has counted %d for: it has changed since the run", own, sum.rows))
	}
	return p, l.unchanged(ctx, r)
}

// stage converts what is missing of a run, and returns the markers of all its
// objects but those that are left out. What could not be converted is tried again
// only for a rebuild.
func (l *Lake) stage(ctx context.Context, p *publishing, rebuild bool, soft time.Time) (markers []string, err error) {
	id := p.run.ID
	missing, _, err := l.missing(ctx, id)
	if err != nil {
		return nil, err
	}
	known, err := l.Dead(ctx, id)
	if err != nil {
		return nil, err
	}
	tried := slices.DeleteFunc(slices.Clone(missing), func(object string) bool {
		return !rebuild && slices.ContainsFunc(known, func(d Dead) bool { return d.Object == object && d.Spec == l.specID() })
	})
	if err := l.convertAll(ctx, p.run, tried, soft); err != nil {
		return nil, err
	}
	if missing, markers, err = l.missing(ctx, id); err != nil {
		return nil, err
	}
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
	return markers, nil
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
	for _, t := range v.Tiers {
		if t.Known > 0 && !slices.ContainsFunc(l.Plan.Tiers, func(p vendorapi.Tier) bool { return p.Name == t.Tier }) {
			reasons = append(reasons, fmt.Sprintf("the run has a tier %s, and the spec has none: name the spec that it was read by", t.Tier))
		}
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

// refused notes why a run is not published, for whoever looks at the tables. What
// was asked of a run that is published changes nothing, and is only said.
func (l *Lake) refused(ctx context.Context, rebuild bool, err error) error {
	var r *Refused
	if rebuild || !errors.As(err, &r) {
		return err
	}
	note := Refusal{Run: r.Run, Reasons: r.Reasons, At: time.Now().UTC()}
	if known, bad := l.Runs.Get(ctx, r.Run); bad == nil {
		note.From, note.To = known.Window.From, known.Window.To
	}
	return errors.Join(err, l.write(ctx, l.refusedName(r.Run), note))
}

// A Refusal says why a closed run is not published.
type Refusal struct {
	Run     string    `json:"run"`
	Reasons []string  `json:"reasons"`
	At      time.Time `json:"at"`
	From    time.Time `json:"window_from,omitzero"`
	To      time.Time `json:"window_to,omitzero"`
}
