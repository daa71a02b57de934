package spacelift

import (
	"fmt"
	"os"
	"strings"
)

// APIKey signs a Client in. Its secret is kept out of fmt and JSON.
type APIKey struct {
	ID     string `json:"id"` // a ULID
	Secret string `json:"-"`  // or an OIDC token, for an OIDC key
}

// String names the key without its secret.
func (k APIKey) String() string { return "APIKey(" + k.ID + ")" }

// GoString names the key without its secret, for %#v.
func (k APIKey) GoString() string { return k.String() }

// APIKey makes a fixed key a Credentials.
func (k APIKey) APIKey() (APIKey, error) { return k, nil }

// Credentials yield the API key to use now. A Client asks before every call, so
// answers should be quick; another key than last time makes it sign in again.
type Credentials interface {
	APIKey() (APIKey, error)
}

// FileCredentials read the key from files, as secrets are mounted into
// containers. They are read again for every call: that costs microseconds beside
// a call's milliseconds, and a replaced file is taken up by the next call,
// whatever way it was replaced. Surrounding white space is dropped.
type FileCredentials struct {
	ID         string // used when IDFile is empty
	IDFile     string
	SecretFile string
}

// APIKey reads the files. Errors name the file, never its content.
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
