package spacelift

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"
)

// The headers that sign a delivery: the HMAC of the raw body, keyed with the
// webhook's secret, in lower-case hex after the algorithm's name. FedRAMP
// accounts don't send the SHA-1 header.
// https://docs.spacelift.io/integrations/webhooks
const (
	SignatureHeader     = "X-Signature-256"
	SignatureSHA1Header = "X-Signature"
)

const sha256Prefix = "sha256="

// The errors of a signature.
var (
	ErrSignatureMissing   = errors.New("signature is missing")
	ErrSignatureMalformed = errors.New("signature is malformed")
	ErrSignatureWrong     = errors.New("signature is wrong") // another secret, or other bytes than those signed
)

// VerifySignature checks the value of SignatureHeader against the raw body:
// re-encoded JSON has other bytes. It returns ErrSignatureMissing,
// ErrSignatureMalformed or ErrSignatureWrong. An empty secret matches no
// signature, because anyone can sign with an empty key.
//
// To try several secrets, parse once and call SignatureMatches.
func VerifySignature(secret, body []byte, header string) error {
	signature, err := ParseSignature(header)
	if err != nil {
		return err
	}
	if !SignatureMatches(secret, body, signature) {
		return ErrSignatureWrong
	}
	return nil
}

// ParseSignature returns the 32 bytes in the value of SignatureHeader. It returns
// ErrSignatureMissing for an empty value, and ErrSignatureMalformed, wrapped with
// the reason, for a value that can't come from Spacelift.
func ParseSignature(header string) ([]byte, error) {
	if header == "" {
		return nil, ErrSignatureMissing
	}
	digits, ok := strings.CutPrefix(header, sha256Prefix)
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrSignatureMalformed, sha256Prefix)
	}
	if want := hex.EncodedLen(sha256.Size); len(digits) != want {
		return nil, fmt.Errorf("%w: it has %d characters behind %s, not %d", ErrSignatureMalformed, len(digits), sha256Prefix, want)
	}
	signature, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not hex", ErrSignatureMalformed)
	}
	return signature, nil
}

// SignatureMatches reports whether the secret signed the body with signature,
// which comes from ParseSignature. It compares in constant time, and an empty
// secret never matches.
func SignatureMatches(secret, body, signature []byte) bool {
	return len(secret) > 0 && hmac.Equal(sum(secret, body), signature)
}

// Verifier checks signatures that one secret made. It is safe for concurrent use,
// and checks a signature without allocating.
type Verifier struct {
	secret string
	macs   sync.Pool // of hash.Hash
}

// NewVerifier returns a verifier of a secret's signatures. With an empty secret
// nothing matches.
func NewVerifier(secret string) *Verifier {
	v := &Verifier{secret: secret}
	v.macs.New = func() any { return hmac.New(sha256.New, []byte(secret)) }
	return v
}

// Secret returns the secret.
func (v *Verifier) Secret() string { return v.secret }

// Matches is like SignatureMatches.
func (v *Verifier) Matches(body, signature []byte) bool {
	if v.secret == "" {
		return false
	}
	mac := v.macs.Get().(hash.Hash)
	defer v.macs.Put(mac)
	mac.Reset()
	mac.Write(body)
	var sum [sha256.Size]byte
	return hmac.Equal(mac.Sum(sum[:0]), signature)
}

// Sign returns the value of SignatureHeader for a body.
func Sign(secret, body []byte) string {
	return sha256Prefix + hex.EncodeToString(sum(secret, body))
}

func sum(secret, body []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	return mac.Sum(nil)
}
