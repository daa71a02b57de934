package workflows

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
)

// usedKey is an idempotency key and what it was used for.
type usedKey struct {
	Key string `json:"key"`
	For string `json:"for"` // a fingerprint of the content
}

// usedKeys are the newest idempotency keys, oldest first.
type usedKeys []usedKey

// maxKeys bounds how many keys are remembered.
const maxKeys = 200

// remember keeps a key and what it was used for.
func (u *usedKeys) remember(key, what string) {
	if key == "" {
		return
	}
	*u = append(*u, usedKey{key, what})
	if len(*u) > maxKeys {
		*u = slices.Delete(*u, 0, 1)
	}
}

// use returns what a key was used for; empty if it was not.
func (u usedKeys) use(key string) string {
	for _, k := range u {
		if key != "" && k.Key == key {
			return k.For
		}
	}
	return ""
}

// reused returns the refusal of a request whose key was used for other content; nil
// for the same request once more, which changes nothing.
func reused(used, content string) *refusal {
	if used == content {
		return nil
	}
	return refuse(ErrTypeKeyReused, "this idempotency key was used for something else; take a new one")
}

// content identifies what an idempotency key was used for. The caller counts by
// name alone: groups and aliases belong to the configuration.
func (d Decision) content() string {
	seen := "the current plan"
	if d.StateVersion != nil {
		seen = strconv.Itoa(*d.StateVersion)
	}
	return digest("decide", string(d.Verdict), d.By.Name, d.Note, seen)
}

func (r StopRequest) content() string { return digest("stop run", r.By.Name, r.Note) }
func (w SkipStack) content() string   { return digest("skip", string(w.Stack), w.By, w.Note) }
func (w StopChain) content() string   { return digest("stop", w.By, w.Note) }

// digest identifies a list of words.
func digest(words ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", words))
	return hex.EncodeToString(sum[:16])
}
