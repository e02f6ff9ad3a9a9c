package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

const readLong = `Read writes the rows of a run to standard output, as one JSON object a line, with
the vendor's own digits: each row once. It reads the landed answers of which the
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
		Example: "  sluice read sim-20260102-4f2k1a > rows.ndjson\n  sluice read sim-20260102-4f2k1a groups --raw",
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
		if plan, err = flags.plan(r.Vendor); err != nil {
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
			if flags.table != "" && plan != nil && plan.TableOf(rec.Task) != flags.table {
				return nil // another branch's
			}
			pages++
			n, err := writeRecord(ctx, out, plan, rec)
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
	if r.State == run.Open {
		summary += "; the run is still open"
	}
	a.say("%s", summary)
	return nil
}

func (f readFlags) plan(vendor string) (*vendorapi.Plan, error) {
	name := vendor
	if f.spec != "" {
		name = f.spec
	}
	if len(f.settings) > 0 {
		return f.settings.plan(name)
	}
	spec, err := loadSpec(name)
	if err != nil {
		return nil, err
	}
	return looked(spec)
}

// tiersWithRows are the tiers to read for rows.
func tiersWithRows(plan *vendorapi.Plan, r run.Run, tier, wanted string) (tiers []string, err error) {
	var tables []string
	for _, t := range plan.Tiers {
		if len(t.Tables) == 0 {
			continue
		}
		tables = append(tables, t.Tables...)
		if (tier == "" || t.Name == tier) && (wanted == "" || slices.Contains(t.Tables, wanted)) && slices.Contains(r.Tiers, t.Name) {
			tiers = append(tiers, t.Name)
		}
	}
	switch {
	case wanted != "" && !slices.Contains(tables, wanted):
		return nil, fmt.Errorf("vendor %s has no table %q: its tables are %s", plan.Name, wanted, list(tables))
	case len(tiers) == 0:
		return nil, fmt.Errorf("tier %s of vendor %s has no such rows (--raw reads its answers)", tier, plan.Name)
	}
	return tiers, nil
}

// writeRecord writes the rows of a landed answer, or without a plan the answer.
func writeRecord(ctx context.Context, w io.Writer, plan *vendorapi.Plan, rec *fanout.Record) (rows int, err error) {
	if plan == nil {
		return 0, writeLine(w, rec.Body)
	}
	for row, err := range plan.Rows(ctx, rec.Task, rec.Cursor, rec.Body) {
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
