package checker

import (
	"net/http"
	"slices"

	"github.com/gantryhq/gantry/e2e/schedules/model"
)

// scopesBind finds requests of people that were taken though no role of theirs holds for
// the stack, and such as were refused for want of a role that holds (docs/how-to/sign-in.md); and requests
// of strangers that were taken. That the refused ones changed nothing, the rules about decisions and freezes say.
func scopesBind(x *index) []Violation {
	var all []Violation
	for _, q := range x.requests {
		role := model.RoleFor(q.Request.Operation)
		if role == "" || q.Request.Stack == "" || len(x.stacks[q.Request.Stack]) == 0 {
			continue
		}
		var grants []model.Grant
		for _, c := range x.configs(span{q.Began, q.Ended}) {
			grants = append(grants, c.May(q.Request.Who, role, q.Request.Stack, x.space(q.Request.Stack)))
		}
		every := func(g model.Grant) bool {
			return len(grants) > 0 && !slices.ContainsFunc(grants, func(o model.Grant) bool { return o != g })
		}
		x.judged(nil, span{q.Began, q.Ended})
		forbidden := q.Request.Status == http.StatusForbidden && problem(q) == "forbidden"
		switch {
		case every(model.Unknown) && (answered(q) || refused(q) && q.Request.Status != http.StatusUnauthorized):
			all = append(all, violation(q.Request.Path, "nobody vouches for "+q.Request.Who+", and the request was not refused for that", q))
		case every(model.Never) && (answered(q) || refused(q) && !forbidden):
			all = append(all, violation(q.Request.Path, q.Request.Who+" doesn't have the role "+role+" for "+q.Request.Stack+", and the request was not refused for that", q))
		case every(model.Held) && forbidden:
			all = append(all, violation(q.Request.Path, q.Request.Who+" has the role "+role+" for "+q.Request.Stack+", and the request was refused as if not", q))
		}
	}
	return all
}
