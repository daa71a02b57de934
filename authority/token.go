package authority

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
)

// Token lets its bearer use the API. Only its hash is stored: tokens are 32 random
// bytes, so a plain SHA-256 can't be guessed back. Its tags are those of the settings
// in package config.
type Token struct {
	Name    string   `setting:"name" doc:"Name of the person or machine that bears the token."`
	Role    Role     `setting:"role" doc:"Role of the bearer everywhere: viewer, approver, operator or admin. Without one, the bearer has the roles that bindings give."`
	Groups  []string `setting:"groups" doc:"Groups the bearer belongs to."`
	Hash    string   `setting:"hash" secret:"true" doc:"Hash of the token, as gantry token create prints it."` // TokenHash
	Expires Instant  `setting:"expires" doc:"Time at which the token stops counting, such as 2027-01-31 or 2027-01-31T12:00:00Z. Without one, it never does."`
	Revoked Instant  `setting:"revoked" doc:"Time at which the token was revoked, as gantry token revoke notes it. A revoked token is refused."`
}

// Instant is a time, written as a day or as RFC 3339; empty for none. A day is its
// beginning in UTC.
type Instant string

// Time returns the time, zero for none and for text that is no time that answers can hold.
func (i Instant) Time() time.Time {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, string(i)); err == nil && decide.Storable(t) {
			return t
		}
	}
	return time.Time{}
}

// ended reports whether the token no longer counts.
func (t Token) ended(now time.Time) bool {
	return t.Revoked != "" || t.Expires != "" && !now.Before(t.Expires.Time())
}

// TokenHash returns the hash of a token, which the configuration holds in its place.
func TokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// hashOf reads a TokenHash.
func hashOf(tokenHash string) (hash [sha256.Size]byte, ok bool) {
	b, err := hex.DecodeString(tokenHash)
	if err != nil || len(b) != len(hash) {
		return hash, false
	}
	return [sha256.Size]byte(b), true
}

// Reasons why a token doesn't count.
var (
	ErrUnknownToken = errors.New("nobody has this token")
	ErrExpiredToken = errors.New("the token has expired")
	ErrRevokedToken = errors.New("the token is revoked")
)

// Rules resolves tokens and identities to callers, by a configuration.
type Rules struct {
	keys     []*key
	people   []decide.Person
	bindings []Binding
}

// key is a token, and when it was used last in this process.
type key struct {
	Token
	hash [sha256.Size]byte
	used atomic.Int64 // Unix nanoseconds; 0 for never
}

// NewRules returns the rules of a configuration. It reports every problem that it has,
// each with the setting that it concerns. People may have groups.
func NewRules(tokens []Token, people []decide.Person, bindings []Binding) (*Rules, error) {
	r := &Rules{people: people, bindings: bindings}
	for _, t := range tokens {
		hash, _ := hashOf(t.Hash) // tokenProblems reports one that can't be read
		r.keys = append(r.keys, &key{Token: t, hash: hash})
	}
	if err := errors.Join(slices.Concat(r.tokenProblems(), peopleProblems(people), bindingProblems(bindings))...); err != nil {
		return nil, err
	}
	return r, nil
}

// OfToken returns the bearer of a token, by its TokenHash, and notes that it was used.
// The hash is compared with all, so that the duration doesn't reveal which one matches.
func (r *Rules) OfToken(tokenHash string, now time.Time) (Principal, error) {
	hash, ok := hashOf(tokenHash)
	if !ok {
		return Principal{}, ErrUnknownToken
	}
	var found *key
	for _, k := range r.keys {
		if subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1 {
			found = k
		}
	}
	switch {
	case found == nil:
		return Principal{}, ErrUnknownToken
	case found.Revoked != "":
		return Principal{}, ErrRevokedToken
	case found.ended(now):
		return Principal{}, ErrExpiredToken
	}
	found.used.Store(now.UnixNano())
	return r.bearer(found.Token), nil
}

// bearer returns the bearer of a token.
func (r *Rules) bearer(t Token) Principal {
	p := r.named(t.Name, nil, t.Groups)
	p.How, p.Credential, p.Expires = HowToken, t.Name, t.Expires.Time()
	if t.Role != "" {
		p.Grants = append(p.Grants, Grant{Role: t.Role})
	}
	return r.bound(p)
}

// Of returns the caller that an issuer vouches for. The aliases can only take rights
// away: they name whose runs the caller may not approve.
func (r *Rules) Of(how How, who Identity) Principal {
	p := r.named(who.Name, who.Aliases, who.Groups)
	p.How, p.Credential, p.Expires = how, who.Issuer, who.Expires
	return r.bound(p)
}

// OfSession returns the caller of a live session. A token is looked up again, so the
// session ends with it.
func (r *Rules) OfSession(s Session, now time.Time) (p Principal, err error) {
	if s.Token == "" {
		p = r.Of(HowSession, s.Identity)
	} else if p, err = r.OfToken(s.Token, now); err != nil {
		return Principal{}, err
	}
	p.How = HowSession
	if s.Token == "" || p.Expires.IsZero() || s.ends.Before(p.Expires) {
		p.Expires = s.ends
	}
	return p, nil
}

// named returns the caller with a name, without roles. The configured person of that
// name has more names and groups.
func (r *Rules) named(name string, aliases, groups []string) Principal {
	p := Principal{Person: decide.Person{Name: name, Groups: groups}}
	for _, known := range r.people {
		if known.IsCalled(name) {
			p.Person.Name, p.configured = known.Name, append(slices.Clone(known.Aliases), name)
			p.Person.Groups = union(known.Groups, groups)
			p.Person.Aliases = known.Aliases
		}
	}
	p.Person.Aliases = union(p.Person.Aliases, aliases)
	return p
}

func union(a, b []string) (all []string) {
	for _, s := range slices.Concat(a, b) {
		if !slices.ContainsFunc(all, func(t string) bool { return decide.SameText(s, t) }) {
			all = append(all, s)
		}
	}
	return all
}

// bound adds the roles that bindings give.
func (r *Rules) bound(p Principal) Principal {
	for _, b := range r.bindings {
		if b.binds(p) {
			p.Grants = append(p.Grants, Grant{b.Role, b.Where})
		}
	}
	return p
}

// UsedToken is a token, what its bearer may do, and when this process saw it last.
type UsedToken struct {
	Token
	Grants []Grant
	Used   time.Time // zero for never
}

// Tokens lists the tokens, in the order of the configuration.
func (r *Rules) Tokens() []UsedToken {
	all := make([]UsedToken, len(r.keys))
	for i, k := range r.keys {
		all[i] = UsedToken{Token: k.Token, Grants: r.bearer(k.Token).Grants}
		if used := k.used.Load(); used != 0 {
			all[i].Used = time.Unix(0, used).UTC()
		}
	}
	return all
}

// KeepUse takes over when tokens were used last from the rules before.
func (r *Rules) KeepUse(before *Rules) {
	for _, k := range r.keys {
		for _, old := range before.keys {
			if old.hash == k.hash {
				k.used.Store(old.used.Load())
			}
		}
	}
}

// Approvers returns the people whose tokens may approve somewhere, by name. A person
// with several tokens is one approver.
func (r *Rules) Approvers(now time.Time) []decide.Person {
	all := []decide.Person{}
	for _, k := range r.keys {
		p := r.bearer(k.Token)
		if !p.Has(RoleApprover) || k.ended(now) {
			continue
		}
		i := slices.IndexFunc(all, func(a decide.Person) bool { return decide.SameName(a.Name, p.Person.Name) })
		if i < 0 {
			all = append(all, decide.Person{Name: p.Person.Name, Aliases: p.Person.Aliases})
			i = len(all) - 1
		}
		all[i].Groups = union(all[i].Groups, p.Person.Groups)
	}
	slices.SortFunc(all, func(a, b decide.Person) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// tokenProblems reports invalid tokens.
func (r *Rules) tokenProblems() (problems []error) {
	for i, k := range r.keys {
		t, before := k.Token, r.keys[:i]
		bad := func(format string, args ...any) {
			problems = append(problems, policy.At(fmt.Sprintf("tokens[%d]", i), fmt.Errorf(format, args...)))
		}
		if t.Name == "" {
			bad("name: it is missing; name the person or machine that bears the token")
		} else if err := decide.CheckName(t.Name); err != nil {
			bad("name: %+q can't be a name: %w", t.Name, err)
		}
		problems = append(problems, groupProblems(fmt.Sprintf("tokens[%d]", i), t.Groups)...)
		if slices.ContainsFunc(before, func(o *key) bool { return t.Name != "" && decide.SameName(o.Name, t.Name) }) {
			bad("name: it is configured twice; names that differ only in case, or in how Unicode composes them, are the same")
		}
		if t.Role != "" && !slices.Contains(Roles, t.Role) {
			bad("role: there is no role %q; choose one of %v", t.Role, Roles)
		} else if len(r.bearer(t).Grants) == 0 {
			bad("role: it is missing, and no binding is about the token or its groups; give it a role, or a binding")
		}
		for name, i := range map[string]Instant{"expires": t.Expires, "revoked": t.Revoked} {
			if i != "" && i.Time().IsZero() {
				bad("%s: %q is neither a day such as 2027-01-31 nor a time such as 2027-01-31T12:00:00Z", name, i)
			}
		}
		if _, ok := hashOf(t.Hash); !ok {
			bad("hash: it is not 64 hex digits; create a token with gantry token create")
		} else if slices.ContainsFunc(before, func(o *key) bool { return o.hash == k.hash }) {
			bad("hash: another token has it too; create a token for each bearer")
		}
	}
	return problems
}

// groupProblems reports invalid names of groups.
func groupProblems(setting string, groups []string) (problems []error) {
	for _, g := range groups {
		if err := decide.CheckGroup(g); err != nil {
			problems = append(problems, policy.At(setting, fmt.Errorf("groups: %+q can't be a group: %w", g, err)))
		}
	}
	return problems
}

// peopleProblems reports names that are empty or belong to two people: the bearer of
// such a name could approve as someone else.
func peopleProblems(people []decide.Person) (problems []error) {
	for i, p := range people {
		bad := func(format string, args ...any) {
			problems = append(problems, policy.At(fmt.Sprintf("people[%d]", i), fmt.Errorf(format, args...)))
		}
		if p.Name == "" {
			bad("name: it is missing; name the person")
		}
		if slices.Contains(p.Aliases, "") {
			bad("aliases: one is empty; remove it")
		}
		problems = append(problems, groupProblems(fmt.Sprintf("people[%d]", i), p.Groups)...)
		for _, name := range p.Names() {
			if err := decide.CheckName(name); name != "" && err != nil {
				bad("name: %+q can't be a name: %w", name, err)
			}
			for _, other := range people[:i] {
				if name != "" && other.IsCalled(name) {
					bad("name: %s is a name of %s too; give each name to one person", name, other.Name)
				}
			}
		}
	}
	return problems
}
