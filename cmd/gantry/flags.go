package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/spacelift"
)

// configFile is the --config of a command.
type configFile struct{ flag *string }

func configFlag(cmd *cobra.Command) configFile {
	return configFile{cmd.Flags().String("config", "", "configuration file (GANTRY_CONFIG)")}
}

// name returns the name of the file; empty if none is given.
func (f configFile) name() string { return cmp.Or(*f.flag, os.Getenv("GANTRY_CONFIG")) }

// load reads and checks the configuration, as every command does. flags are the
// settings that flags override. The configuration is read as far as possible even if
// it has mistakes.
func (f configFile) load(flags map[string]string) (config.Loaded, error) {
	loaded, err := config.Load(f.name(), os.Environ(), flags)
	return loaded, invalid(err)
}

// loadShared is load for a file that leaves the accounts to the environment of each
// installation.
func (f configFile) loadShared() (config.Loaded, error) {
	loaded, err := config.LoadShared(f.name(), os.Environ())
	return loaded, invalid(err)
}

// invalid returns the error of a configuration with mistakes.
func invalid(mistakes error) error {
	if mistakes == nil {
		return nil
	}
	return fmt.Errorf("configuration:\n%w", mistakes)
}

// choiceFlag adds a flag that takes one of several words; empty if it isn't given.
func choiceFlag(cmd *cobra.Command, name, usage string, words ...string) *string {
	value := new(string)
	output.Choice(cmd, cmd.Flags(), value, name, "", usage, words...)
	return value
}

// stateFlag adds --state. Spacelift may add states, so it refuses only a word that
// resembles one.
func stateFlag(cmd *cobra.Command) *string {
	value := new(string)
	output.Likely(cmd, cmd.Flags(), value, "state", "only runs in this Spacelift state, such as UNCONFIRMED", names(spacelift.RunStates, func(s spacelift.RunState) string { return string(s) })...)
	return value
}

// paging holds --limit and --all-pages.
type paging struct {
	limit *int
	all   *bool
}

// defaultLimit is the default length of lists.
const defaultLimit = 50

func pagingFlags(cmd *cobra.Command) paging {
	f := cmd.Flags()
	p := paging{countFlag(cmd, "limit", defaultLimit, "how many to list at most"), f.Bool("all-pages", false, "list all, however many there are")}
	cmd.MarkFlagsMutuallyExclusive("limit", "all-pages")
	return p
}

// most returns how many items to list at most.
func (p paging) most() int {
	if *p.all {
		return math.MaxInt
	}
	return *p.limit
}

// accountFlag adds --account to a command that concerns one account.
func accountFlag(r *remote, cmd *cobra.Command) *string {
	account := cmd.Flags().String("account", "", "the account; required when Gantry serves several")
	_ = cmd.RegisterFlagCompletionFunc("account", r.completing(func(ctx context.Context, s *session, _ completion) ([]string, error) { return s.accounts(ctx) }, false))
	return account
}

// accountFilter adds --account to a list over all accounts.
func accountFilter(r *remote, cmd *cobra.Command) *string {
	account := accountFlag(r, cmd)
	cmd.Flags().Lookup("account").Usage = "only those of this account"
	return account
}

func noteFlag(cmd *cobra.Command, usage string) *string { return cmd.Flags().String("note", "", usage) }

// period reads the flags --since and --until; nil for one that is not given.
func period(since, until string) (from, to *time.Time, err error) {
	now := time.Now()
	first, err := timeOf("since", since, now, -1)
	if err != nil {
		return nil, nil, err
	}
	last, err := timeOf("until", until, now, -1)
	if err != nil {
		return nil, nil, err
	}
	return given(first), given(last), nil
}

// durationOf reads a duration such as 2h, or 7d for days.
func durationOf(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// timeOf reads the value of a flag: a time as RFC 3339, or a distance from now
// such as 2h.
func timeOf(flag, s string, now time.Time, direction time.Duration) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := durationOf(s); err == nil && d >= 0 {
		return now.Add(direction * d).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("--%s: %q is neither a time such as 2026-01-05T06:00:00Z nor a duration such as 2h", flag, s)
	}
	return t, nil
}
