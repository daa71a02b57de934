package decide

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// usedKey is an idempotency key and what it was used for.
type usedKey struct {
	Key string `json:"key"`
	For string `json:"for"` // a fingerprint of the content
}

// UsedKeys are the newest idempotency keys, oldest first.
type UsedKeys []usedKey

// MaxKeys bounds how many keys are remembered.
const MaxKeys = 200

// Remember stores a key with the content of its request. It reports whether the
// request is new: one without a key always is.
func (u *UsedKeys) Remember(key, content string) (first bool) {
	switch {
	case key == "":
		return true
	case u.content(key) != "":
		return false
	}
	*u = append(*u, usedKey{key, content})
	if len(*u) > MaxKeys {
		*u = slices.Delete(*u, 0, 1)
	}
	return true
}

// Check reports whether a request came before with its key, which changes nothing.
// A key that was used for other content is refused.
func (u UsedKeys) Check(key, content string) (repeated bool, no *Refusal) {
	switch u.content(key) {
	case "":
		return false, nil
	case content:
		return true, nil
	}
	return false, Refuse(ErrTypeKeyReused, "this idempotency key was used for something else; take a new one")
}

// content returns the content that a key was used for; empty if it was not used.
func (u UsedKeys) content(key string) string {
	for _, k := range u {
		if key != "" && k.Key == key {
			return k.For
		}
	}
	return ""
}

// ErrTypeKeyReused is the type of the refusal of an idempotency key that was used for
// something else.
const ErrTypeKeyReused = "KeyReused"

// Digest identifies a list of words.
func Digest(words ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", words))
	return hex.EncodeToString(sum[:16])
}
