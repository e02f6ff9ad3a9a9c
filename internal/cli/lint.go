package cli

import (
	"fmt"
	"os"

	"github.com/sluicehq/sluice/internal/vendorapi"
)

// lint says what in a spec is no mistake, and still hardly meant. What it does not
// say is that secrets are missing: that is of this machine, not of the spec.
func (a *app) lint(plan *vendorapi.Plan, samples []string) ([]string, error) {
	out := plan.Lint()
	tiers, files, err := tierValues("sample", samples)
	if err != nil {
		return nil, err
	}
	for i, tier := range tiers {
		body, err := os.ReadFile(files[i])
		if err != nil {
			return nil, fmt.Errorf("the sample %s: %w", files[i], plainFile(err))
		}
		found, err := plan.LintSample(a.soft, tier, body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files[i], err)
		}
		out = append(out, found...)
	}
	return out, nil
}

// secretMissing tells whether a secret is in neither place.
func (a *app) secretMissing(vendor, name string) bool {
	if a.Getenv(vendorapi.SecretEnv(vendor, name)) != "" {
		return false
	}
	_, err := (vendorapi.HomeSecrets{Home: a.home}).Secret(vendor, name)
	return err != nil
}

// printWarnings ends with an error if one of them counts.
func (a *app) printWarnings(spec *vendorapi.Spec, warnings []string, strict bool) error {
	shown := warnings
	for _, name := range spec.Secrets {
		if a.secretMissing(spec.Name, name) {
			shown = append(shown, fmt.Sprintf("secret %s is missing: nothing can be called without it", name))
		}
	}
	if len(shown) > 0 {
		a.print("\nWarnings:")
	}
	for _, w := range shown {
		a.print("  %s.", w)
	}
	if strict && len(warnings) > 0 {
		return &exit{code: exitIncomplete}
	}
	return nil
}
