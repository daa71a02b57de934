package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/spacelift"
)

// configFlag adds --config, which every command that reads the configuration
// spells alike, and returns how to load it.
func configFlag(cmd *cobra.Command) func() (config.Loaded, error) {
	file := cmd.Flags().String("config", "", "configuration file (GANTRY_CONFIG)")
	return func() (config.Loaded, error) {
		name := *file
		if name == "" {
			name = os.Getenv("GANTRY_CONFIG")
		}
		return config.Load(name, os.Environ(), nil)
	}
}

// outputFlag adds -o and returns whether JSON is asked for.
func outputFlag(cmd *cobra.Command) func() (bool, error) {
	format := cmd.Flags().StringP("output", "o", "table", "table or json")
	return func() (bool, error) {
		switch *format {
		case "json":
			return true, nil
		case "table":
			return false, nil
		}
		return false, fmt.Errorf("--output: %q is neither table nor json", *format)
	}
}

// chooseAccount picks the account that is meant: the only one, or the one named.
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
		return config.Account{}, fmt.Errorf("several accounts are configured: say which with --account, one of %s", strings.Join(names, ", "))
	}
	return config.Account{}, fmt.Errorf("account %s is not configured; there are %s", name, strings.Join(names, ", "))
}

func newSpaceliftClient(a config.Account) (*spacelift.Client, error) {
	var key spacelift.Credentials = spacelift.APIKey{ID: a.APIKeyID, Secret: a.APIKeySecret}
	if a.APIKeySecretFile != "" {
		key = spacelift.FileCredentials{ID: a.APIKeyID, SecretFile: a.APIKeySecretFile}
	}
	return spacelift.NewClient(spacelift.Config{
		Account: spacelift.Account(a.Name), Endpoint: a.Endpoint, Credentials: key, UserAgent: "gantry/" + version,
	})
}

// secrets are what notifications of an account are authenticated with.
type secrets struct {
	live        []deploy.Secret // the current one first
	header      string
	headerValue deploy.Secret
}

func readSecrets(a config.Account) (secrets, error) {
	found := secrets{header: a.SecretHeader}
	quiet := slog.New(slog.DiscardHandler) // nothing is watched here
	for _, file := range a.WebhookSecretFiles {
		s, err := config.NewSecret("", file, quiet)
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
		value, err := config.NewSecret(a.SecretHeaderValue, a.SecretHeaderFile, quiet)
		if err != nil {
			return secrets{}, fmt.Errorf("value of the secret header: %w", err)
		}
		found.headerValue = deploy.Secret(value.Value())
	}
	return found, nil
}

// webhookAddress checks the address Spacelift is to reach Gantry at, and says
// what is odd about one that may work all the same. It is used as
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
		odd = append(odd, "the address is not https: notifications, and the secret header if there is one, travel in the clear")
	}
	if !strings.HasSuffix(u.Path, webhookPath) {
		odd = append(odd, fmt.Sprintf("the address doesn't end in %s, where Gantry listens: fine if a proxy rewrites it", webhookPath))
	}
	if near(u) {
		odd = append(odd, "the address is private: Spacelift reaches it only if it runs beside Gantry")
	}
	return odd, nil
}

// webhookPath is where the contract puts the webhook.
const webhookPath = deploy.WebhookPath

// near reports whether an address is on this machine or in a private network.
func near(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsPrivate())
}
