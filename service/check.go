package service

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/gantryhq/gantry/config"
)

// Check reports everything that keeps Run from starting with a configuration:
// what Validate finds, and secret files that can't be read or used. It opens
// nothing and makes no calls.
func Check(c config.Config, version string) error {
	if err := c.Validate(); err != nil {
		return err
	}
	silent := slog.New(slog.DiscardHandler)
	var problems []error
	for _, a := range c.Accounts {
		if _, _, err := openAccount(a, version, nil, silent); err != nil {
			problems = append(problems, fmt.Errorf("account %s: %w", a.Name, err))
		}
	}
	if _, err := c.SignInSecrets(silent); err != nil {
		problems = append(problems, fmt.Errorf("signIn: %w", err))
	}
	if _, err := c.TLS.Open(silent); err != nil {
		problems = append(problems, err)
	}
	if _, err := OpenChannels(c.Channels, version, silent); err != nil {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}
