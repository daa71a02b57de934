package main

import (
	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/config"
)

func newSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration file, for editors",
		Long: `Prints the JSON Schema of the configuration file. With it, an editor completes
settings, explains them and marks mistakes. For editors with the YAML language
server, begin the configuration file with this line:

  # yaml-language-server: $schema=gantry.schema.json`,
		Example: "  gantry schema > gantry.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return output.WriteJSON(cmd.OutOrStdout(), config.Schema(), "  ")
		},
	}
}
