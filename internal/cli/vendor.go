package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

func (a *app) vendorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "vendor", Short: "Check and try a vendor's spec; simulate a vendor", Args: cobra.NoArgs, RunE: help,
		Example: "  sluice vendor check my-vendor.yaml\n  sluice vendor preview my-vendor.yaml\n  sluice vendor sim",
	}
	cmd.AddCommand(a.checkCommand(), a.previewCommand(), a.newCommand(), a.recordCommand(), a.testCommand(), a.schemaCommand(), a.simCommand())
	return cmd
}

const checkLong = `Check reads a spec and says all that is wrong with it, one line for each mistake
with its place. A good one is shown as Sluice understands it: its limits and how
much of them can be used, its tiers with their requests, its secrets and whether
they are there, its settings. Nothing is called.

What is no mistake, and hardly meant, is a warning: a tier that no limit binds, or
that makes the same call for every node; a body whose pages go by the query; a
bearer with a space; a secret that is missing; and by sample answers (--sample,
files of JSON) items that find nothing, keys that are not unique, a table without
rows. With --strict a warning ends it with exit code 1, but for missing secrets:
a spec can be checked where it is not run.`

type checkFlags struct {
	settings settings
	samples  []string
	strict   bool
}

func (a *app) checkCommand() *cobra.Command {
	var flags checkFlags
	cmd := &cobra.Command{
		Use: "check SPEC", Short: "Look for mistakes in a spec", Long: checkLong,
		Example: "  sluice vendor check my-vendor.yaml\n  sluice vendor check sim --set base=http://127.0.0.1:8070\n" +
			"  sluice vendor check my-vendor.yaml --sample devices=devices.json --strict",
		Args: args(1, 1, "SPEC: a spec's path or name"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := loadSpec(args[0])
			if err != nil {
				return err
			}
			values, err := flags.settings.values()
			if err != nil {
				return err
			}
			plan, err := looked(spec)
			if len(values) > 0 {
				plan, err = spec.Bind(values)
			}
			if err != nil {
				return err
			}
			warnings, err := a.lint(plan, flags.samples)
			if err == nil {
				err = a.printCheck(spec, plan, values)
			}
			if err != nil {
				return err
			}
			return a.printWarnings(spec, warnings, flags.strict)
		},
	}
	flags.settings.flag(cmd)
	cmd.Flags().StringArrayVar(&flags.samples, "sample", nil, "an answer to look at, as `TIER=FILE` or TIER/BRANCH=FILE (repeat it for more)")
	cmd.Flags().BoolVar(&flags.strict, "strict", false, "exit code 1 if there are warnings")
	return cmd
}

func (a *app) printCheck(spec *vendorapi.Spec, plan *vendorapi.Plan, values map[string]string) error {
	a.print("Vendor %s is fine: %s", spec.Name, orElse(spec.About, "it says nothing about itself"))
	f, err := fleet.New(plan, nowhere{}, fleet.Options{})
	if err != nil {
		return err
	}
	limits, notes := f.Limits()
	a.print("\nLimits, for the whole fleet:")
	t := newTable("limit", "allows", ">share that can be used")
	for _, l := range limits {
		t.add(l.Name, limitText(l), fmt.Sprintf("%.1f %%", 100*l.Share(0)))
	}
	t.write(a.Stdout, "  ")
	for _, n := range notes {
		a.print("  %s", n)
	}
	a.print("\nTiers, top first:")
	t = newTable("tier", "request", "rows to", "")
	for _, tier := range plan.Tiers {
		mark := ""
		if tier.Unique {
			mark = "unique: a node in several lists is walked once"
		}
		t.add(tier.Name, tier.Request, orElse(strings.Join(tier.Tables, ", "), "none"), mark)
	}
	t.write(a.Stdout, "  ")
	a.printNeeds(spec, values)
	a.print("\nZone %s: yesterday is meant in it.", spec.Zone)
	return nil
}

// printNeeds prints the secrets and settings.
func (a *app) printNeeds(spec *vendorapi.Spec, values map[string]string) {
	if len(spec.Secrets) > 0 {
		a.print("\nSecrets:")
		t := newTable("secret", "state", "environment variable")
		for _, name := range spec.Secrets {
			state := "is there"
			if a.secretMissing(spec.Name, name) {
				state = "missing"
			}
			t.add(name, state, vendorapi.SecretEnv(spec.Name, name))
		}
		t.write(a.Stdout, "  ")
	}
	if len(spec.Settings) > 0 {
		a.print("\nSettings:")
		t := newTable("setting", "value", "about")
		for _, s := range spec.Settings {
			value := orElse(values[s.Name], s.Default)
			if value == "" {
				value = "required: --set " + s.Name + "=..."
			}
			t.add(s.Name, value, s.About)
		}
		t.write(a.Stdout, "  ")
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
