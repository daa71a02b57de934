package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.temporal.io/sdk/contrib/envconfig"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/service"
)

func newServeCommand() *cobra.Command {
	var file string
	var printConfig bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Take webhooks, manage runs and serve the API",
		Long: `Takes Spacelift's webhooks, keeps each event in the inbox until Temporal has
it, runs the workflows and serves the API, Swagger UI and metrics.

Configuration comes from a YAML file (--config), then GANTRY_* variables, then
flags, each over the one before. How to reach Temporal is told by the Temporal
SDK's own TEMPORAL_* variables and temporal.toml.`,
		Example: `  # one account, everything from the environment
  GANTRY_ACCOUNT=acme GANTRY_WEBHOOK_SECRET_FILE=/run/secrets/webhook \
  SPACELIFT_API_KEY_ENDPOINT=https://acme.app.spacelift.io \
  SPACELIFT_API_KEY_ID=01KDWKEY000000000000000001 SPACELIFT_API_KEY_SECRET_FILE=/run/secrets/api-key \
  TEMPORAL_ADDRESS=temporal:7233 gantry serve --data /var/lib/gantry`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				file = os.Getenv("GANTRY_CONFIG")
			}
			loaded, err := config.Load(file, os.Environ(), givenSettings(cmd.Flags()))
			if err != nil {
				return err
			}
			if printConfig {
				return loaded.Print(cmd.OutOrStdout())
			}
			if err := loaded.Validate(); err != nil {
				return fmt.Errorf("configuration:\n%w", err)
			}
			log, err := newLogger(cmd.ErrOrStderr(), loaded.Log)
			if err != nil {
				return err
			}
			for _, doubt := range loaded.Warnings() {
				log.WarnContext(cmd.Context(), "configuration: "+doubt)
			}
			temporal, err := envconfig.LoadDefaultClientOptions()
			if err != nil {
				return fmt.Errorf("read TEMPORAL_* and temporal.toml: %w", err)
			}
			return service.Run(cmd.Context(), service.Options{Config: loaded.Config, Temporal: temporal, Version: version, Log: log})
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (GANTRY_CONFIG)")
	cmd.Flags().BoolVar(&printConfig, "print-config", false, "print each setting, its value and where it came from, then exit")
	for _, s := range config.Settings() {
		if s.Flag() != "" {
			cmd.Flags().String(s.Flag(), s.Default, s.Doc+" ("+s.Variable+")")
		}
	}
	return cmd
}

// givenSettings returns the settings that flags gave, by name.
func givenSettings(flags *pflag.FlagSet) map[string]string {
	given := map[string]string{}
	for _, s := range config.Settings() {
		if f := flags.Lookup(s.Flag()); f != nil && f.Changed {
			given[s.Name] = f.Value.String()
		}
	}
	return given
}

// newLogger writes to standard error, which is for logs; standard output is
// for results.
func newLogger(w io.Writer, c config.Log) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %q is none of debug, info, warn and error", c.Level)
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(w, options)), nil
	}
	return slog.New(slog.NewJSONHandler(w, options)), nil
}
