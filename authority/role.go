package authority

import "slices"

// Role is a set of rights. Every role may read.
type Role string

// The roles.
const (
	RoleViewer   Role = "viewer"   // read
	RoleApprover Role = "approver" // decide on runs
	RoleOperator Role = "operator" // repair: retry, stop, freeze, skip and redeliver
	RoleAdmin    Role = "admin"    // everything
)

// Roles lists every role.
var Roles = []Role{RoleViewer, RoleApprover, RoleOperator, RoleAdmin}

// Includes reports whether role r may do what needs the other role. An operator may
// not decide on runs: a program that repairs must not approve.
func (r Role) Includes(needed Role) bool {
	if !slices.Contains(Roles, r) || !slices.Contains(Roles, needed) {
		return false
	}
	return r == needed || r == RoleAdmin || needed == RoleViewer
}
