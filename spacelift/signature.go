package spacelift

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Spacelift still sends it; we only make it, for the simulator
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// The headers a delivery is signed with: the HMAC of the raw body, keyed with
// the webhook's secret, in lower-case hex behind the algorithm's name. FedRAMP
// accounts send no SHA-1 one.
// https://docs.spacelift.io/integrations/webhooks
const (
	SignatureHeader     = "X-Signature-256"
	SignatureSHA1Header = "X-Signature"
)

const (
	sha256Prefix = "sha256="
	sha1Prefix   = "sha1="
)

// What can be wrong with a signature.
var (
	ErrSignatureMissing   = errors.New("signature is missing")
	ErrSignatureMalformed = errors.New("signature is malformed")
	ErrSignatureWrong     = errors.New("signature is wrong") // another secret, or other bytes than were signed
)

// VerifySignature checks the value of SignatureHeader against the body as it
// came over the wire: re-encoded JSON has other bytes. It returns
// ErrSignatureMissing, ErrSignatureMalformed or ErrSignatureWrong, and
// ErrSignatureWrong whatever the header says when secret is empty, because
// anybody can sign with an empty key.
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

// ParseSignature returns the 32 bytes of the value of SignatureHeader. It
// returns ErrSignatureMissing for an empty value, and ErrSignatureMalformed,
// wrapped with what is odd about it, for one that Spacelift could not have sent.
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

// SignatureMatches reports whether signature, from ParseSignature, is the
// body's under secret. It takes the same time however much of it is right, and
// never matches an empty secret.
func SignatureMatches(secret, body, signature []byte) bool {
	return len(secret) > 0 && hmac.Equal(sum(sha256.New, secret, body), signature)
}

// Sign returns the value of SignatureHeader for a body.
func Sign(secret, body []byte) string {
	return sha256Prefix + hex.EncodeToString(sum(sha256.New, secret, body))
}

// SignSHA1 returns the value of SignatureSHA1Header for a body. It is there for
// senders: nothing here verifies it.
func SignSHA1(secret, body []byte) string {
	return sha1Prefix + hex.EncodeToString(sum(sha1.New, secret, body))
}

func sum(algorithm func() hash.Hash, secret, body []byte) []byte {
	mac := hmac.New(algorithm, secret)
	mac.Write(body)
	return mac.Sum(nil)
}
