package server

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

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
	reasonLargeBodies        = "too-many-large-bodies"
)

// frontDoor lets authentic requests through to the webhook handler, and counts and
// logs all of them.
type frontDoor struct {
	accounts   []*guarded
	sources    sources
	refusals   *refusalLimiter
	bodies     *budget
	mismatches *mismatchDetector
	proxied    untrustedProxies
	inbox      Inbox
	metrics    *metrics
	deliveries *deliveryLog
	log        *slog.Logger
}

func newFrontDoor(cfg Config, box Inbox, m *metrics, log *slog.Logger) (*frontDoor, error) {
	if len(cfg.Accounts) == 0 {
		return nil, errors.New("no accounts configured; every webhook would be rejected")
	}
	f := &frontDoor{
		sources: sources{cfg.TrustedProxies}, refusals: newRefusalLimiter(cfg.Refusals), bodies: newBudget(),
		mismatches: newMismatchDetector(cfg.Accounts, log), inbox: box, metrics: m, deliveries: newDeliveryLog(log), log: log,
	}
	for _, a := range cfg.Accounts {
		if f.account(a.Name) != nil {
			return nil, fmt.Errorf("account %s is configured twice", a.Name)
		}
		if !hasSecret(a.Secrets()) {
			return nil, fmt.Errorf("account %s has no webhook secret; set one, or anybody could sign", a.Name)
		}
		if a.SecretHeader != "" && a.SecretHeaderValue() == "" {
			return nil, fmt.Errorf("account %s asks for the header %s but has no value for it", a.Name, a.SecretHeader)
		}
		f.accounts = append(f.accounts, &guarded{Account: a, metrics: m})
	}
	return f, nil
}

func hasSecret(secrets []string) bool {
	for _, s := range secrets {
		if s != "" {
			return true
		}
	}
	return false
}

// guarded is an account with what checking its signatures needs.
type guarded struct {
	directory directory
	Account
	metrics *metrics
	keys    atomic.Pointer[[]*signingKey] // for the secrets that were live last
}

// signingKey checks the signatures of one secret.
type signingKey struct {
	*spacelift.Verifier
	place int // among the account's secrets, from 1
	used  prometheus.Counter
}

// liveKeys returns the keys of the secrets that are live now.
func (a *guarded) liveKeys() []*signingKey {
	secrets := a.Secrets()
	if keys := a.keys.Load(); keys != nil && slices.EqualFunc(*keys, secrets, func(k *signingKey, secret string) bool { return k.Secret() == secret }) {
		return *keys
	}
	keys := make([]*signingKey, len(secrets))
	for i, secret := range secrets {
		keys[i] = &signingKey{spacelift.NewVerifier(secret), i + 1, a.metrics.secrets.WithLabelValues(string(a.Name), strconv.Itoa(i+1))}
	}
	a.keys.Store(&keys)
	return keys
}

// request is an authentic request to the webhook. On its way through the generated
// server it is the request's body.
type request struct {
	body     []byte
	held     int64            // of the budget for bodies
	delivery archive.Delivery // as far as it is known
	from     netip.Prefix     // the source
	signers  []signer
	depth    int // of the request's path
	room     [firstChunk]byte
}

// requests are used again, with the room for a body: it is most of what an event
// would allocate.
var requests = sync.Pool{New: func() any { return new(request) }}

// finish ends the use of a request and of its body.
func (f *frontDoor) finish(r *request) {
	f.bodies.release(r.from, r.held)
	clear(r.signers)
	r.body, r.held, r.delivery, r.from, r.signers, r.depth = nil, 0, archive.Delivery{}, netip.Prefix{}, r.signers[:0], 0
	requests.Put(r)
}

// signer is an account one of whose secrets made the signature.
type signer struct {
	*guarded
	key *signingKey
}

// Read fails: what needs the body has all of it.
func (*request) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Close does nothing.
func (*request) Close() error { return nil }

// admit reads the body once, checks its signature and lets the request through.
// The cheap checks come first: a flood without a plausible signature costs no
// read and no hash.
func (f *frontDoor) admit(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.metrics.received.Inc()
		source := f.sources.of(r)
		req := requests.Get().(*request)
		defer f.finish(req)
		req.delivery = archive.Delivery{ReceivedAt: time.Now(), Source: sourceName(source, r), Size: int(max(0, r.ContentLength))}
		req.from, req.depth = Neighborhood(source), depthOf(r)
		err := f.authenticate(r, req)
		if err != nil {
			f.refuse(w, r, req, err)
			return
		}
		doctor := strings.HasPrefix(r.UserAgent(), TestUserAgent+"/")
		for _, s := range req.signers {
			s.key.used.Inc()
			if !doctor {
				f.mismatches.authentic(s.Name)
			}
		}
		if f.sources.hidden(r) {
			f.proxied.record(req, f.log)
		}
		r.Body = req
		next(w, r)
	}
}

// authenticate fills in req, or says why the request is refused.
func (f *frontDoor) authenticate(r *http.Request, req *request) *refused {
	header, why := signatureHeader(r.Header)
	if why != nil {
		return why
	}
	signature, err := spacelift.ParseSignature(header)
	if err != nil {
		return notAuthentic(reasonSignatureMalformed, spacelift.SignatureHeader+": "+err.Error())
	}
	req.body, req.held, err = f.readBody(r, req.from, req.room[:])
	if err != nil {
		return bodyProblem(err)
	}
	req.delivery.Size = len(req.body)
	if req.signers = f.signersOf(req.signers, signature, req.body); len(req.signers) == 0 {
		return notAuthentic(reasonSignatureMismatch,
			"no live secret of any configured account made this signature over this body; "+
				"compare the webhook's secret with Gantry's, and sign the raw bytes, not a re-encoded body")
	}
	req.delivery.Run.Account, req.delivery.Secret = req.signers[0].Name, req.signers[0].key.place
	return f.secondFactor(r.Header, req)
}

// bodyProblem says why a body was not read.
func bodyProblem(err error) *refused {
	switch {
	case errors.Is(err, errBodyTooLarge):
		return &refused{reasonBodyTooLarge, problem(reasonBodyTooLarge, "a notification has at most 1 MiB")}
	case errors.Is(err, errSourceLimited):
		return &refused{reasonTooMany, problem(reasonTooMany, "bodies over 64 KiB are not read from this source now")}
	case errors.Is(err, errNoBudget):
		return &refused{reasonLargeBodies, problem(reasonLargeBodies, "Gantry is reading as many large bodies as it has memory for; send the event again")}
	default:
		return &refused{reasonBodyUnreadable, badRequest("the body broke off; send it again")}
	}
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

// signersOf adds the accounts that signed. It tries every live secret of every account
// and doesn't stop at the first that fits: two accounts may, by mistake, share a secret.
func (f *frontDoor) signersOf(found []signer, signature, body []byte) []signer {
	for _, a := range f.accounts {
		for _, k := range a.liveKeys() {
			if k.Matches(body, signature) {
				found = append(found, signer{a, k})
				break
			}
		}
	}
	return found
}

// secondFactor drops the signers whose secret header is missing or wrong.
func (f *frontDoor) secondFactor(h http.Header, req *request) *refused {
	kept := req.signers[:0]
	missing := ""
	for _, s := range req.signers {
		if s.SecretHeader == "" || subtle.ConstantTimeCompare([]byte(h.Get(s.SecretHeader)), []byte(s.SecretHeaderValue())) == 1 {
			kept = append(kept, s)
			continue
		}
		missing = s.SecretHeader
	}
	if req.signers = kept; len(kept) == 0 {
		return notAuthentic(reasonSecretHeader, "the signature fits, but the header "+missing+" is missing or wrong; set it on the webhook in Spacelift")
	}
	return nil
}

func (f *frontDoor) account(name spacelift.Account) *guarded {
	for _, a := range f.accounts {
		if a.Name == name {
			return a
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

// refuse answers a request that was not let in. Beyond what its source may
// spend it leaves no trace but a counter, so that a flood can't fill the log.
func (f *frontDoor) refuse(w http.ResponseWriter, r *http.Request, req *request, why *refused) {
	d := req.delivery
	bucket := bucketKey{source: req.from}
	if why.reason == reasonSignatureMismatch {
		if bucket.account = f.named(req.body); bucket.account != "" {
			d.Run.Account = bucket.account
			f.mismatches.mismatch(bucket.account, d.ReceivedAt)
		}
	}
	switch why.reason {
	case reasonLargeBodies: // it may be authentic
	case reasonTooMany:
		f.refuseLimited(w, why, f.refusals.refill())
		return
	default:
		if bucket.account != "" && len(req.body) > trustBody {
			f.refusals.spend(bucketKey{source: req.from}) // the one that readBody asks
		}
		if wait := f.refusals.spend(bucket); wait > 0 {
			f.refuseLimited(w, &refused{reasonTooMany, problem(reasonTooMany,
				"the last one: "+why.reason+"; requests that are signed correctly and have at most 64 KiB are never slowed down")}, wait)
			return
		}
	}
	f.metrics.refused.add(why.reason)
	d.Outcome, d.Reason, d.Detail, d.Latency = archive.OutcomeRefused, why.reason, *why.problem.Detail, time.Since(d.ReceivedAt)
	d = f.inbox.Log(d)
	f.deliveries.write(r.Context(), slog.LevelWarn, d)
	p := why.problem
	p.Instance = new(relative(req.depth, "v1/deliveries/"+d.ID))
	if why.reason == reasonLargeBodies {
		writeProblemAfter(w, p, retryBodies)
		return
	}
	writeProblem(w, p)
}

func (f *frontDoor) refuseLimited(w http.ResponseWriter, why *refused, wait time.Duration) {
	f.metrics.refused.add(reasonTooMany)
	writeProblemAfter(w, why.problem, wait)
}

// named returns the configured account that a body without a valid signature
// names; empty if it names none.
func (f *frontDoor) named(body []byte) spacelift.Account {
	n, err := readNotification(body)
	if err != nil || !n.run {
		return ""
	}
	if a := f.account(spacelift.Account(n.account.value)); a != nil {
		return a.Name
	}
	return ""
}

// sourceName returns the source as the delivery log has it.
func sourceName(a netip.Addr, r *http.Request) string {
	if !a.IsValid() {
		return r.RemoteAddr
	}
	return a.String()
}
