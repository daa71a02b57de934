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

// Remember keeps a key and what it was used for.
func (u *UsedKeys) Remember(key, what string) {
	if key == "" {
		return
	}
	*u = append(*u, usedKey{key, what})
	if len(*u) > MaxKeys {
		*u = slices.Delete(*u, 0, 1)
	}
}

// For returns what a key was used for; empty if it was not.
func (u UsedKeys) For(key string) string {
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

// Reused returns the refusal of a request whose key was used for other content; nil
// for the same request once more, which changes nothing.
func Reused(used, content string) *Refusal {
	if used == content {
		return nil
	}
	return Refuse(ErrTypeKeyReused, "this idempotency key was used for something else; take a new one")
}

// Digest identifies a list of words.
func Digest(words ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", words))
	return hex.EncodeToString(sum[:16])
}
