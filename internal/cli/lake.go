package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

const lakeLong = `Lake is what has landed as tables: Parquet that DuckDB, Athena and Snowflake read.
A run's answers are converted as they land. When the run is closed and its verdict
allows it, its tables are published: all of them from one moment on, each row once.
"sluice run" does that by itself, and on AWS the fleet does. A run that is not
complete is not published, and "sluice lake tables" says why.`

func (a *app) lakeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "lake", Short: "Tables for DuckDB, Athena and Snowflake", Long: lakeLong, Args: cobra.NoArgs, RunE: help,
		Example: "  sluice lake tables\n  sluice lake sql duckdb sim\n  sluice lake export sim metrics > metrics.csv",
	}
	cmd.AddCommand(a.lakeTablesCommand(), a.lakeShowCommand(), a.lakeSQLCommand(), a.lakeExportCommand(),
		a.lakePublishCommand(), a.lakeRebuildCommand(), a.lakeDeadCommand(), a.lakeRetryCommand(), a.lakeDiscardCommand())
	return cmd
}

// tables are a place's lake.
type tables struct {
	lake.Store
	root                   string // where it is, for those who read it
	temp                   string // where files are made; empty: the system's directory
	bucket, prefix, region string // in S3
}

// lakeOf is a vendor's part of the lake of a place.
func (a *app) lakeOf(plan *vendorapi.Plan, h place) (*lake.Lake, error) {
	t, err := h.Tables()
	if err != nil {
		return nil, err
	}
	return &lake.Lake{Plan: plan, Store: t.Store, Landing: h.Landing(plan.Name), Runs: h.Runs(), Temp: t.temp, Log: a.log}, nil
}

// catalogOf is what the lake of a place holds of a vendor, or of all.
func catalogOf(ctx context.Context, h place, vendor string) (lake.Catalog, tables, error) {
	t, err := h.Tables()
	if err != nil {
		return lake.Catalog{}, t, err
	}
	c, err := lake.Read(ctx, t.Store, vendor)
	return c, t, err
}

// published is what is published of a vendor, which may be named by its spec: some
// table at least.
func (a *app) published(ctx context.Context, h place, name string) (vendor string, c lake.Catalog, t tables, err error) {
	if vendor, _, err = vendorOf(ctx, h, name); err != nil {
		return vendor, c, t, err
	}
	if c, t, err = catalogOf(ctx, h, vendor); err != nil {
		return vendor, c, t, err
	}
	if len(c.Tables) == 0 {
		err = a.noTables(vendor)
	}
	return vendor, c, t, err
}

func (a *app) noTables(vendor string) error {
	return fmt.Errorf("no table of vendor %s is published: sluice lake tables %s%s says why, sluice lake publish RUN publishes a closed run", vendor, quote(vendor), a.homeFlag())
}

// madeBy are flags that say by which spec rows are made.
type madeBy struct {
	spec     string
	settings settings
}

func (m *madeBy) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&m.spec, "spec", "", "the spec that rows are made by, if it is another than the run was begun with")
	m.settings.flag(cmd)
}

// plan is what a run's rows are made by: the spec that is named, or else the one
// that it was begun with, and its settings.
func (m madeBy) plan(r run.Run) (*vendorapi.Plan, error) {
	name, set := cmp.Or(m.spec, r.Origin.Spec, r.Vendor), m.settings
	if len(set) == 0 {
		set = r.Origin.Settings
	}
	plan, err := set.plan(name)
	switch {
	case errors.Is(err, errNoSpec) && m.spec == "":
		return nil, fmt.Errorf("run %s was begun with a spec that is not here any more: say --spec (%w)", r.ID, err)
	case err != nil:
		return nil, err
	case plan.Name != r.Vendor:
		return nil, fmt.Errorf("the spec %s is of vendor %s, and run %s one of vendor %s", name, plan.Name, r.ID, r.Vendor)
	}
	return plan, nil
}

// lakeOfRun is the run of an ID, and its vendor's part of the lake.
func (a *app) lakeOfRun(ctx context.Context, h place, id string, by madeBy) (run.Run, *lake.Lake, error) {
	r, err := findRun(ctx, h, id)
	if err != nil {
		return r, nil, err
	}
	plan, err := by.plan(r)
	if err != nil {
		return r, nil, err
	}
	l, err := a.lakeOf(plan, h)
	return r, l, err
}

// notesOf is the lake as far as notes about a run need it: no spec.
func (a *app) notesOf(ctx context.Context, h place, id string) (run.Run, *lake.Lake, error) {
	r, err := findRun(ctx, h, id)
	if err != nil {
		return r, nil, err
	}
	l, err := a.lakeOf(&vendorapi.Plan{Name: r.Vendor}, h)
	return r, l, err
}

// completeTable completes a vendor, then one of its tables.
func (a *app) completeTable(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeSpec(cmd, args, word)
	}
	var names []string
	if spec, err := loadSpec(args[0]); err == nil && len(args) == 1 {
		if plan, err := looked(spec); err == nil {
			for _, t := range plan.Lake.Tables {
				names = append(names, t.Name)
			}
		}
	}
	slices.Sort(names)
	return names, cobra.ShellCompDirectiveNoFileComp
}
