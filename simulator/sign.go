package simulator

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Spacelift's older header uses it
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// The signatures are computed here and not with package spacelift's own
// functions, so that a mistake there can't cancel itself out in tests.

// signatures returns the values of X-Signature and X-Signature-256.
// Assumption: without a secret, both are made with an empty key.
func signatures(secret string, body []byte) (sha1Header, sha256Header string) {
	return "sha1=" + mac(sha1.New, secret, body), "sha256=" + mac(sha256.New, secret, body)
}

func mac(algorithm func() hash.Hash, secret string, body []byte) string {
	m := hmac.New(algorithm, []byte(secret))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}
