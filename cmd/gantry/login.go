package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/gantryhq/gantry/cmd/gantry/internal/contexts"
	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/doctor"
	"github.com/gantryhq/gantry/gen/gantry"
)

// loginPatience bounds how long a person has to sign in.
const loginPatience = 10 * time.Minute

func newLoginCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "login", Short: "Sign in at the identity provider that Gantry trusts", Args: cobra.NoArgs,
		Long: `Signs in at the identity provider that Gantry names: with a code that you enter in a browser on any device, or, if
the provider has no such codes, in a browser on this machine. The other commands then use that sign-in for this
address of Gantry, unless they are given a token. It is kept in your configuration folder, readable by you alone.

Sign in only at addresses that you know: the Gantry there receives a token in your name.`,
	}
	where := targetFlags(cmd)
	here := cmd.Flags().Bool("browser", false, "sign in with a browser on this machine, not with a code")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), loginPatience)
		defer cancel()
		at, err := where.encrypted()
		if err != nil {
			return err
		}
		l, err := discoverLogin(ctx, at)
		if err != nil {
			return err
		}
		visit := func(sentence, url string) {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s\n\n  %s\n\n", sentence, output.Clean(url))
		}
		saved, err := l.signIn(ctx, *here, visit)
		if err != nil {
			return err
		}
		if err := contexts.EditLogins(func(all contexts.Logins) { all[at] = saved }); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "signed in to %s; gantry whoami shows your roles\n", at)
		return nil
	}
	return cmd
}

func newLogoutCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "logout", Short: "Forget the sign-in of gantry login", Args: cobra.NoArgs}
	where := targetFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		at, err := where.encrypted()
		if err != nil {
			return err
		}
		if err := contexts.EditLogins(func(all contexts.Logins) { delete(all, at) }); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "signed out of %s on this machine\n", at)
		return nil
	}
	return cmd
}

// login signs in at the issuer that a Gantry names.
type login struct {
	provider *oidc.Provider
	client   oauth2.Config
	issuer   string
}

// discovery asks a Gantry for its issuer. It follows no redirects: another address names no
// issuer of this Gantry.
var discovery = &http.Client{
	Timeout:       15 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// discoverLogin asks a Gantry for its issuer (RFC 9728), and the issuer for its addresses.
func discoverLogin(ctx context.Context, address string) (login, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/.well-known/oauth-protected-resource", nil)
	if err != nil {
		return login{}, fmt.Errorf("--url: %w", err)
	}
	response, err := discovery.Do(request)
	if err != nil {
		return login{}, fmt.Errorf("%w: %w", gantry.ErrUnreached, err)
	}
	defer func() { _ = response.Body.Close() }()
	var named struct {
		Issuers []string `json:"authorization_servers"`
		Scopes  []string `json:"scopes_supported"`
		Client  string   `json:"gantry_cli_client_id"`
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil || response.StatusCode != http.StatusOK || json.Unmarshal(body, &named) != nil || len(named.Issuers) != 1 || named.Client == "" {
		return login{}, fmt.Errorf("%s names no identity provider for gantry login; an administrator sets signIn.cliClientId, or gives you a token", address)
	}
	return newLogin(ctx, named.Issuers[0], named.Client, named.Scopes)
}

func newLogin(ctx context.Context, issuer, client string, scopes []string) (login, error) {
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return login{}, fmt.Errorf("ask identity provider %s: %w", issuer, err)
	}
	return login{provider, oauth2.Config{ClientID: client, Endpoint: provider.Endpoint(), Scopes: scopes}, issuer}, nil
}

// signIn signs in with a code, or with a browser on this machine. visit shows the person
// the address to open.
func (l login) signIn(ctx context.Context, here bool, visit func(sentence, url string)) (contexts.Login, error) {
	if l.client.Endpoint.DeviceAuthURL == "" || here {
		return l.byLoopback(ctx, visit)
	}
	verifier := oauth2.GenerateVerifier()
	device, err := l.client.DeviceAuth(ctx, oauth2.S256ChallengeOption(verifier))
	if err != nil {
		return contexts.Login{}, fmt.Errorf("ask %s for a code: %w", l.issuer, err)
	}
	visit("Enter the code "+output.Clean(device.UserCode)+" at this address:", cmp.Or(device.VerificationURIComplete, device.VerificationURI))
	token, err := l.client.DeviceAccessToken(ctx, device, oauth2.VerifierOption(verifier))
	if err != nil {
		return contexts.Login{}, fmt.Errorf("sign in at %s: %w", l.issuer, err)
	}
	return l.keep(ctx, token, "")
}

// byLoopback signs in with a browser that the issuer sends back to this machine.
func (l login) byLoopback(ctx context.Context, visit func(sentence, url string)) (contexts.Login, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return contexts.Login{}, fmt.Errorf("listen for the answer of the browser: %w", err)
	}
	l.client.RedirectURL = "http://" + listener.Addr().String() + "/callback"
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	codes := make(chan string, 1)
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.URL.Path != "/callback" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 {
			http.Error(w, "this is not the answer to your sign-in", http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, "You can close this page and return to the terminal.")
		select {
		case codes <- q.Get("code"):
		default: // a repeat
		}
	})}
	go func() { _ = srv.Serve(listener) }() // until it is closed
	defer func() { _ = srv.Close() }()
	visit("Sign in at this address in a browser on this machine:",
		l.client.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", nonce)))
	select {
	case <-ctx.Done():
		return contexts.Login{}, fmt.Errorf("sign in at %s: %w", l.issuer, context.Cause(ctx))
	case code := <-codes:
		token, err := l.client.Exchange(ctx, code, oauth2.VerifierOption(verifier))
		if err != nil {
			return contexts.Login{}, fmt.Errorf("sign in at %s: %w", l.issuer, err)
		}
		return l.keep(ctx, token, nonce)
	}
}

// keep checks the issuer's answer. A nonce, unless empty, must be that of the answer.
func (l login) keep(ctx context.Context, token *oauth2.Token, nonce string) (contexts.Login, error) {
	identity, _ := token.Extra("id_token").(string)
	verified, err := l.provider.Verifier(&oidc.Config{ClientID: l.client.ClientID}).Verify(ctx, identity)
	switch {
	case err != nil:
		return contexts.Login{}, fmt.Errorf("the answer of %s isn't valid: %w", l.issuer, err)
	case nonce != "" && verified.Nonce != nonce:
		return contexts.Login{}, fmt.Errorf("the answer of %s is to another sign-in; run gantry login again", l.issuer)
	}
	return contexts.Login{
		Issuer: l.issuer, Client: l.client.ClientID, Scopes: l.client.Scopes, Token: identity, Refresh: token.RefreshToken, Expires: verified.Expiry,
	}, nil
}

// encrypted returns the address of Gantry, which must be one that a token may be sent to.
func (t target) encrypted() (string, error) {
	u, _, err := t.address()
	if err != nil {
		return "", err
	}
	if !doctor.Encrypted(u) {
		return "", fmt.Errorf("--url: %s is not https: a token would be sent unencrypted", u)
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}
