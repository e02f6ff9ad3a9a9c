package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

func noTier(vendor, tier string, tiers []string) error {
	return fmt.Errorf("vendor %s has no tier %q: its tiers are %s", vendor, tier, list(tiers))
}

// completeSpec completes a spec: its name, or a file.
func (a *app) completeSpec(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return knownSpecs(), cobra.ShellCompDirectiveDefault
}

// completeSpecTier completes a spec, then one of its tiers.
func (a *app) completeSpecTier(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeSpec(cmd, args, word)
	}
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return tiersOf(args[0], anyTier), cobra.ShellCompDirectiveNoFileComp
}

// tiersOf are tiers of a spec, if there is one of that name.
func tiersOf(name string, wanted func(vendorapi.Tier) bool) (tiers []string) {
	spec, err := loadSpec(name)
	if err != nil {
		return nil
	}
	plan, err := looked(spec)
	if err != nil {
		return nil
	}
	for _, t := range plan.Tiers {
		if wanted(t) {
			tiers = append(tiers, t.Name)
		}
	}
	return tiers
}

func anyTier(vendorapi.Tier) bool { return true }

// claimed tells whether a tier's nodes are claimed.
func claimed(t vendorapi.Tier) bool { return t.Unique }

// tabled tells whether a tier's rows become tables.
func tabled(t vendorapi.Tier) bool { return len(t.Tables) > 0 }

// completeSpecLimit completes a spec, then one of its limits.
func (a *app) completeSpecLimit(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeSpec(cmd, args, word)
	}
	var names []string
	if spec, err := loadSpec(args[0]); err == nil && len(args) == 1 {
		if plan, err := looked(spec); err == nil {
			for _, l := range plan.Limits {
				names = append(names, l.Name)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeRun completes a run's ID.
func (a *app) completeRun(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, r := range a.runsHere() {
		ids = append(ids, r.ID)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// completeRunTier completes a run's ID, then one of its tiers.
func (a *app) completeRunTier(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return a.completeRun(cmd, args, word)
	}
	for _, r := range a.runsHere() {
		if r.ID == args[0] {
			return r.Tiers, cobra.ShellCompDirectiveNoFileComp
		}
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// runsHere are the runs of the home, if there is one.
func (a *app) runsHere() (runs []run.Run) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = a.lookAround(ctx, nil, func(h place) error { // no home, nothing to offer
		more, err := h.Runs().List(ctx, "")
		runs = append(runs, more...)
		return err
	})
	return runs
}
