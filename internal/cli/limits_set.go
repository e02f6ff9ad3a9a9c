package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/price"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

const limitsSetLong = `Set changes one limit for everybody who works on the vendor, at once: within a
fifth of a second on one machine, two seconds on AWS. What is not said stays as
the spec has it. More than the spec allows takes --over-spec. --as-spec takes a
change back. --dry-run says what it would do to the open run, or to the next one,
and changes nothing.`

// setting is a change of a limit as it was typed.
type setting struct {
	change           governor.Change
	rate, why        string
	over, back, json bool
	dry              bool
}

func (a *app) limitsSetCommand() *cobra.Command {
	var s setting
	cmd := &cobra.Command{
		Use: "set VENDOR|SPEC LIMIT", Short: "Change a limit for the whole fleet", Long: limitsSetLong,
		Example: "  sluice limits set sim calls --rate 300/m --for 2h --why \"their release night\"\n  sluice limits set sim calls --rate 500/s --dry-run\n  sluice limits set sim calls --as-spec",
		Args:    args(2, 2, "VENDOR and LIMIT"), ValidArgsFunction: a.completeSpecLimit,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			c := &s.change
			if s.rate != "" {
				if c.Count, c.Per, err = parseRate(s.rate); err != nil {
					return err
				}
			}
			for flag, n := range map[string]int{"burst": c.Burst, "in-flight": c.InFlight, "for": int(c.For)} {
				if n < 1 && cmd.Flags().Changed(flag) {
					return fmt.Errorf("--%s is not less than 1; to stop all calls: sluice pause %s", flag, quote(args[0]))
				}
			}
			changes := c.Count > 0 || c.Burst > 0 || c.InFlight > 0
			if changes == s.back {
				return errors.New("what is to change? Give --rate, --burst or --in-flight, or --as-spec alone")
			}
			c.Limit = args[1]
			open := a.opened(args[0])
			if _, err := os.Stat(filepath.Join(a.home, "fleet.db")); s.dry {
				open = a.planning(args[0])
			} else if a.on != onAWS && errors.Is(err, os.ErrNotExist) {
				a.say("there was no home at %s: one is made", a.home)
			}
			return a.governed(args[0], open, func(h place, plan *vendorapi.Plan) error {
				return a.setLimit(cmd.Context(), h, plan, s)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.rate, "rate", "", "calls per time, as `N/UNIT`: 5/s, 300/m, 1000/h, 10/5s, 1000/day")
	f.IntVar(&s.change.Burst, "burst", 0, "calls at once, for a bucket")
	f.IntVar(&s.change.InFlight, "in-flight", 0, "calls under way at once")
	f.DurationVar(&s.change.For, "for", 0, "how long it holds, as 2h or 30m (default: until it is taken back)")
	f.StringVar(&s.why, "why", "", "why, for whoever reads the changes")
	f.BoolVar(&s.over, "over-spec", false, "allow more than the spec says")
	f.BoolVar(&s.back, "as-spec", false, "take an earlier change back")
	f.BoolVar(&s.dry, "dry-run", false, "only say what it would do to the finish and the cost")
	f.BoolVar(&s.json, "json", false, "as JSON")
	return cmd
}

func (a *app) setLimit(ctx context.Context, h place, plan *vendorapi.Plan, s setting) error {
	f, err := fleet.New(plan, h, h.Options())
	if err != nil {
		return err
	}
	spec, err := limitNamed(f, s.change.Limit)
	if err != nil {
		return err
	}
	if c := s.change; spec.Kind == governor.Calendar && c.Count > 0 && c.Per != spec.Per {
		return fmt.Errorf("limit %s counts by the %s: say --rate N/%s", c.Limit, per(spec.Per), per(spec.Per))
	}
	if s.over {
		spec = governor.Limit{}
	}
	if s.dry {
		return a.tryLimit(ctx, h, f, s, spec)
	}
	err = governor.SetLimit(ctx, h.Governor(), plan.Name, s.change, spec, governor.Note{By: a.operator(), Why: s.why})
	if err != nil {
		return overSpec(err)
	}
	doc, err := a.limitsDoc(ctx, h, plan)
	if err != nil {
		return err
	}
	if s.json {
		return writeJSON(a.Stdout, doc)
	}
	a.print("Vendor %s: %s", doc.Vendor, doc.State)
	limitTable(doc.Limits).write(a.Stdout, "  ")
	a.printChanges(doc.Changes[max(len(doc.Changes)-1, 0):], true)
	return nil
}

func limitNamed(f *fleet.Fleet, name string) (governor.Limit, error) {
	limits, _ := f.Limits()
	var names []string
	for _, l := range limits {
		if l.Name == name {
			return l, nil
		}
		names = append(names, l.Name)
	}
	return governor.Limit{}, fmt.Errorf("vendor %s has no limit %q: its limits are %s", f.Plan.Name, name, list(names))
}

func overSpec(err error) error {
	if errors.Is(err, governor.ErrAboveCeiling) {
		return fmt.Errorf("%w: say --over-spec if the vendor really allows it", err)
	}
	return err
}

// tryDoc is what a change would do. Times are seconds from now.
type tryDoc struct {
	Vendor  string        `json:"vendor"`
	Run     string        `json:"run,omitempty"` // the open run; empty: the next one
	Limits  []limitStatus `json:"limits"`        // as they would be
	Before  tryPart       `json:"before"`
	After   tryPart       `json:"after"`
	Changed bool          `json:"changed"` // always false: it is a dry run
}

type tryPart struct {
	Seconds float64   `json:"seconds"`
	Finish  time.Time `json:"finish"`
	USD     float64   `json:"usd"`
}

// tryLimit says what a change would do to the open run, or to the next one.
func (a *app) tryLimit(ctx context.Context, h place, f *fleet.Fleet, s setting, spec governor.Limit) error {
	limits, _ := f.Limits()
	rep, err := governor.Try(ctx, h.Governor(), f.Plan.Name, limits, h.Options().Spread, s.change, spec)
	if err != nil {
		return overSpec(err)
	}
	before, err := forecastNow(ctx, f)
	if err != nil {
		return err
	}
	doc := tryDoc{Vendor: f.Plan.Name, Run: before.Run, Limits: limitsOf(rep)}
	if known := before.Complete(); known == nil {
		doc.Before, doc.After = partOf(before), partOf(before.Under(rep))
	} else if !s.json {
		a.say("%v: its finish cannot be told", known)
	}
	if s.json {
		return writeJSON(a.Stdout, doc)
	}
	a.print("Vendor %s would have:", doc.Vendor)
	limitTable(doc.Limits).write(a.Stdout, "  ")
	if doc.Before.Seconds > 0 {
		what := "the next run"
		if doc.Run != "" {
			what = "what is left of run " + doc.Run
		}
		t := newTable(what, ">takes", "ends, begun now", ">costs on AWS")
		for _, row := range []struct {
			name string
			p    tryPart
		}{{"as it is", doc.Before}, {"with the change", doc.After}} {
			t.add(row.name, span(seconds(row.p.Seconds)), row.p.Finish.Local().Format("2006-01-02 15:04:05 MST"), dollars(row.p.USD))
		}
		a.print("")
		t.write(a.Stdout, "  ")
	}
	a.print("\nNothing was changed.")
	return nil
}

func partOf(p *fleet.Forecast) tryPart {
	lines, _ := bill(p)
	return tryPart{p.Duration.Seconds(), p.At.Add(p.Duration).UTC().Truncate(time.Second), price.Sum(lines)}
}

// forecastNow is the forecast of the vendor's open run, or of the next one.
func forecastNow(ctx context.Context, f *fleet.Fleet) (*fleet.Forecast, error) {
	open, err := f.OpenRuns(ctx)
	if err != nil {
		return nil, err
	}
	if len(open) == 0 {
		return f.Forecast(ctx, fleet.Assume{})
	}
	counts, err := f.Progress(ctx, open[0].ID)
	if err != nil {
		return nil, err
	}
	return f.ForecastRun(ctx, open[0], counts, fleet.Assume{})
}

// parseRate reads N/UNIT.
func parseRate(s string) (count int, each time.Duration, err error) {
	n, unit, ok := strings.Cut(s, "/")
	count, convErr := strconv.Atoi(n)
	switch unit {
	case "day":
		unit = "24h"
	case "hour":
		unit = "1h"
	}
	if unit != "" && (unit[0] < '0' || unit[0] > '9') {
		unit = "1" + unit
	}
	each, durErr := time.ParseDuration(unit)
	if !ok || convErr != nil || durErr != nil || count <= 0 || each <= 0 {
		return 0, 0, fmt.Errorf("%q is no rate: write 5/s, 300/m, 1000/h or 10/5s", s)
	}
	return count, each, nil
}
