package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/run"
)

const lakePublishLong = `Publish makes the tables of a closed run: what is not converted yet is converted,
the records that the ledger names are merged, sorted and written, and one write
switches all tables to them. It may be interrupted at any point and typed again, and
of a run that is published already it changes nothing.

A run that its verdict does not allow to be published is left alone, and what is
missing is said (exit code 1).`

func (a *app) lakePublishCommand() *cobra.Command {
	var by madeBy
	cmd := &cobra.Command{
		Use: "publish RUN", Short: "Publish the tables of a closed run", Long: lakePublishLong,
		Example: "  sluice lake publish sim-20260102-4f2k1a",
		Args:    args(1, 1, "RUN (sluice status lists them)"), ValidArgsFunction: a.completeRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error {
				r, l, err := a.lakeOfRun(cmd.Context(), h, args[0], by)
				if err != nil {
					return err
				}
				publish := publication
				if by.spec != "" || len(by.settings) > 0 {
					publish = func(ctx context.Context, l *lake.Lake, r run.Run) (lake.Publication, error) {
						return l.Publish(ctx, r.ID, time.Time{})
					}
				}
				pub, err := publish(cmd.Context(), l, r)
				if err != nil {
					return a.notPublished(err, "sluice lake publish "+r.ID)
				}
				a.printPublication(h, pub)
				return nil
			})
		},
	}
	by.register(cmd)
	return cmd
}

const lakeRebuildLong = `Rebuild makes the tables of published runs anew from the answers that landed, without
a call to the vendor: because the spec makes other rows of them now, or declares
other types. Until all is written, readers see the tables as they were; then one
write switches all the runs.

--all rebuilds every published run of a vendor, and decides about all columns anew;
with --run the columns stay, and grow.`

func (a *app) lakeRebuildCommand() *cobra.Command {
	var by madeBy
	var runs []string
	var vendor string
	cmd := &cobra.Command{
		Use: "rebuild --all VENDOR | --run RUN ...", Short: "Make tables anew from what landed", Long: lakeRebuildLong,
		Example: "  sluice lake rebuild --all sim\n  sluice lake rebuild --all acme --spec acme-new.yaml\n  sluice lake rebuild --run sim-20260102-4f2k1a --run sim-20260103-1k9d2c",
		Args:    args(0, 0, "--all VENDOR, or --run RUN"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (vendor == "") == (len(runs) == 0) {
				return errors.New("which runs? Give either --all VENDOR or --run RUN (again for more)")
			}
			return with(a.existing(append(runs, vendor)[0]), a.soft, func(h place) error {
				return a.rebuild(cmd.Context(), h, vendor, runs, by)
			})
		},
	}
	cmd.Flags().StringVar(&vendor, "all", "", "every published run of this `VENDOR`")
	cmd.Flags().StringArrayVar(&runs, "run", nil, "this `RUN` (repeat it for more)")
	_ = cmd.RegisterFlagCompletionFunc("run", a.completeRunFlag)
	_ = cmd.RegisterFlagCompletionFunc("all", a.completeSpec)
	by.register(cmd)
	return cmd
}

func (a *app) rebuild(ctx context.Context, h place, name string, ids []string, by madeBy) error {
	again := "sluice lake rebuild"
	if name != "" {
		vendor, _, err := vendorOf(ctx, h, name)
		if err != nil {
			return err
		}
		if ids, err = publishedRuns(ctx, h, vendor); err != nil {
			return err
		}
		if len(ids) == 0 {
			return a.noTables(vendor)
		}
		again += " --all " + quote(name)
	} else {
		again += " --run " + strings.Join(ids, " --run ")
	}
	r, l, err := a.lakeOfRun(ctx, h, ids[0], by)
	if err != nil {
		return err
	}
	for _, id := range ids[1:] {
		if other, err := findRun(ctx, h, id); err != nil {
			return err
		} else if other.Vendor != r.Vendor {
			return fmt.Errorf("run %s is one of vendor %s, and run %s one of %s: rebuild one vendor after the other", r.ID, r.Vendor, id, other.Vendor)
		}
	}
	all, err := l.Rebuild(ctx, ids, time.Time{})
	if err != nil {
		return a.notPublished(err, again)
	}
	for _, pub := range all {
		a.printPublication(h, pub)
	}
	return nil
}

// publishedRuns are a vendor's runs whose rows count, by window; the newest spec
// is that of the last.
func publishedRuns(ctx context.Context, h place, vendor string) (ids []string, err error) {
	c, _, err := catalogOf(ctx, h, vendor)
	seen := map[string]bool{}
	for _, t := range c.Tables {
		for _, line := range t.Lines {
			if line.Vendor == vendor && !seen[line.Run] {
				seen[line.Run] = true
				ids = append([]string{line.Run}, ids...)
			}
		}
	}
	return ids, err
}

// notPublished says why nothing was switched, and what to type again.
func (a *app) notPublished(err error, again string) error {
	var refused *lake.Refused
	switch {
	case errors.As(err, &refused):
		a.say("Run %s is not published:", refused.Run)
		for _, why := range refused.Reasons {
			a.say("  %s", why)
		}
		return &exit{code: exitIncomplete}
	case a.soft.Err() != nil:
		return &exit{code: exitStopped, err: fmt.Errorf("stopped before the tables were switched: readers see what they saw. Go on with: %s%s", again, a.homeFlag())}
	case errors.Is(err, lake.ErrUnfinished):
		return &exit{code: exitStopped, err: fmt.Errorf("%w. Go on with: %s%s", err, again, a.homeFlag())}
	}
	return err
}

// printPublication says what was published of a run.
func (a *app) printPublication(h place, pub lake.Publication) {
	done := "published"
	if pub.Unchanged {
		done = "published already, nothing has changed"
	}
	a.print("Run %s: %s.", pub.Run.ID, done)
	for _, line := range publishedText(pub) {
		a.print("  %s", line)
	}
	a.print("Read it: %s", a.readTables(pub.Vendor))
}

func (a *app) readTables(vendor string) string {
	engine := "duckdb"
	if a.on == onAWS {
		engine = "athena"
	}
	return "sluice lake sql " + engine + " " + quote(vendor) + a.homeFlag()
}

// publishedText is what was published, a line for each table and each note.
func publishedText(pub lake.Publication) (out []string) {
	for _, t := range pub.Tables {
		var bytes int64
		for _, f := range t.Files {
			bytes += f.Bytes
		}
		out = append(out, fmt.Sprintf("%s: %s in %s, %s", t.Table, plural(t.Rows, "row"), plural(len(t.Files), "file"), size(bytes)))
		for _, text := range changeText(t.Change) {
			out = append(out, fmt.Sprintf("%s: %s", t.Table, text))
		}
		for _, m := range t.Misfits {
			out = append(out, fmt.Sprintf("%s: %s of column %s did not fit its type, such as %s: they stand in _variant", t.Table, plural(m.Rows, "value"), m.Column, m.Example))
		}
	}
	if n := len(pub.Left); n > 0 {
		out = append(out, fmt.Sprintf("without %s that an operator has left out", plural(n, "landed object")))
	}
	return append(out, pub.Notes...)
}

// changeText is what a publication changed about a table's columns, in words.
func changeText(c lake.Change) (out []string) {
	for _, part := range []struct {
		what  string
		names []string
	}{
		{"new columns", c.New}, {"columns without a value this time", c.Vanished}, {"wider types", c.Widened},
		{"fields that were always null, no columns yet", c.Empty}, {"fields that the contract sends to _variant", c.Left},
	} {
		if len(part.names) > 0 {
			out = append(out, part.what+": "+list(part.names))
		}
	}
	return out
}

// size is a number of bytes as people read it.
func size(n int64) string {
	switch {
	case n < 1000:
		return plural(int(n), "byte")
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// convertPause is after how long it is looked again for what has landed.
const convertPause = 2 * time.Second

// convert converts what a run lands while it goes on, until end is called, which
// waits for it. On AWS the fleet does that.
func (j *job) convert(id string) (end func()) {
	if !j.makesTables() {
		return func() {}
	}
	l, err := j.lakeOf(j.fleet.Plan, j.home)
	if err != nil {
		j.log.Warn("converting what lands", "err", err)
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(j.soft))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Follow(ctx, id, convertPause)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// makesTables tells whether this process publishes what it reads.
func (j *job) makesTables() bool {
	return j.on != onAWS && !j.flags.noLake && len(j.fleet.Plan.Lake.Tables) > 0
}

// publish publishes a run that has ended, unless it is published as it is, and
// says what came of it. A run whose verdict forbids it is not published; that is
// said, and no failure of its own.
func (j *job) publish(r run.Run, v run.Verdict) error {
	if !v.Settled() {
		return nil
	}
	if s, ok := j.home.(*stack); ok {
		s.sayTables(r.Vendor)
	}
	if !j.makesTables() {
		return nil
	}
	again := "sluice lake publish " + r.ID + j.specFlag()
	if j.soft.Err() != nil {
		return j.notPublished(j.soft.Err(), again)
	}
	l, err := j.lakeOf(j.fleet.Plan, j.home)
	if err != nil {
		return err
	}
	pub, err := publication(j.soft, l, r)
	var refused *lake.Refused
	switch {
	case errors.As(err, &refused):
		j.print("%-9s not published: %s", "Tables", strings.Join(refused.Reasons, "; "))
		return nil
	case err != nil:
		err = j.notPublished(err, again)
		var stopped *exit
		if errors.As(err, &stopped) {
			return err
		}
		return fmt.Errorf("the run has ended, and its tables could not be published: %w. Again: %s%s", err, again, j.homeFlag())
	}
	what := "Tables"
	for _, line := range publishedText(pub) {
		j.print("%-9s %s", what, line)
		what = ""
	}
	t, err := j.home.Tables()
	if err == nil {
		j.print("%-9s in %s", what, t.root)
		j.print("%-9s read them by: %s", what, j.readTables(r.Vendor))
	}
	return err
}

// sayTables says where to look for what the fleet publishes.
func (s *stack) sayTables(vendor string) {
	if s.Stack().Lake.Queue != "" {
		s.app.print("%-9s the fleet publishes them: sluice lake tables %s%s", "Tables", quote(vendor), s.app.homeFlag())
	}
}

// publication publishes a run. One that stands as it is now is not made anew, by
// whatever spec it was made: that is what rebuild is for.
func publication(ctx context.Context, l *lake.Lake, r run.Run) (lake.Publication, error) {
	now, err := l.Runs.Get(ctx, r.ID)
	if err != nil {
		return lake.Publication{}, err
	}
	c, err := lake.Read(ctx, l.Store, r.Vendor)
	if err != nil {
		return lake.Publication{}, err
	}
	if line, ok := lineOf(c, r.ID); ok && line.Rev == now.Rev && now.State == run.Closed {
		pub, err := lake.Manifest(ctx, l.Store, line)
		pub.Unchanged = true
		return pub, err
	}
	return l.Publish(ctx, r.ID, time.Time{})
}

// lineOf is the newest line of a run in a catalog.
func lineOf(c lake.Catalog, id string) (found lake.Line, ok bool) {
	for _, t := range c.Tables {
		for _, line := range t.Lines {
			if line.Run == id && (!ok || line.Published.After(found.Published)) {
				found, ok = line, true
			}
		}
	}
	return found, ok
}
