package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// maxRuns is how many runs of a vendor are shown unless all are asked for.
const maxRuns = 5

// vendorStatus is all there is to say about a vendor now.
type vendorStatus struct {
	Vendor string        `json:"vendor"`
	State  string        `json:"state"` // what holds the fleet, or "free"
	Limits []limitStatus `json:"limits,omitempty"`
	Runs   []runStatus   `json:"runs"`

	hidden int // older runs that are not shown
}

type runStatus struct {
	Run    string       `json:"run"`
	From   time.Time    `json:"from"`
	To     time.Time    `json:"to"`
	State  run.State    `json:"state"`
	Opened time.Time    `json:"opened"`
	Tiers  []tierStatus `json:"tiers"`

	window string
}

type tierStatus struct {
	Tier    string `json:"tier"`
	Known   int    `json:"known"`
	Done    int    `json:"done"`
	Gone    int    `json:"gone"`
	Dead    int    `json:"dead"`
	Missing int    `json:"missing"` // known, neither ended nor queued
	Queued  int    `json:"queued"`
	Rows    int    `json:"rows"`
}

const statusLong = `Status shows the vendors of a home: what holds them, which limits are in force,
and how far their runs are. The figures of an open run are counters, good to look
at; those of a closed run are its verdict's.

missing: known, but neither ended nor on a queue. "sluice run" finds out whether
that is so and sends such tasks again.`

func (a *app) statusCommand() *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use: "status [VENDOR|SPEC]", Short: "Show runs, limits, and what holds a vendor", Long: statusLong,
		Example: "  sluice status\n  sluice status sim --all\n  sluice status --json",
		Args:    args(0, 1, "at most one vendor"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			show := maxRuns
			if all {
				show = 0
			}
			found := []vendorStatus{}
			look := func(h place) error {
				some, err := a.status(cmd.Context(), h, args, show)
				found = append(found, some...)
				return err
			}
			var err error
			if len(args) > 0 {
				err = with(a.existing(args...), a.soft, look)
			} else {
				err = a.everywhere(a.soft, look)
			}
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
	return cmd
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
		v, err := statusOf(ctx, h, name, named)
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
			s, err := statusOfRun(ctx, h, r)
			if err != nil {
				return nil, err
			}
			v.Runs = append(v.Runs, s)
		}
		out = append(out, v)
	}
	return out, nil
}

// statusOf asks the governor. A vendor without a spec here has no limits to
// show.
func statusOf(ctx context.Context, h place, name string, spec *vendorapi.Spec) (vendorStatus, error) {
	v := vendorStatus{Vendor: name, State: "free", Runs: []runStatus{}}
	var plan *vendorapi.Plan
	if spec == nil {
		spec, _ = loadSpec(name) // it may have none here
	}
	if spec != nil {
		var err error
		if plan, err = looked(spec); err != nil {
			plan = nil
		}
	}
	if plan == nil {
		it, err := h.Governor().Load(ctx, name)
		v.State = holdText(governor.Report{Brake: it.Brake, Breaker: it.Breaker, Stop: it.Stop})
		return v, err
	}
	rep, err := reportOf(ctx, h, plan)
	if err != nil {
		return v, err
	}
	v.State, v.Limits = holdText(rep), limitsOf(rep)
	return v, nil
}

func statusOfRun(ctx context.Context, h place, r run.Run) (runStatus, error) {
	s := runStatus{Run: r.ID, From: r.Window.From, To: r.Window.To, State: r.State, Opened: r.Opened, window: windowText(r.Window)}
	counts, err := h.Runs().Counts(ctx, r.ID)
	if err != nil {
		return s, err
	}
	for i, tier := range r.Tiers {
		c := counts[tier]
		t := tierStatus{tier, c.Known, c.Done, c.Gone, c.Dead, max(0, c.Known-c.Settled()-c.Queued), c.Queued, c.Rows}
		if r.State == run.Closed && r.Verdict != nil && i < len(r.Verdict.Tiers) {
			v := r.Verdict.Tiers[i]
			t = tierStatus{tier, v.Known, v.Done, v.Gone, v.Dead, v.Missing, c.Queued, v.Rows}
		}
		s.Tiers = append(s.Tiers, t)
	}
	return s, nil
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

func (a *app) printStatus(found []vendorStatus) {
	if len(found) == 0 {
		a.print("Nothing has been run in %s yet.", a.home)
		return
	}
	for i, v := range found {
		if i > 0 {
			a.print("")
		}
		a.print("Vendor %s: %s", v.Vendor, v.State)
		if len(v.Limits) > 0 {
			limitTable(v.Limits).write(a.Stdout, "  ")
		}
		for _, r := range v.Runs {
			a.print("\nRun %s, %s: %s, opened %s", r.Run, r.window, r.State, instantText(r.Opened))
			t := newTable("tier", ">known", ">done", ">gone", ">dead", ">missing", ">queued", ">rows")
			for _, s := range r.Tiers {
				t.add(s.Tier, s.Known, s.Done, s.Gone, s.Dead, s.Missing, s.Queued, s.Rows)
			}
			t.write(a.Stdout, "  ")
		}
		if v.hidden > 0 {
			a.print("\n%s not shown (--all shows them)", plural(v.hidden, "older run"))
		}
	}
}
