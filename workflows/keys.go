package workflows

import "slices"

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
