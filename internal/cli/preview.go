package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/localfleet"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

const previewLong = `Preview asks about a few nodes of each tier, one page each, with all branches but
only the first constants and slice, and shows every request with the first of what was found in its answer: nodes for the tier below,
rows. Secrets are masked. No run is opened and nothing is kept; its calls count in
the vendor's limits like all others, those of a fleet at work included.`

type previewFlags struct {
	window   window
	settings settings
	nodes    int
	calls    int
	show     int
}

func (a *app) previewCommand() *cobra.Command {
	var flags previewFlags
	cmd := &cobra.Command{
		Use: "preview SPEC", Short: "Make a few calls and show what a spec makes of them", Long: previewLong,
		Example: "  sluice vendor preview sim\n  sluice vendor preview my-vendor.yaml --nodes 1 --calls 5",
		Args:    args(1, 1, "SPEC: a spec's path or name"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := flags.settings.plan(args[0])
			if err != nil {
				return err
			}
			w, err := flags.window.in(plan.Zone)
			if err != nil {
				return err
			}
			return a.withPreviewHome(plan.Name, func(h place) error { return a.preview(h, plan, w, flags) })
		},
	}
	flags.window.flags(cmd)
	flags.settings.flag(cmd)
	cmd.Flags().IntVar(&flags.nodes, "nodes", 2, "nodes asked about in each tier")
	cmd.Flags().IntVar(&flags.calls, "calls", 20, "calls in all, at most")
	cmd.Flags().IntVar(&flags.show, "show", 3, "nodes and rows shown of each answer")
	return cmd
}

// withPreviewHome gives the home, whose limits others may be using, too; or for
// the time of the preview one that is thrown away.
func (a *app) withPreviewHome(vendor string, do func(place) error) error {
	if a.settled() {
		return with(a.existing(vendor), a.soft, do)
	}
	dir, err := os.MkdirTemp("", "sluice-preview-")
	if err != nil {
		return fmt.Errorf("making a place for the preview: %w", err)
	}
	open := func(ctx context.Context) (place, error) {
		h, err := localfleet.Open(context.WithoutCancel(ctx), dir)
		if err != nil {
			return nil, err
		}
		return home{h, a.home}, nil
	}
	return errors.Join(with(open, a.soft, do), os.RemoveAll(dir))
}

func (a *app) preview(h place, plan *vendorapi.Plan, w fanout.Window, flags previewFlags) error {
	f, err := a.newFleet(plan, h)
	if err != nil {
		return err
	}
	workers, err := f.Workers(secrets{a, h}, plan.Root("preview", w)[0])
	if err != nil {
		return err
	}
	a.print("Preview of vendor %s, %s; nothing is kept.", plan.Name, windowText(w))
	calls := 0
	err = workers.Client().Preview(a.soft, w, vendorapi.PreviewOptions{
		NodesPerTier: flags.nodes, MaxCalls: flags.calls, Show: flags.show,
		Permit: func(ctx context.Context, c fanout.Call) (fanout.Permit, error) {
			ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			return workers.Governor().Take(ctx, c)
		},
	}, func(s vendorapi.PreviewStep) {
		calls++
		a.printStep(s)
	})
	closing := workers.Close()
	var ce *fanout.CallError
	switch {
	case errors.As(err, &ce) && ce.Class == fanout.Refused && len(plan.Secrets) > 0:
		return fmt.Errorf("vendor %s refused the secret: %w. Correct %s", plan.Name, err, a.secretPlaces(plan, h))
	case errors.Is(err, fanout.ErrNoPermit):
		if rep, statusErr := f.GovernorStatus(a.soft); statusErr == nil && holdText(rep) != "free" {
			return fmt.Errorf("no call can be made: vendor %s is %s. To let it be called again: sluice resume %s%s", plan.Name, holdText(rep), plan.Name, a.homeFlag())
		}
		return err
	case err != nil:
		return err
	}
	a.print("\n%s made.", plural(calls, "call"))
	return closing
}

func (a *app) printStep(s vendorapi.PreviewStep) {
	of := ""
	if s.Part != "" {
		of = " (" + s.Part + ")"
	}
	a.print("\n%s%s  %s", s.Tier, of, s.Request)
	for _, h := range s.Headers {
		name, _, _ := strings.Cut(h, ":")
		if name != "Accept-Encoding" && name != "User-Agent" && h != "Accept: application/json" { // every call has these
			a.print("  %s", h)
		}
	}
	if s.Sent != "" {
		a.print("  %s", s.Sent)
	}
	if s.Err != nil {
		a.print("  failed: %s", oneLine(s.Err))
		return
	}
	more := ""
	if s.More {
		more = ", more pages follow"
	}
	a.print("  status %d, %s%s", s.Status, plural(s.Bytes, "byte"), more)
	if s.Found > 0 || s.Took == 0 {
		a.print("  %s", plural(s.Found, "node"))
	}
	for _, n := range s.Children {
		line := strings.Join(n.Path, " / ")
		for _, name := range slices.Sorted(maps.Keys(n.Carry)) {
			line += fmt.Sprintf("  %s=%s", name, n.Carry[name])
		}
		a.print("    %s", clip(line, 160))
	}
	if s.Rejects > 0 {
		a.print("  %s without a usable key", plural(s.Rejects, "item"))
	}
	if s.Took > 0 {
		a.print("  %s", plural(s.Took, "row"))
	}
	for _, r := range s.Rows {
		a.print("    %s", clip(string(r), 160))
	}
}
