package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/lake"
)

const lakeShowLong = `Show prints a run's manifest: the verdict that it was published with, how many landed
answers count, its tables with their files, and what was left out. --json prints all
of it, also each file's checksum and key range.`

func (a *app) lakeShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show RUN", Short: "Show what a run was published as", Long: lakeShowLong,
		Example: "  sluice lake show sim-20260102-4f2k1a\n  sluice lake show sim-20260102-4f2k1a --json",
		Args:    args(1, 1, "RUN (sluice status lists them)"), ValidArgsFunction: a.completeRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error {
				pub, root, err := a.manifestOf(cmd.Context(), h, args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(a.Stdout, pub)
				}
				a.printManifest(pub, root)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// manifestOf is the manifest of a run whose rows count.
func (a *app) manifestOf(ctx context.Context, h place, id string) (pub lake.Publication, root string, err error) {
	r, err := findRun(ctx, h, id)
	if err != nil {
		return pub, "", err
	}
	c, t, err := catalogOf(ctx, h, r.Vendor)
	if err != nil {
		return pub, "", err
	}
	line, ok := lineOf(c, r.ID)
	if !ok {
		why := strings.Join(whyUnpublished(c, r), "; ")
		if why == "" {
			why = "it is " + string(r.State) + " (sluice status " + r.Vendor + a.homeFlag() + ")"
		}
		return pub, "", fmt.Errorf("run %s is not published: %s", r.ID, why)
	}
	pub, err = lake.Manifest(ctx, t.Store, line)
	return pub, t.root, err
}

func (a *app) printManifest(pub lake.Publication, root string) {
	a.print("Run %s of vendor %s, %s: published %s.", pub.Run.ID, pub.Vendor, windowText(pub.Run.Window), instantText(pub.Published))
	if v := pub.Run.Verdict; v != nil {
		a.print("  %s", v.Sum())
	}
	a.print("  %s in them; %s left by interrupted calls not counted; spec %s", plural(pub.Pages, "landed answer"), number(pub.Waste), pub.Spec)
	for _, line := range publishedText(pub) {
		a.print("  %s", line)
	}
	for _, left := range pub.Left {
		a.print("  left out: %s (%s), by %s: %s", left.Object, left.Reason, left.Discarded.By, left.Discarded.Why)
	}
	files := newTable("file", ">rows", ">size")
	for _, t := range pub.Tables {
		for _, f := range t.Files {
			files.add(root+"/"+f.Name, f.Rows, size(f.Bytes))
		}
	}
	a.print("")
	files.write(a.Stdout, "  ")
}
