package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
)

// readTemporal reads the connection from temporal.toml, with the TEMPORAL_* variables
// over it. The address and the namespace become settings, which the configuration
// file, variables and flags then replace.
// https://docs.temporal.io/develop/environment-configuration
func (l *Loaded) readTemporal(environ []string) {
	env := environment(environ)
	toml, err := envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{DisableEnv: true, EnvLookup: env})
	if err == nil {
		l.temporal, err = envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{EnvLookup: env})
	}
	if err != nil {
		l.temporalErr = fmt.Errorf("temporal.toml: %w; correct it, or the variables TEMPORAL_CONFIG_FILE and TEMPORAL_PROFILE", err)
		l.unread = append(l.unread, l.temporalErr)
		return
	}
	for setting, given := range map[string]struct {
		from string
		to   *string
	}{"temporal.address": {toml.Address, &l.Temporal.Address}, "temporal.namespace": {toml.Namespace, &l.Temporal.Namespace}} {
		if given.from != "" {
			*given.to, l.Origins[setting] = given.from, "temporal.toml"
		}
	}
}

// TemporalOptions returns the options of a connection to the configured Temporal.
func (l Loaded) TemporalOptions() (client.Options, error) {
	if l.temporalErr != nil {
		return client.Options{}, l.temporalErr
	}
	options, err := l.temporal.ToClientOptions(envconfig.ToClientOptionsRequest{})
	if err != nil {
		return client.Options{}, fmt.Errorf("temporal: %w; correct the TEMPORAL_* variables or temporal.toml", err)
	}
	options.HostPort, options.Namespace = l.Temporal.Address, l.Temporal.Namespace
	return options, nil
}

// problems reports invalid settings of Temporal.
func (t Temporal) problems() (problems []error) {
	for _, s := range []struct{ name, value string }{
		{"temporal.address", t.Address}, {"temporal.namespace", t.Namespace}, {"temporal.taskQueue", t.TaskQueue},
	} {
		if s.value == "" {
			problems = append(problems, errors.New(s.name+": must not be empty"))
		}
	}
	return problems
}

// environment is a list of NAME=value as the SDK looks it up.
type environment []string

func (e environment) Environ() []string { return e }

func (e environment) LookupEnv(name string) (string, bool) {
	i := slices.IndexFunc(e, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	if i < 0 {
		return "", false
	}
	return e[i][len(name)+1:], true
}
