package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// limitStatus is one limit as people read it.
type limitStatus struct {
	Limit    string             `json:"limit"`
	Spec     string             `json:"spec"`
	Override string             `json:"override,omitempty"`
	Headers  string             `json:"headers,omitempty"` // what the vendor's headers have lowered it to
	Ease     float64            `json:"ease"`              // the part that brakes have left; 1: all
	Now      string             `json:"now"`
	Rate     float64            `json:"calls_per_second,omitempty"` // that can be used now
	Share    float64            `json:"share"`                      // of the rate that can be used, 0 to 1
	Binds    bool               `json:"binds"`
	Quota    *quotaStatus       `json:"quota,omitempty"`        // where it counts by the day or the hour
	Of       string             `json:"of,omitempty"`           // whose calls count, and how much; empty: all, once
	Used     map[string]float64 `json:"used,omitempty"`         // share of it, by span
	Lost     map[string]float64 `json:"lost_seconds,omitempty"` // that workers waited for it, by span
}

// quotaStatus is where a limit stands that counts by the day or the hour.
type quotaStatus struct {
	Used  int64     `json:"used"`
	Left  int64     `json:"left"`
	Reset time.Time `json:"reset"`
	Text  string    `json:"text"`
}

// limitsDoc is all there is to say about a vendor's limits.
type limitsDoc struct {
	Vendor  string                        `json:"vendor"`
	State   string                        `json:"state"`
	Limits  []limitStatus                 `json:"limits"`
	Budget  string                        `json:"budget,omitempty"`
	Calls   map[string]int                `json:"calls"`                  // by span
	Went    map[string]map[string]float64 `json:"went_seconds,omitempty"` // by span: where the workers' time went
	Said    map[string]string             `json:"vendor_said,omitempty"`
	SaidAt  time.Time                     `json:"vendor_said_at,omitzero"`
	Workers int                           `json:"processes"`
	Changes []governor.Entry              `json:"changes"`
}

// spans are the times over which use is told.
var spans = []struct {
	name string
	d    time.Duration
}{{"minute", time.Minute}, {"10 minutes", 10 * time.Minute}, {"hour", time.Hour}}

// shownChanges is how many of the latest changes are shown unless all are asked
// for.
const shownChanges = 15

const limitsLong = `Limits shows every limit of a vendor: what the spec says, what an operator has
changed, what the vendor's headers or a brake have lowered, what holds now and
which one binds; how much of it was used in the last minute, 10 minutes and hour
(a slice of ten seconds shows when it has ended), and where workers' time went;
what the vendor last said in its headers; and who changed what.`

func (a *app) limitsCommand() *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use: "limits VENDOR|SPEC", Short: "Show a vendor's limits, their use, and who changed what", Long: limitsLong,
		Example: "  sluice limits sim\n  sluice limits set sim calls --rate 300/m --for 2h --why \"their release night\"",
		Args:    args(1, 1, "VENDOR or SPEC"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.governed(args[0], a.existing(args[0]), func(h place, plan *vendorapi.Plan) error {
				doc, err := a.limitsDoc(cmd.Context(), h, plan)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(a.Stdout, doc)
				}
				a.printLimits(doc, all)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().BoolVar(&all, "all", false, fmt.Sprintf("all changes, not only the last %d", shownChanges))
	cmd.AddCommand(a.limitsSetCommand())
	return cmd
}

func (a *app) limitsDoc(ctx context.Context, h place, plan *vendorapi.Plan) (limitsDoc, error) {
	f, err := fleet.New(plan, h, h.Options())
	if err != nil {
		return limitsDoc{}, err
	}
	rep, err := governorOf(ctx, h, f)
	if err != nil {
		return limitsDoc{}, err
	}
	doc := limitsDoc{
		Vendor: plan.Name, State: holdText(rep), Limits: limitsOf(rep), Calls: map[string]int{}, Went: map[string]map[string]float64{},
		Workers: len(rep.Members), Changes: rep.Log,
	}
	if rep.Budget != nil {
		doc.Budget = budgetText(rep.Budget)
	}
	rates := map[string]float64{}
	var times []time.Duration
	for _, l := range rep.Limits {
		if l.Rate > 0 && l.Spec.Of == nil { // else it is not all calls that count
			rates[l.Spec.Name] = l.Rate
		}
	}
	for _, s := range spans {
		times = append(times, s.d)
	}
	uses, err := f.Uses(ctx, rates, times...)
	if err != nil {
		return limitsDoc{}, err
	}
	doc.Said, doc.SaidAt = uses.Said, uses.SaidAt
	for i, u := range uses.Spans {
		doc.used(spans[i].name, u)
	}
	return doc, nil
}

// used notes a span's use with each limit.
func (d *limitsDoc) used(span string, u fleet.Use) {
	d.Calls[span] = u.Calls
	if len(u.Lost) > 0 {
		d.Went[span] = map[string]float64{}
		for what, t := range u.Lost {
			d.Went[span][what] = t.Seconds()
		}
	}
	for i := range d.Limits {
		l := &d.Limits[i]
		if l.Used == nil {
			l.Used, l.Lost = map[string]float64{}, map[string]float64{}
		}
		if share, ok := u.Share[l.Limit]; ok {
			l.Used[span] = share
		}
		if lost := u.Lost["limit "+l.Limit] + u.Lost["in flight "+l.Limit]; lost > 0 {
			l.Lost[span] = lost.Seconds()
		}
	}
}

func budgetText(b *governor.Budget) string {
	s := b.String()
	if b.Calls > 0 {
		s += fmt.Sprintf(", %s used", number(int(b.Used)))
	}
	return s
}

func limitsOf(rep governor.Report) (out []limitStatus) {
	for _, l := range rep.Limits {
		s := limitStatus{Limit: l.Spec.Name, Spec: limitText(l.Spec), Now: limitText(l.Now), Share: l.Share, Ease: l.Ease, Rate: l.Rate, Binds: l.Binds}
		if l.Override.String() != "" {
			s.Override = l.Override.String()
			if !l.Override.Until.IsZero() {
				s.Override += " until " + instantText(l.Override.Until)
				if l.Override.Then != nil {
					s.Override += ", then " + l.Override.Then.String()
				}
			}
		}
		s.Of = scopeText(l.Spec.Of)
		if q := l.Quota; q != nil {
			s.Quota = &quotaStatus{q.Used, q.Left, q.Reset.UTC(), fmt.Sprintf("%s used, %s left until %s", number(int(q.Used)), number(int(q.Left)), l.Spec.ResetText(q.Reset))}
			if q.Values > 0 {
				s.Quota.Text += fmt.Sprintf(", of the one with the most of %s", plural(q.Values, "value"))
			}
		}
		if l.Told != "" {
			s.Headers = l.Told
		}
		if l.Lowered.Count > 0 {
			s.Headers = l.Lowered.Said + " until " + instantText(l.Lowered.Until)
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
	case governor.Calendar:
		parts = append(parts, fmt.Sprintf("%s per calendar %s", number(l.Count), per(l.Per)))
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
	case governor.Day:
		return "day"
	}
	return d.String()
}

// scopeText says whose calls count in a limit, and how much.
func scopeText(of *governor.Scope) string {
	if of == nil {
		return ""
	}
	var parts []string
	if of.Tiers != nil {
		names := slices.Clone(of.Tiers)
		for i, n := range names {
			if n == "" {
				names[i] = "logins"
			}
		}
		parts = append(parts, "calls of "+list(names))
	}
	if of.Each != "" {
		parts = append(parts, "for each of "+of.Each)
	}
	for _, tier := range slices.Sorted(maps.Keys(of.Weight)) {
		parts = append(parts, fmt.Sprintf("%s counts %d", tier, of.Weight[tier]))
	}
	if of.AtMost > 1 {
		parts = append(parts, fmt.Sprintf("a call counts what its answer says, up to %d", of.AtMost))
	}
	return strings.Join(parts, ", ")
}

// limitTable shows what holds now; columns that say nothing are left out.
func limitTable(limits []limitStatus) *table {
	headers, eased := false, false
	for _, l := range limits {
		headers, eased = headers || l.Headers != "", eased || l.Ease < 1
	}
	heads := []string{"limit", "spec", "override"}
	if headers {
		heads = append(heads, "by its headers")
	}
	if eased {
		heads = append(heads, "after a brake")
	}
	t := newTable(append(heads, "now", ">calls", "")...)
	for _, l := range limits {
		row := []any{l.Limit, l.Spec, orNone(l.Override)}
		if headers {
			row = append(row, orNone(l.Headers))
		}
		if eased {
			row = append(row, fmt.Sprintf("%.0f %%", 100*l.Ease))
		}
		calls, binds := "-", ""
		if l.Rate > 0 {
			calls = rate(l.Rate)
		}
		if l.Binds && len(limits) > 1 {
			binds = "binds"
		}
		t.add(append(row, l.Now, calls, binds)...)
	}
	return t
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (a *app) printLimits(doc limitsDoc, all bool) {
	a.print("Vendor %s: %s", doc.Vendor, doc.State)
	limitTable(doc.Limits).write(a.Stdout, "  ")
	for _, l := range doc.Limits {
		if l.Quota != nil {
			a.print("\nLimit %s: %s", l.Limit, l.Quota.Text)
		}
		if l.Of != "" {
			a.print("\nLimit %s: %s", l.Limit, l.Of)
		}
	}
	if doc.Budget != "" {
		a.print("\nBudget: %s", doc.Budget)
	}
	a.print("\nUsed in the last")
	heads := []string{"", ">calls"}
	for _, l := range doc.Limits {
		heads = append(heads, ">of "+l.Limit)
	}
	t := newTable(append(heads, "where the time went")...)
	for _, s := range spans {
		row := []any{s.name, doc.Calls[s.name]}
		for _, l := range doc.Limits {
			share := "-"
			if v, ok := l.Used[s.name]; ok {
				share = fmt.Sprintf("%.1f %%", 100*v)
			}
			row = append(row, share)
		}
		t.add(append(row, parts(doc.Went[s.name], func(what string, _, share float64) string { return fmt.Sprintf("%.0f %% %s", 100*share, what) }))...)
	}
	t.write(a.Stdout, "  ")
	if len(doc.Said) > 0 {
		a.print("\nThe vendor's headers said, %s:", instantText(doc.SaidAt))
		for _, name := range slices.Sorted(maps.Keys(doc.Said)) {
			a.print("  %s: %s", name, doc.Said[name])
		}
	}
	a.printChanges(doc.Changes, all)
}

func (a *app) printChanges(log []governor.Entry, all bool) {
	if len(log) == 0 {
		return
	}
	hidden := 0
	if !all && len(log) > shownChanges {
		hidden = len(log) - shownChanges
		log = log[hidden:]
	}
	if len(log) > 1 {
		a.print("\nChanges, oldest first:")
	} else {
		a.print("\nThe change:")
	}
	t := newTable("when", "what", "from", "to", "by", "why")
	for _, e := range log {
		t.add(instantText(e.At), e.What, e.Old, e.New, e.By, e.Why)
	}
	t.write(a.Stdout, "  ")
	if hidden > 0 {
		a.print("  %s not shown (--all shows them)", plural(hidden, "earlier change"))
	}
}
