package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// chooseAccount returns the named account, or the only one.
func chooseAccount(accounts []config.Account, name string) (config.Account, error) {
	if name == "" && len(accounts) == 1 {
		return accounts[0], nil
	}
	names := make([]string, len(accounts))
	for i, a := range accounts {
		names[i] = a.Name
		if name != "" && a.Name == name {
			return a, nil
		}
	}
	if name == "" {
		return config.Account{}, fmt.Errorf("several accounts are configured: choose one with --account: %s", strings.Join(names, ", "))
	}
	return config.Account{}, fmt.Errorf("account %s is not configured; there are %s", name, strings.Join(names, ", "))
}

func newSpaceliftClient(a config.Account) (*spaceliftapi.Client, error) {
	var key spaceliftapi.Credentials = spaceliftapi.APIKey{ID: a.APIKeyID, Secret: a.APIKeySecret}
	if a.APIKeySecretFile != "" {
		key = spaceliftapi.FileCredentials{ID: a.APIKeyID, SecretFile: a.APIKeySecretFile}
	}
	return spaceliftapi.NewClient(spaceliftapi.Config{
		Account: spacelift.Account(a.Name), Endpoint: a.Endpoint, Credentials: key, UserAgent: "gantry/" + version,
	})
}

// secrets authenticate the notifications of an account.
type secrets struct {
	live        []deploy.Secret // the current one first
	header      string
	headerValue deploy.Secret
}

func readSecrets(a config.Account) (secrets, error) {
	found := secrets{header: a.SecretHeader}
	discard := slog.New(slog.DiscardHandler) // the files are read once
	for _, file := range a.WebhookSecretFiles {
		s, err := config.NewSecret("", file, discard)
		if err != nil {
			return secrets{}, fmt.Errorf("webhook %w", err)
		}
		found.live = append(found.live, deploy.Secret(s.Value()))
	}
	for _, s := range a.WebhookSecrets {
		found.live = append(found.live, deploy.Secret(s))
	}
	if len(found.live) == 0 || slices.Contains(found.live, "") {
		return secrets{}, errors.New("a webhook secret is missing or empty")
	}
	if a.SecretHeader != "" {
		value, err := config.NewSecret(a.SecretHeaderValue, a.SecretHeaderFile, discard)
		if err != nil {
			return secrets{}, fmt.Errorf("value of the secret header: %w", err)
		}
		found.headerValue = deploy.Secret(value.Value())
	}
	return found, nil
}

// webhookAddress checks the address at which Spacelift is to reach Gantry, and
// returns what is odd about one that may work anyway. Commands use it as
// deploy.NormalAddress spells it.
func webhookAddress(address string) (odd []string, err error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("--url: %q is not an address such as https://gantry.example.com/webhook", address)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("--url: give scheme, host and path alone")
	}
	if u.Scheme == "http" {
		odd = append(odd, "the address is not https: notifications and the secret header, if any, are sent unencrypted")
	}
	if !strings.HasSuffix(u.Path, webhookPath) {
		odd = append(odd, fmt.Sprintf("the address doesn't end in %s, where Gantry listens: fine if a proxy rewrites it", webhookPath))
	}
	if near(u) {
		odd = append(odd, "the address is private: Spacelift reaches it only if it runs beside Gantry")
	}
	return odd, nil
}

// webhookPath is the webhook's path in the contract.
const webhookPath = deploy.WebhookPath

// near reports whether an address is on this machine or in a private network.
func near(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsPrivate())
}
