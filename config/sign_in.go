package config

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"

	"github.com/gantryhq/gantry/authority"
)

// SignInSecrets are the secrets of signing in with a browser.
type SignInSecrets struct{ Client, Session string }

// SignInSecrets reads the secrets of signing in, and checks them. Without a session key,
// it derives one from the secret of the first account's API key: all replicas have that
// one, it outlives restarts, and its owner may do more in Spacelift than in Gantry.
func (c Config) SignInSecrets(log *slog.Logger) (secrets SignInSecrets, err error) {
	if c.SignIn.Issuer != "" {
		client, err := NewSecret("", c.SignIn.ClientSecretFile, log)
		if err != nil {
			return SignInSecrets{}, err
		}
		secrets.Client = client.Value()
	}
	if secrets.Session, err = c.sessionKey(log); err != nil {
		return SignInSecrets{}, err
	}
	issuers, err := authority.NewIssuers(c.Issuers)
	if err != nil {
		return SignInSecrets{}, err
	}
	_, err = authority.NewSessions(c.SignIn, c.PublicURL, issuers, secrets.Client, secrets.Session)
	return secrets, err
}

func (c Config) sessionKey(log *slog.Logger) (string, error) {
	if c.SignIn.SessionKeyFile != "" || c.SignIn.Issuer != "" {
		key, err := NewSecret("", c.SignIn.SessionKeyFile, log)
		if err != nil {
			return "", err
		}
		return key.Value(), nil
	}
	first := c.Accounts[0] // a valid configuration has one
	key, err := NewSecret(first.APIKeySecret, first.APIKeySecretFile, log)
	if err != nil {
		return "", fmt.Errorf("derive the session key: account %s: API key: %w", first.Name, err)
	}
	derived, err := hkdf.Key(sha256.New, []byte(key.Value()), nil, "gantry session key of "+first.Name, 32)
	if err != nil {
		return "", fmt.Errorf("derive the session key: %w", err)
	}
	return hex.EncodeToString(derived), nil
}
