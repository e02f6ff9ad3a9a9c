package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// limitStatus is one limit as people read it.
type limitStatus struct {
	Limit    string  `json:"limit"`
	Spec     string  `json:"spec"`
	Override string  `json:"override,omitempty"`
	Now      string  `json:"now"`
	Share    float64 `json:"share"` // of the rate that can be used, 0 to 1
}

const limitsLong = `Limits shows what a vendor allows according to its spec, what an operator has
changed, what holds now, which share of it can be used, and the last changes. A
share under 100 % is what has to be kept apart from late arrivals.`

func (a *app) limitsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "limits VENDOR|SPEC", Short: "Show a vendor's limits, and who changed what", Long: limitsLong,
		Example: "  sluice limits sim\n  sluice limits set sim calls --rate 300/m --for 2h --why \"their release night\"",
		Args:    args(1, 1, "VENDOR or SPEC"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.governed(args[0], a.existing(args[0]), func(h place, plan *vendorapi.Plan) error {
				rep, err := reportOf(cmd.Context(), h, plan)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(a.Stdout, limitsOf(rep))
				}
				a.printLimits(plan.Name, rep)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.AddCommand(a.limitsSetCommand())
	return cmd
}

// governed finds a vendor's spec and does something about its limits.
func (a *app) governed(name string, open func(context.Context) (place, error), do func(place, *vendorapi.Plan) error) error {
	spec, err := loadSpec(name)
	if err != nil {
		return err
	}
	plan, err := looked(spec)
	if err != nil {
		return err
	}
	return with(open, a.soft, func(h place) error { return do(h, plan) })
}

// reportOf is what the governor holds of a vendor.
func reportOf(ctx context.Context, h place, plan *vendorapi.Plan) (governor.Report, error) {
	f, err := fleet.New(plan, h, fleet.Options{})
	if err != nil {
		return governor.Report{}, err
	}
	return f.GovernorStatus(ctx)
}

func limitsOf(rep governor.Report) (out []limitStatus) {
	for _, l := range rep.Limits {
		s := limitStatus{Limit: l.Spec.Name, Spec: limitText(l.Spec), Now: limitText(l.Now), Share: l.Share}
		if l.Override.String() != "" {
			s.Override = l.Override.String()
			if !l.Override.Until.IsZero() {
				s.Override += " until " + instantText(l.Override.Until)
			}
		}
		out = append(out, s)
	}
	return out
}

// limitText is a limit as the spec would say it.
func limitText(l governor.Limit) string {
	var parts []string
	switch l.Kind {
	case governor.Unpaced:
	case governor.Spacing:
		parts = append(parts, fmt.Sprintf("%v apart", l.Per/time.Duration(max(l.Count, 1))))
	default:
		parts = append(parts, fmt.Sprintf("%s %s per %s", l.Kind, number(l.Count), per(l.Per)))
	}
	if l.Kind == governor.Bucket {
		parts = append(parts, fmt.Sprintf("burst %d", max(l.Burst, 1)))
	}
	if l.InFlight > 0 {
		parts = append(parts, fmt.Sprintf("%d in flight", l.InFlight))
	}
	return strings.Join(parts, ", ")
}

func per(d time.Duration) string {
	switch d {
	case time.Second:
		return "second"
	case time.Minute:
		return "minute"
	case time.Hour:
		return "hour"
	}
	return d.String()
}

func limitTable(limits []limitStatus) *table {
	t := newTable("limit", "spec", "override", "now", ">share")
	for _, l := range limits {
		o := l.Override
		if o == "" {
			o = "none"
		}
		t.add(l.Limit, l.Spec, o, l.Now, fmt.Sprintf("%.1f %%", 100*l.Share))
	}
	return t
}

func (a *app) printLimits(vendor string, rep governor.Report) {
	a.print("Vendor %s: %s", vendor, holdText(rep))
	limitTable(limitsOf(rep)).write(a.Stdout, "  ")
	if len(rep.Log) == 0 {
		return
	}
	a.print("\nChanges, oldest first:")
	t := newTable("when", "what", "from", "to", "by", "why")
	for _, e := range rep.Log {
		t.add(instantText(e.At), e.What, e.Old, e.New, e.By, e.Why)
	}
	t.write(a.Stdout, "  ")
}

const limitsSetLong = `Set changes one limit for everybody who works on the vendor, at once: within a
fifth of a second on one machine. What is not said stays as the spec has it. More
than the spec allows takes --over-spec. --as-spec takes a change back.`

func (a *app) limitsSetCommand() *cobra.Command {
	var c governor.Change
	var rateText, why string
	var over, back bool
	cmd := &cobra.Command{
		Use: "set VENDOR|SPEC LIMIT", Short: "Change a limit for the whole fleet", Long: limitsSetLong,
		Example: "  sluice limits set sim calls --rate 300/m --for 2h --why \"their release night\"\n  sluice limits set sim calls --as-spec",
		Args:    args(2, 2, "VENDOR and LIMIT"), ValidArgsFunction: a.completeSpecLimit,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if rateText != "" {
				if c.Count, c.Per, err = parseRate(rateText); err != nil {
					return err
				}
			}
			changes := c.Count > 0 || c.Burst > 0 || c.InFlight > 0
			if changes == back {
				return errors.New("what is to change? Give --rate, --burst or --in-flight, or --as-spec alone")
			}
			c.Limit = args[1]
			return a.governed(args[0], a.opened(args[0]), func(h place, plan *vendorapi.Plan) error {
				return a.setLimit(cmd.Context(), h, plan, c, over, governor.Note{By: a.operator(), Why: why})
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&rateText, "rate", "", "calls per time, as `N/UNIT`: 5/s, 300/m, 1000/h, 10/5s")
	f.IntVar(&c.Burst, "burst", 0, "calls at once, for a bucket")
	f.IntVar(&c.InFlight, "in-flight", 0, "calls under way at once")
	f.DurationVar(&c.For, "for", 0, "how long it holds, as 2h or 30m (default: until it is taken back)")
	f.StringVar(&why, "why", "", "why, for whoever reads the changes")
	f.BoolVar(&over, "over-spec", false, "allow more than the spec says")
	f.BoolVar(&back, "as-spec", false, "take an earlier change back")
	return cmd
}

func (a *app) setLimit(ctx context.Context, h place, plan *vendorapi.Plan, c governor.Change, over bool, n governor.Note) error {
	f, err := fleet.New(plan, h, fleet.Options{})
	if err != nil {
		return err
	}
	limits, _ := f.Limits()
	var names []string
	for _, l := range limits {
		names = append(names, l.Name)
		if l.Name != c.Limit {
			continue
		}
		if over {
			l = governor.Limit{}
		}
		err := governor.SetLimit(ctx, h.Governor(), plan.Name, c, l, n)
		if errors.Is(err, governor.ErrAboveCeiling) {
			return fmt.Errorf("%w: say --over-spec if the vendor really allows it", err)
		} else if err != nil {
			return err
		}
		rep, err := f.GovernorStatus(ctx)
		if err != nil {
			return err
		}
		a.printLimits(plan.Name, rep)
		return nil
	}
	return fmt.Errorf("vendor %s has no limit %q: its limits are %s", plan.Name, c.Limit, list(names))
}

// parseRate reads N/UNIT.
func parseRate(s string) (count int, each time.Duration, err error) {
	n, unit, ok := strings.Cut(s, "/")
	count, convErr := strconv.Atoi(n)
	if unit != "" && (unit[0] < '0' || unit[0] > '9') {
		unit = "1" + unit
	}
	each, durErr := time.ParseDuration(unit)
	if !ok || convErr != nil || durErr != nil || count <= 0 || each <= 0 {
		return 0, 0, fmt.Errorf("%q is no rate: write 5/s, 300/m, 1000/h or 10/5s", s)
	}
	return count, each, nil
}
