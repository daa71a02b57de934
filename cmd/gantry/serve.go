package main

import (
	"errors"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/service"
)

func newServeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive webhooks, manage runs and serve the API",
		Long: `Receives Spacelift's webhooks, stores each event in the inbox until Temporal has
it, runs the workflows and serves the API, Swagger UI and metrics.

Configuration comes from a YAML file (--config), GANTRY_* variables and flags;
the later ones win. The Temporal SDK's own TEMPORAL_* variables and
temporal.toml configure the credentials for Temporal, and its address too.`,
		Example: `  # one account, everything from the environment
  GANTRY_ACCOUNT=acme GANTRY_WEBHOOK_SECRET_FILE=/run/secrets/webhook \
  SPACELIFT_API_KEY_ENDPOINT=https://acme.app.spacelift.io \
  SPACELIFT_API_KEY_ID=01KDWKEY000000000000000001 SPACELIFT_API_KEY_SECRET_FILE=/run/secrets/api-key \
  TEMPORAL_ADDRESS=temporal:7233 gantry serve --data /var/lib/gantry`,
		Args: cobra.NoArgs,
	}
	file := configFlag(cmd)
	printConfig := cmd.Flags().Bool("print-config", false, "print each setting, its value and its origin, then exit")
	for _, s := range config.Settings() {
		if s.Flag() != "" {
			cmd.Flags().String(s.Flag(), s.Default, s.Doc+" ("+s.Variable+")")
		}
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := file.load(givenSettings(cmd.Flags()))
		if *printConfig { // the values of a configuration with mistakes help to find them
			return errors.Join(loaded.Print(cmd.OutOrStdout()), err)
		}
		if err != nil {
			return err
		}
		log, flush, err := newLogger(cmd.ErrOrStderr(), loaded.Log)
		if err != nil {
			return err
		}
		defer flush()
		useProcessors()
		limitMemory(log)
		for _, warning := range loaded.Warnings() {
			log.WarnContext(cmd.Context(), "configuration: "+warning)
		}
		temporal, err := loaded.TemporalOptions()
		if err != nil {
			return err
		}
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
		source := service.Source{File: file.name(), Now: hangup, Load: func() (config.Config, error) {
			fresh, err := file.load(givenSettings(cmd.Flags()))
			return fresh.Config, err
		}}
		return service.Run(cmd.Context(), service.Options{Config: loaded.Config, Source: source, Temporal: temporal, Version: version, Log: log, Ready: func(net.Addr) { go giveBackMemory(cmd.Context(), log) }})
	}
	return cmd
}

// givenSettings returns the settings that flags set, by name.
func givenSettings(flags *pflag.FlagSet) map[string]string {
	given := map[string]string{}
	for _, s := range config.Settings() {
		if f := flags.Lookup(s.Flag()); f != nil && f.Changed {
			given[s.Name] = f.Value.String()
		}
	}
	return given
}
