package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/doctor"
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
	if doctor.Near(u) {
		odd = append(odd, "the address is private: Spacelift reaches it only if it runs beside Gantry")
	}
	return odd, nil
}

// webhookPath is the webhook's path in the contract.
const webhookPath = deploy.WebhookPath
