package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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

	hidden  int  // older runs that are not shown
	stopped bool // until an operator resumes it
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
			show := maxRuns
			if all {
				show = 0
			}
			if watch {
				if asJSON {
					return fmt.Errorf("--watch is for people: for scripts ask again and again with --json")
				}
				return a.watchStatus(args)
			}
			found := []vendorStatus{}
			err := a.lookAround(args, func(h place) error {
				some, err := a.status(cmd.Context(), h, args, show)
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

// lookAround looks at the place of the named vendor, or at all there are.
func (a *app) lookAround(args []string, look func(place) error) error {
	if len(args) > 0 {
		return with(a.existing(args...), a.soft, look)
	}
	return a.everywhere(a.soft, look)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (a *app) status(ctx context.Context, h place, args []string, show int) ([]vendorStatus, error) {
	vendor := ""
	var named *vendorapi.Spec // perhaps not the one that its vendor's name leads to
	if len(args) > 0 {
		name, spec, err := vendorOf(ctx, h, args[0])
		if err != nil {
			return nil, err
		}
		vendor, named = name, spec
	}
	runs, err := h.Runs().List(ctx, vendor)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, r := range runs {
		names = append(names, r.Vendor)
	}
	if vendor != "" {
		names = append(names, vendor)
	}
	slices.Sort(names)
	out := []vendorStatus{}
	for _, name := range slices.Compact(names) {
		v, f, err := statusOf(ctx, h, name, named)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			if r.Vendor != name {
				continue
			}
			if show > 0 && len(v.Runs) == show {
				v.hidden++
				continue
			}
			s, err := statusOfRun(ctx, h, f, r)
			if err != nil {
				return nil, err
			}
			s.held = a.heldText(v, r)
			v.Runs = append(v.Runs, s)
		}
		if f != nil && slices.ContainsFunc(v.Runs, func(r runStatus) bool { return r.State == run.Open }) {
			if err := v.pace(ctx, f); err != nil {
				return nil, err
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// statusOf asks the governor. A vendor without a spec here has no limits to
// show, and nothing can be reckoned: there is no fleet.
func statusOf(ctx context.Context, h place, name string, spec *vendorapi.Spec) (vendorStatus, *fleet.Fleet, error) {
	v := vendorStatus{Vendor: name, State: "free", Runs: []runStatus{}}
	var plan *vendorapi.Plan
	if spec == nil {
		spec, _ = loadSpec(name) // it may have none here
	}
	if spec != nil {
		plan, _ = looked(spec)
	}
	if plan == nil {
		it, err := h.Governor().Load(ctx, name)
		v.State = holdText(governor.Report{Brake: it.Brake, Breaker: it.Breaker, Stop: it.Stop})
		return v, nil, err
	}
	f, err := fleet.New(plan, h, h.Options())
	if err != nil {
		return v, nil, err
	}
	rep, err := f.GovernorStatus(ctx)
	if err != nil {
		return v, nil, err
	}
	v.State, v.Limits, v.Processes, v.stopped = holdText(rep), limitsOf(rep), len(rep.Members), rep.Stop.Kind != ""
	if rep.Budget != nil {
		v.Budget = budgetText(rep.Budget)
	}
	if rep.Interval > 0 {
		v.Allowed = 1 / rep.Interval.Seconds()
	}
	return v, f, nil
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

func statusOfRun(ctx context.Context, h place, f *fleet.Fleet, r run.Run) (runStatus, error) {
	s := runStatus{Run: r.ID, From: r.Window.From, To: r.Window.To, State: r.State, Opened: r.Opened, Closed: r.Closed, window: windowText(r.Window)}
	counts, err := h.Runs().Counts(ctx, r.ID)
	if err != nil {
		return s, err
	}
	for i, tier := range r.Tiers {
		c := counts[tier]
		t := tierStatus{
			Tier: tier, Known: c.Known, Expected: c.Known, Exact: true, Done: c.Done, Gone: c.Gone, Dead: c.Dead, Discarded: c.Discarded,
			InFlight: c.InHand, Waiting: max(0, c.Queued-c.InHand), Missing: max(0, c.Known-c.Settled()-c.Queued), Rows: c.Rows,
		}
		if r.State == run.Closed && r.Verdict != nil && i < len(r.Verdict.Tiers) {
			v := r.Verdict.Tiers[i]
			t = tierStatus{
				Tier: tier, Known: v.Known, Expected: v.Known, Exact: true, Done: v.Done, Gone: v.Gone, Dead: v.Dead, Discarded: v.Discarded,
				InFlight: c.InHand, Waiting: max(0, c.Queued-c.InHand), Missing: v.Missing, Rows: v.Rows,
			}
		}
		s.Tiers = append(s.Tiers, t)
	}
	if r.State == run.Closed && r.Verdict != nil {
		s.Sum = r.Verdict.Sum()
	}
	s.Flags = fleet.Flags(r)
	if f == nil || r.State == run.Superseded { // when that was nobody has noted
		return s, nil
	}
	return s, s.reckon(ctx, f, r, counts)
}

// reckon adds what is left, where the time went, and what is strange.
func (s *runStatus) reckon(ctx context.Context, f *fleet.Fleet, r run.Run, counts map[string]run.Count) error {
	done, err := f.DoneIn(ctx, r.Opened, r.Closed)
	if err != nil {
		return err
	}
	end := r.Closed
	if end.IsZero() || r.State == run.Open {
		end = time.Now()
	}
	s.Took = end.Sub(r.Opened).Seconds()
	s.Went = went(done, end.Sub(r.Opened))
	if r.State != run.Open {
		return nil
	}
	p, err := f.ForecastRun(ctx, r, counts, fleet.Assume{})
	if err != nil {
		return err
	}
	s.Left = &leftStatus{Seconds: p.Duration.Seconds(), Finish: p.At.Add(p.Duration).UTC().Truncate(time.Second), Calls: int(p.Calls + 0.5), Unknown: p.Unknown}
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
