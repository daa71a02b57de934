package spaceliftapi

import (
	"fmt"
	"os"
	"strings"
)

// APIKey is the key that a Client signs in with. fmt and JSON don't show its
// secret.
type APIKey struct {
	ID     string `json:"id"` // a ULID
	Secret string `json:"-"`  // or an OIDC token, for an OIDC key
}

// String returns the key without its secret.
func (k APIKey) String() string { return "APIKey(" + k.ID + ")" }

// GoString returns the key without its secret, for %#v.
func (k APIKey) GoString() string { return k.String() }

// APIKey returns the key, which makes a fixed key a Credentials.
func (k APIKey) APIKey() (APIKey, error) { return k, nil }

// Credentials return the API key to use now. A Client calls them before every
// call, so they should be quick; when the key has changed, it signs in again.
type Credentials interface {
	APIKey() (APIKey, error)
}

// FileCredentials read the key from files, such as secrets mounted into a
// container. They read the files for every call: that costs microseconds where a
// call costs milliseconds, and the next call uses a replaced file, however it was
// replaced. Surrounding white space is dropped.
type FileCredentials struct {
	ID         string // used when IDFile is empty
	IDFile     string
	SecretFile string
}

// APIKey returns the key in the files. Errors name the file, never its content.
func (f FileCredentials) APIKey() (APIKey, error) {
	key := APIKey{ID: f.ID}
	var err error
	if f.IDFile != "" {
		if key.ID, err = readWord(f.IDFile); err != nil {
			return APIKey{}, fmt.Errorf("read API key id: %w", err)
		}
	}
	if key.Secret, err = readWord(f.SecretFile); err != nil {
		return APIKey{}, fmt.Errorf("read API key secret: %w", err)
	}
	return key, nil
}

func readWord(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	word := strings.TrimSpace(string(raw))
	if word == "" {
		return "", fmt.Errorf("%s is empty", file)
	}
	return word, nil
}
