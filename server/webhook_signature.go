package server

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/spacelift"
)

// maxBody bounds a notification. Spacelift publishes no limit; bodies seen are
// a few KB.
const maxBody = 1 << 20

// Reasons of refusals, as the delivery log shows them.
const (
	reasonSignatureMissing   = "signature-missing"
	reasonSHA1Only           = "sha1-only"
	reasonSignatureMalformed = "signature-malformed"
	reasonSignatureMismatch  = "signature-mismatch"
	reasonOtherAccount       = "signature-of-other-account"
	reasonSecretHeader       = "secret-header-mismatch"
	reasonBodyTooLarge       = "body-too-large"
	reasonBodyUnreadable     = "body-unreadable"
)

// gate lets authentic requests through to the webhook handler, and counts and
// logs all of them.
type gate struct {
	accounts   []Account
	refusals   *refusalLimiter
	mismatches *mismatchDetector
	inbox      Inbox
	metrics    *metrics
	log        *slog.Logger
}

func newGate(accounts []Account, limit RefusalLimit, box Inbox, m *metrics, log *slog.Logger) (*gate, error) {
	if len(accounts) == 0 {
		return nil, errors.New("no accounts configured; every webhook would be rejected")
	}
	seen := map[spacelift.Account]bool{}
	for _, a := range accounts {
		if seen[a.Name] {
			return nil, fmt.Errorf("account %s is configured twice", a.Name)
		}
		seen[a.Name] = true
		if !hasSecret(a.Secrets()) {
			return nil, fmt.Errorf("account %s has no webhook secret; set one, or anybody could sign", a.Name)
		}
		if a.SecretHeader != "" && a.SecretHeaderValue() == "" {
			return nil, fmt.Errorf("account %s asks for the header %s but has no value for it", a.Name, a.SecretHeader)
		}
	}
	return &gate{accounts: accounts, refusals: newRefusalLimiter(limit), mismatches: newMismatchDetector(accounts, log), inbox: box, metrics: m, log: log}, nil
}

func hasSecret(secrets []string) bool {
	for _, s := range secrets {
		if s != "" {
			return true
		}
	}
	return false
}

// request is an authentic request to the webhook on its way to the handler.
type request struct {
	body     []byte
	delivery inbox.Delivery // what is known so far
	signers  []signer
}

// signer is an account one of whose secrets made the signature.
type signer struct {
	account spacelift.Account
	secret  int // its place among the account's secrets, from 1
}

type requestKey struct{}

// admitted returns the request that passed the gate, nil elsewhere than behind
// the webhook.
func admitted(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{}).(*request)
	return r
}

// admit reads the body once, checks its signature and lets the request through.
// The cheap checks come first: a flood without a plausible signature costs no
// read and no hash.
func (g *gate) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			next.ServeHTTP(w, r) // the router says 405
			return
		}
		g.metrics.received.Inc()
		req := &request{delivery: inbox.Delivery{ReceivedAt: time.Now(), Source: sourceOf(r), Size: int(max(0, r.ContentLength))}}
		if err := g.authenticate(w, r, req); err != nil {
			g.refuse(w, r, req, err)
			return
		}
		g.metrics.secretUsed(req.signers)
		if !strings.HasPrefix(r.UserAgent(), TestUserAgent+"/") {
			for _, s := range req.signers {
				g.mismatches.authentic(s.account, req.delivery.ReceivedAt)
			}
		}
		r.Body = io.NopCloser(bytes.NewReader(req.body))
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, req)))
	})
}

// authenticate fills in req, or says why the request is refused.
func (g *gate) authenticate(w http.ResponseWriter, r *http.Request, req *request) *refused {
	header, why := signatureHeader(r.Header)
	if why != nil {
		return why
	}
	signature, err := spacelift.ParseSignature(header)
	if err != nil {
		return notAuthentic(reasonSignatureMalformed, spacelift.SignatureHeader+": "+err.Error())
	}
	if r.ContentLength > maxBody {
		return tooLarge()
	}
	req.body, err = readBody(w, r)
	req.delivery.Size = len(req.body)
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return tooLarge()
	}
	if err != nil {
		return &refused{reasonBodyUnreadable, badRequest("the body broke off; send it again")}
	}
	if req.signers = g.signersOf(signature, req.body); len(req.signers) == 0 {
		return notAuthentic(reasonSignatureMismatch,
			"no live secret of any configured account made this signature over this body; "+
				"compare the webhook's secret with Gantry's, and sign the raw bytes, not a re-encoded body")
	}
	req.delivery.Run.Account, req.delivery.Secret = req.signers[0].account, req.signers[0].secret
	return g.secondFactor(r.Header, req)
}

func signatureHeader(h http.Header) (string, *refused) {
	values := h.Values(spacelift.SignatureHeader)
	switch {
	case len(values) > 1:
		return "", notAuthentic(reasonSignatureMalformed, spacelift.SignatureHeader+" came more than once")
	case len(values) == 1 && values[0] != "":
		return values[0], nil
	case h.Get(spacelift.SignatureSHA1Header) != "":
		return "", notAuthentic(reasonSHA1Only, "only the SHA-1 header "+spacelift.SignatureSHA1Header+" came; "+spacelift.SignatureHeader+" is needed")
	}
	return "", notAuthentic(reasonSignatureMissing, "the header "+spacelift.SignatureHeader+
		" is missing; give the webhook a secret in Spacelift, or sign the body yourself: sha256=<hex HMAC-SHA256 of the raw body>")
}

// signersOf tries every live secret of every account. It doesn't stop at the
// first that fits: two accounts may, by mistake, share a secret.
func (g *gate) signersOf(signature, body []byte) []signer {
	var found []signer
	for _, a := range g.accounts {
		for i, secret := range a.Secrets() {
			if secret != "" && spacelift.SignatureMatches([]byte(secret), body, signature) {
				found = append(found, signer{a.Name, i + 1})
				break
			}
		}
	}
	return found
}

// secondFactor drops the signers whose secret header is missing or wrong.
func (g *gate) secondFactor(h http.Header, req *request) *refused {
	kept := req.signers[:0]
	missing := ""
	for _, s := range req.signers {
		a := g.account(s.account)
		if a.SecretHeader == "" || subtle.ConstantTimeCompare([]byte(h.Get(a.SecretHeader)), []byte(a.SecretHeaderValue())) == 1 {
			kept = append(kept, s)
			continue
		}
		missing = a.SecretHeader
	}
	if req.signers = kept; len(kept) == 0 {
		return notAuthentic(reasonSecretHeader, "the signature fits, but the header "+missing+" is missing or wrong; set it on the webhook in Spacelift")
	}
	return nil
}

func (g *gate) account(name spacelift.Account) *Account {
	for i := range g.accounts {
		if g.accounts[i].Name == name {
			return &g.accounts[i]
		}
	}
	return nil
}

// refused says why a request is not let in.
type refused struct {
	reason  string
	problem api.Problem
}

func (e *refused) Error() string { return e.reason }

func notAuthentic(reason, detail string) *refused {
	return &refused{reason, problem(reason, detail)}
}

func tooLarge() *refused {
	return &refused{reasonBodyTooLarge, problem(reasonBodyTooLarge, "a notification has at most 1 MiB")}
}

// refuse answers a request that was not let in. Beyond what its source may
// spend it leaves no trace but a counter, so that a flood can't fill the log.
func (g *gate) refuse(w http.ResponseWriter, r *http.Request, req *request, why *refused) {
	if why.reason == reasonSignatureMismatch {
		g.mismatches.mismatch(req.delivery.ReceivedAt)
	}
	if wait := g.refusals.spend(req.delivery.Source); wait > 0 {
		g.metrics.refused.WithLabelValues(reasonTooMany).Inc()
		writeProblemAfter(w, problem(reasonTooMany, "the last one: "+why.reason+"; requests that are signed correctly are never slowed down"), wait)
		return
	}
	g.metrics.refused.WithLabelValues(why.reason).Inc()
	d := req.delivery
	d.Outcome, d.Reason, d.Detail, d.Latency = inbox.OutcomeRefused, why.reason, *why.problem.Detail, time.Since(d.ReceivedAt)
	d = g.inbox.Log(d)
	g.log.WarnContext(r.Context(), "notification", logAttrs(d)...)
	p := why.problem
	p.Instance = new(relative(r.Context(), "v1/deliveries/"+d.ID))
	writeProblem(w, p)
}

// readBody reads the whole body. The buffer begins no larger than ordinary
// notifications are, whatever the request announces: a thousand connections
// that promise a megabyte each and send nothing must not cost a gigabyte.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	size := min(max(r.ContentLength, 4<<10), 32<<10)
	buf := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	_, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	return buf.Bytes(), err
}

// sourceOf is the address the connection came from, without its port.
func sourceOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
