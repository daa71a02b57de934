package web

import (
	"context"
	"net/http"
	"net/url"
)

// signInAddress returns the address of the sign-in page, relative to a page of a depth.
func signInAddress(depth int, back string) string {
	query := ""
	if back != "" && back != "/" {
		query = "?" + url.Values{"back": {back}}.Encode()
	}
	return relative(depth, "sign-in") + query
}

// signInRefusals are the reasons for which a sign-in is refused, as people read them.
var signInRefusals = map[string]string{
	"unknown-token":     "Nobody has this token. Check that you pasted all of it, or ask an administrator for another.",
	"expired-token":     "This token has expired. Ask an administrator for another.",
	"revoked-token":     "This token was revoked. Ask an administrator for another.",
	"no-token":          "Paste your token into the field.",
	"too-many-failures": "Too many wrong tokens came from your network. Wait a minute, then try again.",
	"too-many-requests": "Too many wrong tokens came from your network. Wait a minute, then try again.",
	"cross-site":        "The request came from another site. Sign in from this page.",
	"session-ended":     "Your session has ended. Sign in again.",
	"insecure":          "Gantry signs people in over https, or on localhost. Open it at its https address.",
}

// signIn is the page where people sign in.
func (p *Pages) signIn(w http.ResponseWriter, r *http.Request) {
	securityHeaders(w)
	v := &view{pages: p, depth: depthOf(r), now: p.Now(), path: r.URL.Path, zone: browserZone(r)}
	r = r.WithContext(context.WithValue(r.Context(), viewKey{}, v))
	q := r.URL.Query()
	refused := ""
	if reason := q.Get("refused"); reason != "" {
		if refused = signInRefusals[reason]; refused == "" {
			refused = "Gantry refused the sign-in. Try again."
		}
	}
	p.write(w, r, http.StatusOK, signInPage(p.Issuer, q.Get("back"), refused))
}

// issuerAddress returns the address that begins a sign-in with the issuer.
func issuerAddress(ctx context.Context, back string) string {
	query := ""
	if back != "" {
		query = "?" + url.Values{"back": {back}}.Encode()
	}
	return at(ctx, "sign-in", "oidc") + query
}
