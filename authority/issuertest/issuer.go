// Package issuertest is an issuer of OpenID Connect for tests. It signs any claims,
// and lets everybody sign in.
package issuertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Issuer is an issuer that serves its configuration, keys, and sign-in by authorization
// code, refresh token and device code.
type Issuer struct {
	*httptest.Server

	mu    sync.Mutex
	keys  []jose.JSONWebKey
	calls map[string]int // by path

	// Claims are those of the person who signs in. Sign in again after a change.
	Claims map[string]any

	// Nonce replaces the nonce of the next tokens, unless it is empty.
	Nonce string

	// Pending is the number of polls after which a device is let in.
	Pending int

	codes map[string]url.Values // requests, by code
}

// New starts an issuer with one key. It ends with the test.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := Start()
	t.Cleanup(i.Close)
	return i
}

// Start starts an issuer with one key. Close it.
func Start() *Issuer {
	i := &Issuer{calls: map[string]int{}, codes: map[string]url.Values{}, Claims: map[string]any{"sub": "jane"}}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /.well-known/openid-configuration", i.configuration)
	routes.HandleFunc("GET /keys", i.publicKeys)
	routes.HandleFunc("GET /authorize", i.authorize)
	routes.HandleFunc("POST /device", i.device)
	routes.HandleFunc("POST /token", i.token)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.calls[r.URL.Path]++
		routes.ServeHTTP(w, r)
	}))
	i.Rotate()
	return i
}

// Calls returns how often a path was asked for.
func (i *Issuer) Calls(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls[path]
}

// Rotate replaces the key that signs. The keys before it are published no more.
func (i *Issuer) Rotate() {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = []jose.JSONWebKey{{Key: private, KeyID: rand.Text(), Algorithm: "ES256", Use: "sig"}}
}

// Sign returns a token with claims over the ordinary ones: the issuer, and an hour to
// live.
func (i *Issuer) Sign(claims map[string]any) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.sign(claims)
}

func (i *Issuer) sign(claims map[string]any) string {
	all := map[string]any{"iss": i.URL, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	key := i.keys[0]
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	must(err)
	payload, err := json.Marshal(all)
	must(err)
	signed, err := signer.Sign(payload)
	must(err)
	token, err := signed.CompactSerialize()
	must(err)
	return token
}

// PublicKey returns the key that verifies, as it is published.
func (i *Issuer) PublicKey() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	b, err := json.Marshal(i.keys[0].Public())
	must(err)
	return b
}

func (i *Issuer) configuration(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
		"device_authorization_endpoint": i.URL + "/device", "id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"},
	})
}

func (i *Issuer) publicKeys(w http.ResponseWriter, _ *http.Request) {
	set := jose.JSONWebKeySet{}
	for _, k := range i.keys {
		set.Keys = append(set.Keys, k.Public())
	}
	answer(w, http.StatusOK, set)
}

// authorize lets the person in without a question.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	code := rand.Text()
	i.codes[code] = q
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" {
		http.Error(w, "not a request of an authorization code with PKCE", http.StatusBadRequest)
		return
	}
	back.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound) //nolint:gosec // G710: the client is a test, which names the address
}

func (i *Issuer) device(w http.ResponseWriter, r *http.Request) {
	code := rand.Text()
	i.codes[code] = url.Values{"client_id": {r.FormValue("client_id")}, "code_challenge": {r.FormValue("code_challenge")}}
	answer(w, http.StatusOK, map[string]any{
		"device_code": code, "user_code": "ABCD-EFGH", "verification_uri": i.URL + "/activate", "expires_in": 600, "interval": 1,
	})
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	var asked url.Values
	switch r.FormValue("grant_type") {
	case "authorization_code":
		code := r.FormValue("code")
		asked = i.codes[code]
		delete(i.codes, code)
	case "urn:ietf:params:oauth:grant-type:device_code":
		if i.Pending--; i.Pending >= 0 {
			answer(w, http.StatusBadRequest, map[string]any{"error": "authorization_pending"})
			return
		}
		asked = i.codes[r.FormValue("device_code")]
	case "refresh_token":
		asked = i.codes[r.FormValue("refresh_token")]
	}
	client := r.FormValue("client_id")
	if user, _, ok := r.BasicAuth(); ok {
		client = user
	}
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	challenge := asked.Get("code_challenge")
	if asked == nil || asked.Get("client_id") != client || challenge != "" && challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	claims := maps.Clone(i.Claims)
	claims["aud"] = client
	if claims["nonce"] = asked.Get("nonce"); i.Nonce != "" {
		claims["nonce"] = i.Nonce
	}
	refresh := rand.Text()
	i.codes[refresh] = url.Values{"client_id": {client}}
	answer(w, http.StatusOK, map[string]any{
		"access_token": "opaque", "token_type": "Bearer", "expires_in": 3600, "id_token": i.sign(claims), "refresh_token": refresh,
	})
}

// must panics for what can't fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
