package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/authority/issuertest"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// withIssuer lets the people of an issuer sign in.
func (w *world) withIssuer(i *issuertest.Issuer) string {
	w.t.Helper()
	for name, secret := range map[string]string{"client": "secret", "session": strings.Repeat("k", 48)} {
		w.must(os.WriteFile(filepath.Join(w.dir, name), []byte(secret), 0o600))
	}
	return fmt.Sprintf(`
publicUrl: %s
issuers:
  - {name: sso, url: %s, audiences: [gantry-cli, gantry], nameClaim: email, namePrefix: "", groupsClaim: groups}
signIn: {issuer: sso, clientId: gantry-web, clientSecretFile: %s, sessionKeyFile: %s, cliClientId: gantry-cli}
bindings:
  - {who: ["group:dba"], role: approver}
`, w.url(), i.URL, filepath.Join(w.dir, "client"), filepath.Join(w.dir, "session"))
}

// tab is a tab of a browser.
type tab struct {
	*world
	client *http.Client
}

func (w *world) tab() *tab {
	jar, err := cookiejar.New(nil)
	w.must(err)
	return &tab{w, &http.Client{Jar: jar}}
}

func (b *tab) cookie(name string) string {
	u, err := url.Parse(b.url())
	b.must(err)
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// do sends a form, or JSON, or nothing, as a page of Gantry's would.
func (b *tab) do(method, path, kind, body string) (status int, answer []byte) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url()+path, strings.NewReader(body))
	b.must(err)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("X-CSRF-Token", b.cookie("gantry_csrf"))
	}
	res, err := b.client.Do(r)
	b.must(err)
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	b.must(err)
	return res.StatusCode, answer
}

func (b *tab) me() (c api.Caller) {
	b.t.Helper()
	status, answer := b.do(http.MethodGet, "/v1/me", "", "")
	if status != http.StatusOK {
		return api.Caller{}
	}
	b.must(json.Unmarshal(answer, &c))
	return c
}

const form = "application/x-www-form-urlencoded"

// People sign in with a browser, at their identity provider or with a token, and approve;
// with the command line, by a code and by a browser on the machine; and tools send a token
// of the issuer. A sign-out ends the session.
func TestSignIn(t *testing.T) {
	t.Parallel()
	i := issuertest.New(t)
	i.Claims = map[string]any{"sub": "1", "email": "jane@acme.example", "email_verified": true, "groups": []string{"dba"}}
	w := newWorld(t, simulator.Stack{ID: "network-prod", Labels: []string{"gantry:managed", "gantry:confirm=manual", "gantry:approvals=1"}})
	w.serveWith(withToken + w.withIssuer(i))
	run := w.push("network-prod", 1)
	w.phase("network-prod", run, api.PhaseWaiting)

	browser := w.tab()
	browser.do(http.MethodGet, "/sign-in/oidc?back=/healthz", "", "")
	if c := browser.me(); c.Name != "jane@acme.example" || c.How != "session" || c.Credential != "sso" {
		t.Fatalf("the caller is %+v", c)
	}
	if status, answer := browser.do(http.MethodPost, decisionsOf("network-prod", run), "application/json", `{"verdict":"approve"}`); status != http.StatusOK {
		t.Fatalf("approve: %d %s", status, answer)
	}
	w.phase("network-prod", run, api.PhaseDone)
	stolen := browser.cookie("gantry_session")
	browser.do(http.MethodPost, "/sign-out", form, "")
	if c := browser.me(); c.Name != "" {
		t.Errorf("after the sign-out, the caller is %+v", c)
	}
	thief := w.tab()
	u, err := url.Parse(w.url())
	w.must(err)
	thief.client.Jar.SetCookies(u, []*http.Cookie{{Name: "gantry_session", Value: stolen}})
	if c := thief.me(); c.Name != "" {
		t.Errorf("a copy of the cookie is %+v", c)
	}

	pasted := w.tab()
	pasted.do(http.MethodPost, "/sign-in/token", form, url.Values{"token": {apiToken}, "back": {"/healthz"}}.Encode())
	if c := pasted.me(); c.Name != "e2e" || c.How != "session" {
		t.Errorf("with a token, the caller is %+v", c)
	}

	tool := w.bearer(i.Sign(map[string]any{"sub": "2", "aud": "gantry", "email": "bot@acme.example", "email_verified": true}))
	r, err := tool.GetCallerWithResponse(t.Context())
	w.must(err)
	if r.JSON200 == nil || r.JSON200.Name != "bot@acme.example" || r.JSON200.How != "oidc" || len(r.JSON200.Grants) != 0 {
		t.Errorf("with a token of the issuer: %d %s", r.StatusCode(), r.Body)
	}
	w.signsInFromTheShell()
}

// signsInFromTheShell signs in by a code, and by a browser on the machine.
func (w *world) signsInFromTheShell() {
	w.t.Helper()
	for _, more := range [][]string{nil, {"--browser"}} {
		env := []string{"HOME=" + w.t.TempDir(), "GANTRY_URL=" + w.url()}
		p := start(w.t, gantryBinary, env, append([]string{"login", "--url", w.url()}, more...)...)
		if more != nil {
			var address string
			w.eventually("gantry login names an address", func(context.Context) error {
				if address = regexp.MustCompile(`http://\S+/authorize\S+`).FindString(p.Out.String()); address == "" {
					return errors.New(p.Out.String())
				}
				return nil
			})
			res, err := http.Get(address)
			w.must(err)
			_ = res.Body.Close()
		}
		w.must(p.Ends(patience))
		cmd := exec.CommandContext(w.t.Context(), gantryBinary, "whoami", "--url", w.url())
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "jane@acme.example") || !strings.Contains(string(out), "approver") {
			w.t.Errorf("whoami after login %s: %v\n%s\n%s", more, err, out, p.Out)
		}
	}
}

func decisionsOf(stack spacelift.StackID, run spacelift.RunID) string {
	return fmt.Sprintf("/v1/accounts/acme/stacks/%s/runs/%s/decisions", stack, run)
}
