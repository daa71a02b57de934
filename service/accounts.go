package service

import (
	"fmt"
	"log/slog"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// accounts are the configured accounts, as the server and the activities use
// them.
type accounts struct {
	server  []server.Account
	clients map[spacelift.Account]activities.Spacelift
	secrets map[spacelift.Account]func() string // the current webhook secret of each account
}

func openAccounts(configured []config.Account, version string, observe func(spaceliftapi.Call), log *slog.Logger) (accounts, error) {
	all := accounts{clients: map[spacelift.Account]activities.Spacelift{}, secrets: map[spacelift.Account]func() string{}}
	for _, c := range configured {
		a, client, err := openAccount(c, version, observe, log.With("account", c.Name))
		if err != nil {
			return accounts{}, fmt.Errorf("account %s: %w", c.Name, err)
		}
		all.server = append(all.server, a)
		all.clients[a.Name] = client
		all.secrets[a.Name] = func() string { return a.Secrets()[0] } // a valid configuration has one
	}
	return all, nil
}

func openAccount(c config.Account, version string, observe func(spaceliftapi.Call), log *slog.Logger) (server.Account, *spaceliftapi.Client, error) {
	secrets, err := c.OpenSecrets(log)
	if err != nil {
		return server.Account{}, nil, err
	}
	client, err := c.NewClient(version, observe)
	if err != nil {
		return server.Account{}, nil, err
	}
	return server.Account{
		Name: spacelift.Account(c.Name), SecretHeader: c.SecretHeader, SecretHeaderValue: secrets.Header, Stacks: client, Secrets: secrets.Signing,
	}, client, nil
}
