package server

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
)

// csrfHeader and csrfField carry the token that a page sends with each change: the
// session's own, or that of a form, which is masked.
const (
	csrfHeader = "X-CSRF-Token"
	csrfField  = "csrf_token"
)

// maskToken returns a session's token for one page, under a mask of its own. Pages are
// compressed and repeat what others wrote, so the length of many pages would reveal a token
// that stays the same (https://www.breachattack.com).
func maskToken(token string) string {
	masked := make([]byte, 2*len(token))
	mask, rest := masked[:len(token)], masked[len(token):]
	_, _ = rand.Read(mask) // it never fails
	subtle.XORBytes(rest, mask, []byte(token))
	return base64.RawURLEncoding.EncodeToString(masked)
}

// isToken reports whether what a request sent is a session's token, masked or not.
func isToken(sent, token string) bool {
	got := []byte(sent)
	if masked, err := base64.RawURLEncoding.DecodeString(sent); err == nil && len(masked) == 2*len(token) {
		got = make([]byte, len(token))
		subtle.XORBytes(got, masked[:len(token)], masked[len(token):])
	}
	return subtle.ConstantTimeCompare(got, []byte(token)) == 1
}
