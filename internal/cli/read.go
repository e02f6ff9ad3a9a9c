package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

const readLong = `Read writes the rows of a run to standard output, as one JSON object a line, with
the vendor's own digits: each row once. Of a spec with several tables it reads the
one that --table names, or that of TIER. It reads the landed answers of which the
ledger says that they count, so that what a crash left behind does not show. Rows
are made by the spec as it is now: a changed mapping needs no vendor call.

--raw writes the vendor's answers themselves, one a line, also of tiers that have
no rows.`

type readFlags struct {
	spec, table string
	raw         bool
	settings    settings
}

func (a *app) readCommand() *cobra.Command {
	var flags readFlags
	cmd := &cobra.Command{
		Use: "read RUN [TIER]", Short: "Write the rows of a run, each once", Long: readLong,
		Example: "  sluice read sim-20260102-4f2k1a > rows.ndjson\n  sluice read sim-20260102-4f2k1a --table data > data.ndjson\n  sluice read sim-20260102-4f2k1a groups --raw",
		Args:    args(1, 2, "RUN (sluice status lists them), and perhaps TIER"), ValidArgsFunction: a.completeRunTier,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error {
				r, err := findRun(cmd.Context(), h, args[0])
				if err != nil {
					return err
				}
				tier := ""
				if len(args) > 1 {
					tier = args[1]
					if !slices.Contains(r.Tiers, tier) {
						return noTier(r.Vendor, tier, r.Tiers)
					}
				}
				return a.read(cmd.Context(), h, r, tier, flags)
			})
		},
	}
	cmd.Flags().StringVar(&flags.table, "table", "", "only the rows of this `TABLE`")
	cmd.Flags().BoolVar(&flags.raw, "raw", false, "the vendor's answers instead of rows")
	cmd.Flags().StringVar(&flags.spec, "spec", "", "the spec, if it is not found by the vendor's name")
	flags.settings.flag(cmd)
	return cmd
}

// read writes what counts of a run.
func (a *app) read(ctx context.Context, h place, r run.Run, tier string, flags readFlags) error {
	tiers := []string{tier}
	var plan *vendorapi.Plan
	if !flags.raw {
		var err error
		if plan, err = flags.plan(r); err != nil {
			return err
		}
		if tiers, err = tiersWithRows(plan, r, tier, flags.table); err != nil {
			return err
		}
	}
	out := bufio.NewWriterSize(a.Stdout, 64<<10)
	runs := runsOf(h, r.Vendor, r.Tiers)
	var rows, pages, waste int
	for _, t := range tiers {
		n, err := runs.ReadBack(ctx, r.ID, t, func(rec *fanout.Record) error {
			var wanted []string
			if flags.table != "" && plan != nil {
				if wanted = []string{flags.table}; !slices.Contains(plan.TablesOf(rec.Task), flags.table) {
					return nil // another branch's
				}
			}
			pages++
			n, err := writeRecord(ctx, out, plan, rec, wanted...)
			rows += n
			return err
		})
		waste += n
		if err != nil {
			return fmt.Errorf("reading run %s: %w", r.ID, err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing rows: %w", err)
	}
	summary := plural(pages, "answer")
	if !flags.raw {
		summary = plural(rows, "row") + " of " + summary
	}
	if waste > 0 {
		summary += fmt.Sprintf("; %s left by interrupted calls not counted", number(waste))
	}
	a.say("%s", summary)
	return a.sayLacking(ctx, h, r)
}

// sayLacking says what a run has not read, of which nothing is among its rows.
func (a *app) sayLacking(ctx context.Context, h place, r run.Run) error {
	dead, missing := 0, 0
	if r.State != run.Open && r.Verdict != nil {
		dead, missing = r.Verdict.Dead, r.Verdict.Missing
	} else {
		counts, err := h.Runs().Counts(ctx, r.ID)
		if err != nil {
			return err
		}
		for _, c := range counts {
			dead += c.Dead
		}
	}
	if r.State == run.Open {
		a.say("the run is still open: more rows are to come")
	}
	var parts []string
	if dead > 0 {
		parts = append(parts, "has "+plural(dead, "dead task"))
	}
	if missing > 0 {
		parts = append(parts, "misses "+plural(missing, "task"))
	}
	if len(parts) > 0 {
		a.say("the run %s: their rows are missing, and those of all below them", list(parts))
	}
	return nil
}

// plan is what a run's rows are made by.
func (f readFlags) plan(r run.Run) (*vendorapi.Plan, error) {
	name := cmp.Or(f.spec, r.Vendor)
	spec, err := loadSpec(name)
	if f.spec == "" && errors.Is(err, errNoSpec) && isPath(r.Origin.Spec) {
		return nil, fmt.Errorf("no spec here is called %s, and run %s was begun with a file: say --spec %s", name, r.ID, quote(r.Origin.Spec))
	}
	if err != nil {
		return nil, err
	}
	if len(f.settings) > 0 {
		return f.settings.plan(name)
	}
	return looked(spec)
}

// tiersWithRows are the tiers to read for rows. Those of several tables are not
// mixed: nothing in a row says where it belongs.
func tiersWithRows(plan *vendorapi.Plan, r run.Run, tier, wanted string) (tiers []string, err error) {
	var tables, read []string
	for _, t := range plan.Tiers {
		if len(t.Tables) == 0 {
			continue
		}
		tables = append(tables, t.Tables...)
		if (tier == "" || t.Name == tier) && (wanted == "" || slices.Contains(t.Tables, wanted)) && slices.Contains(r.Tiers, t.Name) {
			tiers, read = append(tiers, t.Name), append(read, t.Tables...)
		}
	}
	slices.Sort(read)
	read = slices.Compact(read)
	switch {
	case wanted == "" && len(read) > 1:
		return nil, fmt.Errorf("these are rows of several tables: choose one by --table %s (or --raw for the answers)", strings.Join(read, ", --table "))
	case wanted != "" && !slices.Contains(tables, wanted):
		return nil, fmt.Errorf("vendor %s has no table %q: its tables are %s", plan.Name, wanted, list(tables))
	case len(tiers) == 0:
		return nil, fmt.Errorf("tier %s of vendor %s has no such rows (--raw reads its answers)", tier, plan.Name)
	}
	return tiers, nil
}

// writeRecord writes the rows of a landed answer, of these tables if any are named,
// or without a plan the answer.
func writeRecord(ctx context.Context, w io.Writer, plan *vendorapi.Plan, rec *fanout.Record, tables ...string) (rows int, err error) {
	if plan == nil {
		return 0, writeLine(w, rec.Body)
	}
	for row, err := range plan.Rows(ctx, rec.Task, rec.Cursor, rec.Body, tables...) {
		if err != nil {
			return rows, fmt.Errorf("rows of %s: %w", run.Name(rec.Task), err)
		}
		if err := writeLine(w, row); err != nil {
			return rows, err
		}
		rows++
	}
	return rows, nil
}

func writeLine(w io.Writer, line []byte) error {
	if _, err := w.Write(line); err != nil {
		return fmt.Errorf("writing rows: %w", err)
	}
	_, err := w.Write([]byte("\n"))
	return err
}
