package cli

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/run"
)

// maxNamed is how many dead or missing tasks are named.
const maxNamed = 20

// finish prints a run's verdict and makes the exit code of it. Without a watch
// nothing was called.
func (j *job) finish(r run.Run, v run.Verdict, w *watch) error {
	r.Window = inZone(r.Window, j.fleet.Plan.Zone)
	j.printVerdict(r, v)
	var rows [][2]string
	if v.Rows > 0 {
		rows = append(rows, [2]string{"Rows", number(v.Rows)})
	}
	rows = append(rows, [2]string{"Data", j.home.Data(r)})
	if w != nil {
		rows = append(rows, w.costs()...)
	}
	for _, row := range rows {
		j.print("%-9s %s", row[0], row[1])
	}
	publishing := j.publish(r, v)
	if v.Complete() {
		if v.Rows > 0 && !j.demo {
			j.readNext(r)
		}
		return publishing
	}
	j.named(r, v)
	if publishing != nil {
		return publishing
	}
	return &exit{code: exitIncomplete}
}

// printVerdict prints the equation and the table of tiers.
func (a *app) printVerdict(r run.Run, v run.Verdict) {
	state := "complete"
	switch {
	case v.Missing > 0 || v.Strays > 0:
		state = "not complete"
	case !v.Complete():
		state = "ended, but not complete"
	}
	a.print("Run %s of vendor %s, %s: %s.\n", r.ID, r.Vendor, windowText(r.Window), state)
	a.print("  %s\n", v.Sum())
	tierTable(v).write(a.Stdout, "  ")
	a.print("")
	for _, f := range fleet.Flags(r) {
		a.print("Look: %s.", f)
	}
	for _, p := range v.Problems {
		a.print("Problem: %s. Correct the spec, then read the window anew with --again.", p)
	}
	if v.Discarded > 0 {
		a.print("Discarded by an operator (why: sluice dead show %s NAME%s; nothing below them was read):", r.Vendor, a.homeFlag())
		a.names(v.DiscardedNames, v.Discarded)
		a.print("")
	}
	if v.Gone > 0 {
		a.print("Gone at the vendor (it answered 404 or 410; nothing below them was read):")
		a.names(v.GoneNames, v.Gone)
		a.print("")
	}
}

// tierTable has a column for what was discarded only if something was.
func tierTable(v run.Verdict) *table {
	if v.Discarded == 0 {
		t := newTable("tier", ">known", ">done", ">gone", ">dead", ">missing", ">rows")
		for _, s := range v.Tiers {
			t.add(s.Tier, s.Known, s.Done, s.Gone, s.Dead, s.Missing, s.Rows)
		}
		return t
	}
	t := newTable("tier", ">known", ">done", ">gone", ">dead", ">discarded", ">missing", ">rows")
	for _, s := range v.Tiers {
		t.add(s.Tier, s.Known, s.Done, s.Gone, s.Dead, s.Discarded, s.Missing, s.Rows)
	}
	return t
}

// readNext says how the rows are read, table by table.
func (j *job) readNext(r run.Run) {
	var tables []string
	for _, t := range j.fleet.Plan.Tiers {
		tables = append(tables, t.Tables...)
	}
	slices.Sort(tables)
	tables = slices.Compact(tables)
	what := "Next"
	for _, table := range tables {
		only, file := "", "rows"
		if len(tables) > 1 {
			only, file = " --table "+table, table
		}
		j.print("%-9s sluice read %s%s%s%s > %s.ndjson", what, r.ID, only, j.specFlag(), j.homeFlag(), file)
		what = ""
	}
}

// specFlag names the spec to read by, if the vendor's name does not.
func (j *job) specFlag() string {
	if !isPath(j.flags.spec) {
		return ""
	}
	return " --spec " + quote(j.flags.spec)
}

// named names what is dead or missing, and what to type next.
func (j *job) named(r run.Run, v run.Verdict) {
	a, home, spec := j.app, j.homeFlag(), quote(j.flags.spec)
	if v.Dead > 0 {
		a.print("\n%s:", plural(v.Dead, "dead task"))
		a.names(v.DeadNames, v.Dead)
		if v.Hidden > 0 {
			a.print("What lies below them was not read: %s in the last run.", plural(v.Hidden, "task"))
		} else if v.Hidden < 0 && !lastTierOnly(v) {
			a.print("What lies below them was not read; there is no earlier run to tell how much that is.")
		}
		a.print("Why:        sluice dead %s%s", spec, home)
		a.print("Once more:  sluice replay %s%s", spec, home)
	}
	if v.Missing > 0 {
		a.print("\n%s:", plural(v.Missing, "missing task"))
		a.names(v.MissingNames, v.Missing)
		a.print("Send them:  sluice repair %s%s", r.ID, home)
	}
	if v.Strays > 0 {
		a.print("\n%s ended that no recorded list holds: the home was changed by something else.", plural(v.Strays, "task"))
	}
}

// lastTierOnly tells whether nothing can lie below the dead.
func lastTierOnly(v run.Verdict) bool {
	last := len(v.Tiers) - 1
	return last >= 0 && v.Tiers[last].Dead == v.Dead
}

func (a *app) names(names []string, of int) {
	for _, n := range names[:min(len(names), maxNamed)] {
		a.print("  %s", n)
	}
	if more := of - min(len(names), maxNamed); more > 0 {
		a.print("  and %s more", number(more))
	}
}

// costs are what this process did for the verdict.
func (w *watch) costs() (rows [][2]string) {
	r := w.workers.Report()
	calls := number(r.Calls) + " by this process"
	took := w.last.Sub(w.first)
	if r.Calls > 0 {
		calls += " in " + span(took)
	}
	if w.limit > 0 && took >= 2*time.Second {
		got := float64(r.Calls) / took.Seconds()
		calls += fmt.Sprintf(": %s, %.1f %% of the limit of %s", rate(got), 100*got/w.limit, rate(w.limit))
	}
	rows = append(rows, [2]string{"Calls", calls})
	if n := r.Failed[fanout.Throttled]; n > 0 {
		rows = append(rows, [2]string{"Refused", plural(n, "call") + " answered with slow down"})
	}
	rows = append(rows, [2]string{"Waiting", fmt.Sprintf("%s for the limiter, %s for the vendor (added up over all tasks)", span(r.Permits), span(r.Vendor))})
	return rows
}

// isIncomplete tells whether a verdict has been printed that was not complete.
func isIncomplete(err error) bool {
	var e *exit
	return errors.As(err, &e) && e.code == exitIncomplete
}
