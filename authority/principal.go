package authority

import (
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
)

// How says how a caller proved who they are.
type How string

// The ways to prove it.
const (
	HowToken   How = "token"   // a token of the configuration
	HowOIDC    How = "oidc"    // a bearer token of an issuer
	HowSession How = "session" // a browser's session cookie
)

// Principal is a caller: a person or machine, and what they may do where.
type Principal struct {
	How        How
	Credential string        // name of the token or the issuer
	Person     decide.Person // of the decisions
	Grants     []Grant
	Expires    time.Time // of the credential; zero for never

	configured []string // further names that the configuration gives the person
}

// Is reports whether there is a caller at all.
func (p Principal) Is() bool { return p.Person.Name != "" }

// Has reports whether the caller has a role anywhere.
func (p Principal) Has(needed Role) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool { return g.Role.Includes(needed) })
}

// HasIn reports whether the caller has a role anywhere in an account.
func (p Principal) HasIn(needed Role, account string) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool { return g.Role.Includes(needed) && g.Where.HoldsIn(account) })
}

// Rules reports whether the caller has a role for all of an account.
func (p Principal) Rules(needed Role, account string) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool {
		return g.Role.Includes(needed) && g.Where.HoldsIn(account) && g.Where.WholeAccounts()
	})
}

// HasEverywhere reports whether the caller has a role for all accounts.
func (p Principal) HasEverywhere(needed Role) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool {
		return g.Role.Includes(needed) && len(g.Where.Accounts) == 0 && g.Where.WholeAccounts()
	})
}

// Depends reports whether the caller's rights in an account depend on the spaces or
// labels of its stacks.
func (p Principal) Depends(needed Role, account string) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool {
		return g.Role.Includes(needed) && g.Where.HoldsIn(account) && g.Where.needsStack()
	})
}

// StackNames returns the ids of stacks that the caller's role is bound to by name, and
// reports whether it holds only for these and for stacks of bound spaces and labels.
func (p Principal) StackNames(needed Role) (ids []string, all bool) {
	for _, g := range p.Grants {
		switch {
		case !g.Role.Includes(needed):
		case g.Where.needsStack():
		case g.Where.WholeAccounts() || strings.Contains(strings.Join(g.Where.Stacks, ""), "*"):
			return nil, false
		default:
			ids = append(ids, g.Where.Stacks...)
		}
	}
	return ids, true
}

// May reports whether the caller has a role for a stack.
func (p Principal) May(needed Role, s Stack) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool { return g.Role.Includes(needed) && g.Where.Holds(s) })
}

// Roles returns the caller's roles, wherever they hold, each once.
func (p Principal) Roles() []Role {
	var all []Role
	for _, role := range Roles {
		if slices.ContainsFunc(p.Grants, func(g Grant) bool { return g.Role == role }) {
			all = append(all, role)
		}
	}
	return all
}
