package main

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/authority/issuertest"
	"github.com/gantryhq/gantry/cmd/gantry/internal/contexts"
	"github.com/gantryhq/gantry/server"
)

// loginRig is a Gantry that names an issuer for gantry login, and no token around.
func loginRig(t *testing.T) (*apiRig, *issuertest.Issuer) {
	t.Helper()
	i := issuertest.New(t)
	r := newAPIRig(t, func(c *server.Config) {
		c.Issuers = []authority.Issuer{{Name: "sso", URL: i.URL, Audiences: []string{"gantry-cli"}, NamePrefix: new("")}}
		c.SignIn = authority.SignIn{
			Issuer: "sso", ClientID: "web", CLIClientID: "gantry-cli", Scopes: "openid offline_access", Idle: time.Hour, Lifetime: time.Hour,
		}
		c.PublicURL, c.ClientSecret, c.SessionKey = "https://gantry.example.com", "secret", strings.Repeat("k", 32)
	})
	r.as("")
	return r, i
}

func (r *apiRig) saved() contexts.Login {
	r.t.Helper()
	all, err := contexts.ReadLogins()
	if err != nil {
		r.t.Fatal(err)
	}
	return all[r.server.URL]
}

// A person signs in once with a code, the other commands use that and renew it, and a
// sign-out ends it.
func TestLogin(t *testing.T) {
	r, _ := loginRig(t)
	r.refused(1, []string{"run gantry login"}, "whoami")
	out, said, code := r.run("login")
	if code != 0 || !strings.Contains(said, "ABCD-EFGH") || !strings.Contains(said, "/activate") || strings.Contains(out+said, "eyJ") {
		t.Fatalf("exit code %d:\n%s%s", code, out, said)
	}
	r.wants([]string{"jane", "oidc sso", "role:", "none"}, "whoami")
	name := filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "gantry", "logins.json")
	for file, mode := range map[string]os.FileMode{name: 0o600, filepath.Dir(name): 0o700} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s has mode %s (%v)", file, info.Mode(), err)
		}
	}
	before := r.saved()
	expire := func(all contexts.Logins) { s := all[r.server.URL]; s.Expires = time.Now(); all[r.server.URL] = s }
	if err := contexts.EditLogins(expire); err != nil {
		t.Fatal(err)
	}
	r.wants([]string{"jane"}, "whoami")
	if after := r.saved(); after.Token == before.Token || after.Refresh == before.Refresh || time.Until(after.Expires) < time.Minute {
		t.Error("the sign-in was not renewed")
	}
	// A token that is given counts before the sign-in.
	r.as(annToken)
	r.wants([]string{"token ann"}, "whoami")
	r.as("")
	r.wants([]string{"signed out"}, "logout")
	r.refused(1, []string{"run gantry login"}, "whoami")
}

// A sign-in that the issuer no longer renews, or that others could read, isn't used.
func TestLoginEnds(t *testing.T) {
	r, _ := loginRig(t)
	if _, said, code := r.run("login"); code != 0 {
		t.Fatal(said)
	}
	if err := contexts.EditLogins(func(all contexts.Logins) {
		s := all[r.server.URL]
		s.Expires, s.Refresh = time.Now(), "revoked"
		all[r.server.URL] = s
	}); err != nil {
		t.Fatal(err)
	}
	r.refused(1, []string{"has ended", "run gantry login"}, "whoami")
	name := filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "gantry", "logins.json")
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	r.refused(1, []string{"others may read", "chmod 600"}, "whoami")
}

// Without codes, a browser on this machine signs in, and only the answer to this sign-in
// counts.
func TestLoginWithABrowser(t *testing.T) {
	r, i := loginRig(t)
	l, err := discoverLogin(t.Context(), r.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	visit := func(_, asked string) {
		u, err := url.Parse(asked)
		if err != nil {
			t.Error(err)
		}
		go func() {
			for _, address := range []string{u.Query().Get("redirect_uri") + "?state=forged&code=x", asked} {
				if answer, err := http.Get(address); err == nil {
					_ = answer.Body.Close()
				}
			}
		}()
	}
	saved, err := l.signIn(t.Context(), true, visit)
	if err != nil || saved.Token == "" || saved.Refresh == "" {
		t.Errorf("%+v: %v", saved, err)
	}
	i.Nonce = "replaced"
	if saved, err := l.signIn(t.Context(), true, visit); err == nil || !strings.Contains(err.Error(), "another sign-in") {
		t.Errorf("with another nonce: %+v: %v", saved, err)
	}
}

// A Gantry that names no issuer, and one that would receive the token unencrypted, are
// refused.
func TestLoginRefuses(t *testing.T) {
	r := newAPIRig(t)
	r.refused(1, []string{"names no identity provider", "signIn.cliClientId"}, "login")
	r.refused(1, []string{"is not https"}, "login", "--url", "http://gantry.example.com")
	r.refused(1, []string{"--url"}, "login", "--url", "gantry")
}
