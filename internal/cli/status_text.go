package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
)

// went is where a run's time went, in seconds; log is of the vendor's changes.
func went(done series.Sum, opened, end time.Time, log []governor.Entry) map[string]float64 {
	out := map[string]float64{}
	if done.Slices == 0 {
		return out
	}
	holds := slices.Clone(done.Holds)
	for _, h := range governor.Holds(log, end) {
		holds = append(holds, series.Hold(h))
	}
	clock := done.Clock(opened, end, holds)
	series.Trim(clock)
	for what, d := range clock {
		out[what] = d.Seconds()
	}
	return out
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
		for _, line := range v.lines() {
			a.print("%s", line)
		}
		if v.hidden > 0 {
			a.print("\n%s not shown (--all shows them)", plural(v.hidden, "older run"))
		}
	}
}

// lines show a vendor and its runs.
func (v vendorStatus) lines() []string {
	out := []string{fmt.Sprintf("Vendor %s: %s", v.Vendor, v.State)}
	if v.Budget != "" {
		out = append(out, "  Budget: "+v.Budget)
	}
	for _, text := range v.paceText() {
		out = append(out, "  "+text)
	}
	for _, l := range v.Limits {
		out = append(out, "  "+l.text())
	}
	for _, r := range v.Runs {
		out = append(append(out, ""), r.lines()...)
	}
	return out
}

// text is a limit in a line: what holds now first.
func (l limitStatus) text() string {
	s := fmt.Sprintf("Limit %s: ", l.Limit)
	if l.Rate > 0 {
		s += rate(l.Rate) + " now, "
	}
	s += l.Now
	if l.Ease < 1 {
		s += fmt.Sprintf(", %.0f %% of it after a brake", 100*l.Ease)
	}
	if l.Headers != "" {
		s += ", by its headers " + l.Headers
	}
	if l.Quota != nil {
		s += ", " + l.Quota.Text
	}
	if l.Of != "" {
		s += " (" + l.Of + ")"
	}
	if l.Override != "" {
		s += " (changed; spec: " + l.Spec + ")"
	}
	return s
}

// paceText is how fast the vendor is called, and what binds.
func (v vendorStatus) paceText() []string {
	if v.Binds == "" && v.Rate == 0 {
		return nil
	}
	s := "Called at " + rate(v.Rate)
	if v.Used > 0 {
		s += fmt.Sprintf(" in the last minute, %.0f %% of what was allowed", 100*min(v.Used, 1))
	}
	if v.Processes > 1 {
		s += fmt.Sprintf(", by %d processes", v.Processes)
	}
	var more []string
	if v.Binds != "" {
		more = append(more, "Binds: "+v.Binds)
	}
	if v.Latency > 0 {
		more = append(more, fmt.Sprintf("a call takes %.0f ms", v.Latency))
	}
	if v.Throttled > 0 {
		more = append(more, fmt.Sprintf("%s refused with 429 in the last minute", plural(v.Throttled, "call")))
	}
	return []string{s, strings.Join(more, "; ")}
}

func tableLines(t *table) []string {
	var b strings.Builder
	t.write(&b, "  ")
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func (r runStatus) lines() []string {
	out := []string{fmt.Sprintf("Run %s, %s: %s, opened %s", r.Run, r.window, r.State, instantText(r.Opened))}
	discarded := false
	for _, s := range r.Tiers {
		discarded = discarded || s.Discarded > 0
	}
	heads := []string{"tier", ">known", ">", ">done", ">gone", ">dead"}
	if discarded {
		heads = append(heads, ">discarded")
	}
	t := newTable(append(heads, ">in flight", ">waiting", ">missing", ">rows")...)
	for _, s := range r.Tiers {
		of := ""
		switch {
		case r.State != run.Open:
		case !s.Exact && s.Expected > 0:
			of = "of ~" + number(s.Expected)
		case !s.Exact:
			of = "of ?"
		}
		row := []any{s.Tier, s.Known, of, s.Done, s.Gone, s.Dead}
		if discarded {
			row = append(row, s.Discarded)
		}
		t.add(append(row, s.InFlight, s.Waiting, s.Missing, s.Rows)...)
	}
	out = append(out, tableLines(t)...)
	if r.Sum != "" {
		out = append(out, "  "+r.Sum)
	}
	if r.Left != nil {
		out = append(out, "  "+r.Left.text(r.held))
	}
	if len(r.Went) > 0 {
		out = append(out, fmt.Sprintf("  Of %s: %s", span(seconds(r.Took)), shares(r.Went)))
	}
	for _, f := range r.Flags {
		out = append(out, "  Look: "+f)
	}
	return out
}

func (l leftStatus) text(held string) string {
	s := fmt.Sprintf("About %s left, %s calls, until %s", span(seconds(l.Seconds)), number(l.Calls), l.Finish.Local().Format("15:04:05 MST"))
	if held != "" {
		s = fmt.Sprintf("About %s of work left, %s calls; %s", span(seconds(l.Seconds)), number(l.Calls), held)
	}
	if len(l.Estimated) > 0 {
		s += fmt.Sprintf(" (%s estimated)", list(l.Estimated))
	}
	if len(l.Unknown) > 0 {
		s += fmt.Sprintf("; without %s, of which nothing is known yet", list(l.Unknown))
	}
	for _, line := range pauseLines(l.Pauses) {
		s += "; " + line
	}
	return s
}
