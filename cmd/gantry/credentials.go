package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/gantryhq/gantry/cmd/gantry/internal/contexts"
)

// credentials is the source of the tokens that a command sends.
type credentials struct {
	file    string // of --token-file; empty if it isn't given
	context contexts.Context
	address string

	renewing sync.Mutex
}

// token returns the token for the next request: that of a flag, the environment or the
// context, or else that of a sign-in.
func (c *credentials) token(ctx context.Context) (string, error) {
	token, err := readToken(c.file)
	switch {
	case !errors.Is(err, errNoToken):
		return token, err
	case c.context.TokenFile != "":
		return readToken(c.context.TokenFile)
	}
	c.renewing.Lock() // a sign-in is renewed once
	defer c.renewing.Unlock()
	return loginToken(ctx, c.address)
}

// readToken reads the token from the file that a flag names or from the
// environment. The token itself is no flag: other users of a machine see flags.
func readToken(flagFile string) (string, error) {
	file := cmp.Or(flagFile, os.Getenv("GANTRY_TOKEN_FILE"))
	token := os.Getenv("GANTRY_TOKEN")
	switch {
	case flagFile == "" && file != "" && token != "":
		return "", errors.New("both GANTRY_TOKEN and GANTRY_TOKEN_FILE are set: unset one")
	case file == "" && token == "":
		return "", errNoToken
	case file == "":
		return strings.TrimSpace(token), nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

// errNoToken reports that there is neither a token nor a sign-in.
var errNoToken = errors.New("no token: run gantry login, or set GANTRY_TOKEN or GANTRY_TOKEN_FILE; an administrator creates one with gantry token create")

// loginToken returns a live token of a sign-in to an address. It gets a new one when the
// last is about to end.
func loginToken(ctx context.Context, address string) (string, error) {
	all, err := contexts.ReadLogins()
	if err != nil {
		return "", err
	}
	saved, ok := all[address]
	switch {
	case !ok:
		return "", errNoToken
	case time.Until(saved.Expires) > time.Minute:
		return saved.Token, nil
	case saved.Refresh == "":
		return "", fmt.Errorf("the sign-in to %s has ended; run gantry login", address)
	}
	l, err := newLogin(ctx, saved.Issuer, saved.Client, saved.Scopes)
	if err != nil {
		return "", err
	}
	token, err := l.client.TokenSource(ctx, &oauth2.Token{RefreshToken: saved.Refresh}).Token()
	if err != nil {
		return "", fmt.Errorf("the sign-in to %s has ended (%w); run gantry login", address, err)
	}
	fresh, err := l.keep(ctx, token, "")
	if err != nil {
		return "", err
	}
	fresh.Refresh = cmp.Or(fresh.Refresh, saved.Refresh)
	return fresh.Token, contexts.EditLogins(func(all contexts.Logins) { all[address] = fresh })
}
