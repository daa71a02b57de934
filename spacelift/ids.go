package spacelift

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Account is the name of a Spacelift account: its subdomain, such as "acme" in
// https://acme.app.spacelift.io.
type Account string

// StackID is the slug of a stack (or module), such as "network-prod".
type StackID string

// RunID is the id of a run within a stack. Spacelift uses 26-character ULIDs; we
// rely only on it being a plain word.
type RunID string

// RunRef is the full name of a run: the three ids always travel together.
type RunRef struct {
	Account Account `json:"account"`
	Stack   StackID `json:"stack"`
	Run     RunID   `json:"run"`
}

// String returns "account/stack/run", for logs and errors.
func (r RunRef) String() string {
	return string(r.Account) + "/" + string(r.Stack) + "/" + string(r.Run)
}

// maxIDLength limits each id. Spacelift publishes no limit; a ULID has 26
// characters, and slugs are made from stack names that people type.
const maxIDLength = 200

// Validate reports the first id that can't come from Spacelift, which makes ids of
// ASCII. Ids become parts of URL paths and of Temporal workflow ids, which Temporal's
// client sends as headers of gRPC, so separators, spaces, control characters and
// everything beyond ASCII are refused.
func (r RunRef) Validate() error {
	for _, id := range []struct{ name, value string }{
		{"account", string(r.Account)},
		{"stack", string(r.Stack)},
		{"run", string(r.Run)},
	} {
		if err := validateID(id.value); err != nil {
			return fmt.Errorf("%s id %w", id.name, err)
		}
	}
	return nil
}

// ValidateAccount reports what is wrong with an account's name. The error
// continues a sentence that names the value.
func ValidateAccount(a Account) error { return validateID(string(a)) }

// ValidateStack reports what is wrong with a stack's id, like ValidateAccount.
func ValidateStack(s StackID) error { return validateID(string(s)) }

func validateID(s string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case len(s) > maxIDLength:
		return fmt.Errorf("has %d bytes, more than %d", len(s), maxIDLength)
	case !utf8.ValidString(s):
		return errors.New("is not UTF-8")
	case s == "." || s == "..":
		return errors.New("is a path segment")
	}
	if i := strings.IndexFunc(s, notIDRune); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		return fmt.Errorf("holds the character %+q", r)
	}
	return nil
}

func notIDRune(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`/\?#%"'`, r)
}
