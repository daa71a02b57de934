package config

import (
	"log/slog"

	"github.com/gantryhq/gantry/authority"
)

// SignInSecrets are the secrets of signing in with a browser.
type SignInSecrets struct{ Client, Session string }

// SignInSecrets reads the files of the secrets, and checks them; there are none without
// an issuer.
func (c Config) SignInSecrets(log *slog.Logger) (secrets SignInSecrets, err error) {
	if c.SignIn.Issuer == "" {
		return SignInSecrets{}, nil
	}
	client, err := NewSecret("", c.SignIn.ClientSecretFile, log)
	if err != nil {
		return SignInSecrets{}, err
	}
	session, err := NewSecret("", c.SignIn.SessionKeyFile, log)
	if err != nil {
		return SignInSecrets{}, err
	}
	secrets = SignInSecrets{client.Value(), session.Value()}
	issuers, err := authority.NewIssuers(c.Issuers)
	if err != nil {
		return SignInSecrets{}, err
	}
	_, err = authority.NewSessions(c.SignIn, c.PublicURL, issuers, secrets.Client, secrets.Session)
	return secrets, err
}
