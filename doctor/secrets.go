package doctor

import (
	"errors"
	"log/slog"
	"slices"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/deploy"
)

// Secrets authenticate the notifications of an account.
type Secrets struct {
	Live        []deploy.Secret // the current one first
	Header      string
	HeaderValue deploy.Secret
}

// ReadSecrets reads the secrets of an account. It returns an error if there are none, or one is
// empty.
func ReadSecrets(a config.Account) (Secrets, error) {
	opened, err := a.OpenSecrets(slog.New(slog.DiscardHandler)) // the files are read once
	if err != nil {
		return Secrets{}, err
	}
	found := Secrets{Header: a.SecretHeader, HeaderValue: deploy.Secret(opened.Header())}
	for _, s := range opened.Signing() {
		found.Live = append(found.Live, deploy.Secret(s))
	}
	if len(found.Live) == 0 || slices.Contains(found.Live, "") {
		return Secrets{}, errors.New("a webhook secret is missing or empty")
	}
	return found, nil
}
