package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/vendors"
)

const schemaLong = `Schema prints the JSON schema of specs. An editor that knows it completes fields,
explains them and marks mistakes: write it beside your specs, and begin each with
the line that "sluice vendor new" puts there:

  # yaml-language-server: $schema=schema.json`

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON schema of specs, for editors", Long: schemaLong, Args: cobra.NoArgs,
		Example: "  sluice vendor schema > vendors/schema.json",
		RunE: func(*cobra.Command, []string) error {
			if _, err := a.Stdout.Write(vendors.Schema); err != nil {
				return fmt.Errorf("writing the schema: %w", err)
			}
			return nil
		},
	}
}
