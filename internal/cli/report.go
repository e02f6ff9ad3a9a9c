package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/report"
	"github.com/sluicehq/sluice/internal/run"
)

const reportLong = `Report writes one HTML file that tells a run's whole story: the verdict with its
proof; queue depth, calls against the limit, the vendor's answer times and where the
time went, over time; the tree against the last run's; dead letters by cause; who
changed what; and what it cost. The file needs no network and holds no script, so it
can be sent to anyone. An open run is shown as far as it is.

It is written to RUN.html in the working directory unless --out says otherwise
(--out - is standard output). --json prints the figures instead, at every point.`

type reportFlags struct {
	out    string
	asJSON bool
}

func (a *app) reportCommand() *cobra.Command {
	var flags reportFlags
	cmd := &cobra.Command{
		Use: "report RUN", Short: "Write a run's story as one HTML file", Long: reportLong,
		Example: "  sluice report sim-20260102-4f2k1a\n  sluice report sim-20260102-4f2k1a --out - > report.html\n  sluice report sim-20260102-4f2k1a --json",
		Args:    args(1, 1, "RUN (sluice status lists them)"), ValidArgsFunction: a.completeRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error {
				r, err := findRun(cmd.Context(), h, args[0])
				if err != nil {
					return err
				}
				return a.writeReport(cmd.Context(), h, r, flags)
			})
		},
	}
	cmd.Flags().StringVarP(&flags.out, "out", "o", "", "the `FILE` to write (- is standard output; default RUN.html)")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "the figures as JSON, on standard output")
	return cmd
}

func (a *app) writeReport(ctx context.Context, h place, r run.Run, flags reportFlags) error {
	facts, err := a.factsOf(ctx, h, r)
	if err != nil {
		return err
	}
	doc, err := report.Gather(ctx, facts, h.Series())
	if err != nil {
		return err
	}
	if flags.asJSON {
		return writeJSON(a.Stdout, doc)
	}
	var page bytes.Buffer
	if err := report.Write(&page, doc); err != nil {
		return err
	}
	if flags.out == "-" {
		_, err := page.WriteTo(a.Stdout)
		return err
	}
	path := flags.out
	if path == "" {
		path = r.ID + ".html"
	}
	if err := replaceFile(path, page.Bytes()); err != nil {
		return fmt.Errorf("writing the report of run %s: %w", r.ID, err)
	}
	a.print("%s", path)
	return nil
}

// factsOf asks for what is known of a run besides what its fleet did over time.
func (a *app) factsOf(ctx context.Context, h place, r run.Run) (report.Facts, error) {
	f := report.Facts{
		Run: r, Window: windowText(r.Window), Made: time.Now(), OnAWS: a.on == onAWS, Unique: tiersOf(r.Vendor, claimed),
		Lake:  len(r.Tiers) > 0 && slices.Contains(tiersOf(r.Vendor, tabled), r.Tiers[len(r.Tiers)-1]),
		Again: "sluice repair " + r.ID + a.homeFlag(),
	}
	var err error
	if f.Counts, err = h.Runs().Counts(ctx, r.ID); err != nil {
		return f, err
	}
	if f.Last, f.Until, err = neighbours(ctx, h, r); err != nil {
		return f, err
	}
	var causes run.Causes
	if err := h.Runs().DeadTasks(ctx, r.ID, func(d run.DeadTask) error { causes.Add(d); return nil }); err != nil {
		return f, fmt.Errorf("reading the dead tasks of run %s: %w", r.ID, err)
	}
	f.Causes = causes.List()
	rep, err := governor.Status(ctx, h.Governor(), r.Vendor, nil, 0) // for its log: no limit is asked about
	f.Log = rep.Log
	return f, err
}

// neighbours are the last run before r that has a verdict over a whole tree (nil:
// there is none), and when a newer run of its window took its place.
func neighbours(ctx context.Context, h place, r run.Run) (last *run.Run, until time.Time, err error) {
	all, err := h.Runs().List(ctx, r.Vendor)
	if err != nil {
		return nil, until, err
	}
	for _, b := range all { // newest first
		switch {
		case b.ID == r.ID:
		case b.Opened.After(r.Opened):
			if b.Window.From.Equal(r.Window.From) && b.Window.To.Equal(r.Window.To) {
				until = b.Opened
			}
		case last == nil && b.Whole():
			last = &b
		}
	}
	return last, until, nil
}

// replaceFile writes a file beside the one of that name, and puts it in its
// place when it is whole.
func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone by then, if all went well
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
