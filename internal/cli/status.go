package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// maxRuns is how many runs of a vendor are shown unless all are asked for.
const maxRuns = 5

// vendorStatus is all there is to say about a vendor now.
type vendorStatus struct {
	Vendor    string        `json:"vendor"`
	State     string        `json:"state"` // what holds the fleet, or "free"
	Limits    []limitStatus `json:"limits,omitempty"`
	Budget    string        `json:"budget,omitempty"`
	Rate      float64       `json:"calls_per_second"`           // of the whole fleet, in the last slices
	Used      float64       `json:"used"`                       // part of what was allowed in those, 0 to 1
	Allowed   float64       `json:"allowed_per_second"`         // from now on; 0: no rate
	Binds     string        `json:"binds,omitempty"`            // what most of the last minute went to
	Processes int           `json:"processes"`                  // that book permits
	Latency   float64       `json:"median_call_ms,omitempty"`   // in the last minute
	Throttled int           `json:"throttled_minute,omitempty"` // calls refused in the last minute
	Runs      []runStatus   `json:"runs"`

	hidden  int              // runs that are not shown
	stopped bool             // until an operator resumes it
	log     []governor.Entry // what was changed
}

type runStatus struct {
	Run    string             `json:"run"`
	From   time.Time          `json:"from"`
	To     time.Time          `json:"to"`
	State  run.State          `json:"state"`
	Opened time.Time          `json:"opened"`
	Closed time.Time          `json:"closed,omitzero"`
	Tiers  []tierStatus       `json:"tiers"`
	Left   *leftStatus        `json:"left,omitempty"`  // of an open run
	Took   float64            `json:"took_seconds"`    // until now, or until it was closed
	Went   map[string]float64 `json:"went_seconds"`    // where that time went
	Flags  []string           `json:"flags,omitempty"` // what somebody should look at
	Sum    string             `json:"verdict,omitempty"`

	window string
	held   string // why nothing goes on, and what to type
}

// leftStatus is how long an open run still takes, and how well that is known.
type leftStatus struct {
	Seconds   float64   `json:"seconds"`
	Finish    time.Time `json:"finish"`
	Calls     int       `json:"calls"`
	Estimated []string  `json:"estimated,omitempty"` // tiers whose size is taken from the last run, or from this one so far
	Unknown   []string  `json:"unknown,omitempty"`   // tiers whose size nobody can tell: they are not in it
	Pauses    []pause   `json:"pauses,omitempty"`    // for limits that count by the day or the hour
}

type tierStatus struct {
	Tier      string `json:"tier"`
	Known     int    `json:"known"`
	Expected  int    `json:"expected"` // at the end
	Exact     bool   `json:"exact"`    // that is known, not estimated
	Done      int    `json:"done"`
	Gone      int    `json:"gone"`
	Dead      int    `json:"dead"`
	Discarded int    `json:"discarded,omitempty"`
	InFlight  int    `json:"in_flight"` // in some worker's hand
	Waiting   int    `json:"waiting"`   // on the queue, or hidden until the next attempt
	Missing   int    `json:"missing"`   // known, neither ended nor queued
	Rows      int    `json:"rows"`
}

const statusLong = `Status shows the vendors of a home: what holds them, how fast they are called and
what binds, and for each run how far its tiers are, how long it still takes and
where its time went. --watch keeps showing it.

The figures of an open run are counters, good to look at; those of a closed run
are its verdict's. What is left is reckoned at the limits in force; a number
marked ~ is not fully known yet, and the last run's size stands for it.

missing: known, but neither ended nor on a queue. "sluice run" finds out whether
that is so and sends such tasks again.`

func (a *app) statusCommand() *cobra.Command {
	var asJSON, all, watch bool
	cmd := &cobra.Command{
		Use: "status [VENDOR|SPEC]", Short: "Show runs, rates, what binds, and how long it still takes", Long: statusLong,
		Example: "  sluice status\n  sluice status sim --watch\n  sluice status sim --all --json",
		Args:    args(0, 1, "at most one vendor"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			choose := lastRuns
			if all {
				choose = slices.Clone
			}
			if watch {
				if asJSON {
					return fmt.Errorf("--watch is for people: for scripts ask again and again with --json")
				}
				return a.watchStatus(args)
			}
			found := []vendorStatus{}
			err := a.lookAround(a.soft, args, func(h place) error {
				some, err := a.viewer(h).status(cmd.Context(), args, choose)
				found = append(found, some...)
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.Stdout, found)
			}
			a.printStatus(found)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().BoolVar(&all, "all", false, fmt.Sprintf("all runs, not only the last %d of each vendor", maxRuns))
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "keep showing it, until Ctrl-C")
	return cmd
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// A viewer looks at a place, perhaps again and again.
type viewer struct {
	app    *app
	place  place
	fleets map[string]*fleet.Fleet // by vendor: they remember what does not change
}

func (a *app) viewer(h place) *viewer { return &viewer{a, h, map[string]*fleet.Fleet{}} }

// lastRuns are the newest of a vendor's runs.
func lastRuns(runs []run.Run) []run.Run { return runs[:min(len(runs), maxRuns)] }

// status looks. choose tells which of a vendor's runs, newest first, are shown.
func (v *viewer) status(ctx context.Context, args []string, choose func([]run.Run) []run.Run) ([]vendorStatus, error) {
	vendor := ""
	var named *vendorapi.Spec // perhaps not the one that its vendor's name leads to
	if len(args) > 0 {
		name, spec, err := vendorOf(ctx, v.place, args[0])
		if err != nil {
			return nil, err
		}
		vendor, named = name, spec
	}
	all, err := v.place.Runs().List(ctx, vendor)
	if err != nil {
		return nil, err
	}
	runs := map[string][]run.Run{}
	if vendor != "" {
		runs[vendor] = nil
	}
	for _, r := range all {
		runs[r.Vendor] = append(runs[r.Vendor], r)
	}
	out := []vendorStatus{}
	for _, name := range slices.Sorted(maps.Keys(runs)) {
		s, err := v.vendor(ctx, name, named, choose(runs[name]))
		if err != nil {
			return nil, err
		}
		s.hidden = len(runs[name]) - len(s.Runs)
		out = append(out, s)
	}
	return out, nil
}

// vendor looks at a vendor and some of its runs.
func (v *viewer) vendor(ctx context.Context, name string, named *vendorapi.Spec, runs []run.Run) (vendorStatus, error) {
	s, f, err := v.governed(ctx, name, named)
	if err != nil {
		return s, err
	}
	open := false
	for _, r := range runs {
		shown, err := statusOfRun(ctx, v.place, f, r, s.log)
		if err != nil {
			return s, err
		}
		shown.held = v.app.heldText(s, r)
		s.Runs = append(s.Runs, shown)
		open = open || r.State == run.Open
	}
	if f != nil && open {
		err = s.pace(ctx, f)
	}
	return s, err
}

// governed asks the governor. A vendor without a spec here has no limits to show,
// and nothing can be reckoned: there is no fleet.
func (v *viewer) governed(ctx context.Context, name string, spec *vendorapi.Spec) (vendorStatus, *fleet.Fleet, error) {
	s := vendorStatus{Vendor: name, State: "free", Runs: []runStatus{}}
	f, err := v.fleetOf(name, spec)
	if err != nil {
		return s, nil, err
	}
	if f == nil {
		it, err := v.place.Governor().Load(ctx, name)
		rep := governor.Report{Brake: it.Brake, Breaker: it.Breaker, Stop: governor.Stopped(it, time.Now())}
		s.State, s.stopped = holdText(rep), rep.Stop.Kind != ""
		return s, nil, err
	}
	rep, err := governorOf(ctx, v.place, f)
	if err != nil {
		return s, nil, err
	}
	s.State, s.Limits, s.Processes, s.stopped, s.log = holdText(rep), limitsOf(rep), len(rep.Members), rep.Stop.Kind != "", rep.Log
	if rep.Budget != nil {
		s.Budget = budgetText(rep.Budget)
	}
	if rep.Interval > 0 {
		s.Allowed = 1 / rep.Interval.Seconds()
	}
	return s, f, nil
}

// fleetOf is a vendor's fleet; nil: there is no spec for it here.
func (v *viewer) fleetOf(name string, spec *vendorapi.Spec) (f *fleet.Fleet, err error) {
	if f := v.fleets[name]; f != nil {
		return f, nil
	}
	if spec == nil {
		spec, _ = loadSpec(name) // it may have none here
	}
	if spec == nil {
		return nil, nil
	}
	plan, err := looked(spec)
	if err != nil {
		return nil, nil // none that can be used
	}
	if f, err = fleet.New(plan, v.place, v.place.Options()); err == nil {
		v.fleets[name] = f
	}
	return f, err
}

// pace notes how fast the vendor is being called, and what binds.
func (v *vendorStatus) pace(ctx context.Context, f *fleet.Fleet) error {
	uses, err := f.Uses(ctx, nil, time.Minute)
	if err != nil {
		return err
	}
	now := uses.Latest
	if now.Slices == 0 {
		return nil
	}
	all := now.All()
	v.Throttled = all.Throttled
	v.Latency = float64(all.Took.Quantile(0.5).Microseconds()) / 1000
	if time.Since(now.To) < 3*series.Slice { // or nobody is at work
		v.Rate = float64(all.Calls) / (float64(now.Slices) * series.Slice.Seconds())
		for _, allowed := range now.Allowed {
			v.Used = max(v.Used, float64(all.Calls)/max(allowed, 1e-9))
		}
	}
	most := time.Duration(0)
	for what, d := range now.Went {
		if d > most {
			v.Binds, most = what, d
		}
	}
	return nil
}

func statusOfRun(ctx context.Context, h place, f *fleet.Fleet, r run.Run, log []governor.Entry) (runStatus, error) {
	s := runStatus{Run: r.ID, From: r.Window.From, To: r.Window.To, State: r.State, Opened: r.Opened, Closed: r.Closed, window: windowText(r.Window)}
	counts, err := h.Runs().Counts(ctx, r.ID)
	if err != nil {
		return s, err
	}
	closed := r.State == run.Closed && r.Verdict != nil
	for i, tier := range r.Tiers {
		c := counts[tier]
		n := run.TierSum{Known: c.Known, Done: c.Done, Gone: c.Gone, Dead: c.Dead, Discarded: c.Discarded, Missing: max(0, c.Known-c.Settled()-c.Queued), Rows: c.Rows}
		if closed && i < len(r.Verdict.Tiers) {
			n = r.Verdict.Tiers[i]
		}
		s.Tiers = append(s.Tiers, tierStatus{
			Tier: tier, Known: n.Known, Expected: n.Known, Exact: true, Done: n.Done, Gone: n.Gone, Dead: n.Dead, Discarded: n.Discarded,
			InFlight: c.InHand, Waiting: max(0, c.Queued-c.InHand), Missing: n.Missing, Rows: n.Rows,
		})
	}
	if closed {
		s.Sum = r.Verdict.Sum()
	}
	s.Flags = fleet.Flags(r)
	if f == nil || r.State == run.Superseded { // when that was nobody has noted
		return s, nil
	}
	return s, s.reckon(ctx, f, r, counts, log)
}

// reckon adds what is left, where the time went, and what is strange.
func (s *runStatus) reckon(ctx context.Context, f *fleet.Fleet, r run.Run, counts map[string]run.Count, log []governor.Entry) error {
	done, err := f.DoneIn(ctx, r.Opened, r.Closed)
	if err != nil {
		return err
	}
	end := r.Closed
	if end.IsZero() || r.State == run.Open {
		end = time.Now()
	}
	s.Took = end.Sub(r.Opened).Seconds()
	s.Went = went(done, r.Opened, end, log)
	if r.State != run.Open {
		return nil
	}
	p, err := f.ForecastRun(ctx, r, counts, fleet.Assume{})
	if err != nil {
		return err
	}
	s.Left = &leftStatus{Seconds: p.Duration.Seconds(), Finish: p.At.Add(p.Duration).UTC().Truncate(time.Second), Calls: int(p.Calls + 0.5), Unknown: p.Unknown, Pauses: pausesOf(p)}
	for i, t := range p.Tiers {
		s.Tiers[i].Expected, s.Tiers[i].Exact = t.Tasks, t.Exact
		if !t.Exact && !slices.Contains(p.Unknown, t.Name) {
			s.Left.Estimated = append(s.Left.Estimated, t.Name)
		}
	}
	return nil
}

// heldText says why an open run does not go on, and what to type.
func (a *app) heldText(v vendorStatus, r run.Run) string {
	switch {
	case r.State != run.Open:
		return ""
	case v.stopped:
		return "nothing goes on before: sluice resume " + v.Vendor + a.homeFlag()
	case v.State != "free":
		return "nothing goes on now"
	case v.Processes == 0 && a.on == onLocal:
		return "nobody works it: " + a.goOn(r)
	}
	return ""
}

// holdText is what holds a vendor's fleet now.
func holdText(rep governor.Report) string {
	switch {
	case rep.Stop.Kind == governor.ByOperator:
		return fmt.Sprintf("paused by %s since %s: %s", rep.Stop.By, instantText(rep.Stop.At), rep.Stop.Why)
	case rep.Stop.Kind != "":
		return fmt.Sprintf("stopped since %s: %s", instantText(rep.Stop.At), rep.Stop.Why)
	case rep.Breaker.Open():
		return fmt.Sprintf("down since %s: %s; next probe %s", instantText(rep.Breaker.Since), rep.Breaker.Why, until(rep.Breaker.Next))
	case rep.Brake.Until.After(time.Now()):
		return fmt.Sprintf("braked for %s more: %s", span(time.Until(rep.Brake.Until)), rep.Brake.Why)
	}
	return "free"
}
