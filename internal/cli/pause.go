package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/governor"
)

func (a *app) pauseCommand() *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use: "pause VENDOR|SPEC", Short: "Stop calling a vendor, everywhere, until resumed",
		Long: `Pause stops the whole fleet from calling a vendor. Calls under way are finished;
runs and workers wait, and say so, until "sluice resume".`,
		Example: "  sluice pause sim --why \"they asked us to\"\n  sluice resume sim",
		Args:    args(1, 1, "VENDOR or SPEC"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error {
				vendor, _, err := vendorOf(cmd.Context(), h, args[0])
				if err != nil {
					return err
				}
				if err := governor.Pause(cmd.Context(), h.Governor(), vendor, governor.Note{By: a.operator(), Why: why}); err != nil {
					return err
				}
				a.print("Vendor %s is paused. Go on with: sluice resume %s%s", vendor, quote(args[0]), a.homeFlag())
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&why, "why", "no reason given", "why, for whoever wonders")
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use: "resume VENDOR|SPEC", Short: "Let a vendor be called again",
		Long: `Resume takes back a pause, and also a stop that came from refused credentials.
Whoever waits goes on at once.`,
		Example: "  sluice resume sim",
		Args:    args(1, 1, "VENDOR or SPEC"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error {
				vendor, _, err := vendorOf(cmd.Context(), h, args[0])
				if err != nil {
					return err
				}
				it, err := h.Governor().Load(cmd.Context(), vendor)
				if err != nil {
					return err
				}
				if governor.Stopped(it, time.Now()).Kind == "" {
					a.print("Vendor %s was not stopped.", vendor)
					return nil
				}
				if err := governor.Resume(cmd.Context(), h.Governor(), vendor, governor.Note{By: a.operator(), Why: why}); err != nil {
					return err
				}
				if it, err = h.Governor().Load(cmd.Context(), vendor); err != nil {
					return err
				}
				if stop := governor.Stopped(it, time.Now()); stop.Kind != "" {
					a.print("Vendor %s is stopped all the same: %s. Once more: sluice resume %s%s", vendor, stop.Why, quote(args[0]), a.homeFlag())
					return nil
				}
				a.print("Vendor %s may be called again.", vendor)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "why, for whoever reads the changes")
	return cmd
}
