package checker

import (
	"net/http"
	"slices"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/model"
)

// scopesBind finds requests of people that were taken though no role of theirs holds for
// the stack, and such as were refused for want of a role that holds (docs/how-to/sign-in.md); and requests
// of strangers that were taken. That the refused ones changed nothing, the rules about decisions and freezes say.
func scopesBind(x *index) []Violation {
	all := append(x.overheard(), x.overread()...)
	for _, q := range x.requests {
		role := model.RoleFor(q.Request.Operation)
		if role == "" || q.Request.Stack == "" || len(x.stacks[q.Request.Stack]) == 0 {
			continue
		}
		var grants []model.Grant
		for _, c := range x.configs(span{q.Began, q.Ended}) {
			grants = append(grants, x.may(c, q, role, q.Request.Stack))
		}
		every := func(g model.Grant) bool {
			return len(grants) > 0 && !slices.ContainsFunc(grants, func(o model.Grant) bool { return o != g })
		}
		x.judged(nil, span{q.Began, q.Ended})
		forbidden := q.Request.Status == http.StatusForbidden && problem(q) == "forbidden"
		switch {
		case every(model.Unknown) && (answered(q) || refused(q) && !turnedAway(q)):
			all = append(all, violation(q.Request.Path, "nobody vouches for "+q.Request.Who+", and the request was not refused for that", q))
		case every(model.Held) && q.Request.Session == "" && q.Request.Status == http.StatusUnauthorized && x.ownToken(q.Request.Who):
			all = append(all, violation(q.Request.Path, "the token of "+q.Request.Who+" counts, and the request was refused as if not", q))
		case turnedAway(q) && q.Request.Session != "": // which the rule about sessions judges
		case turnedAway(q) && !x.ownToken(q.Request.Who): // an issuer's token, by a clock that is apart
		case every(model.Never) && (answered(q) || refused(q) && !forbidden):
			all = append(all, violation(q.Request.Path, q.Request.Who+" doesn't have the role "+role+" for "+q.Request.Stack+", and the request was not refused for that", q))
		case every(model.Held) && forbidden:
			all = append(all, violation(q.Request.Path, q.Request.Who+" has the role "+role+" for "+q.Request.Stack+", and the request was refused as if not", q))
		}
	}
	return all
}

// may returns whether a role of the caller's held for a stack at a request, or lately.
func (x *index) may(c model.Config, q rec, role, stack string) model.Grant {
	return x.mayDuring(c, q.Request.Who, role, stack, span{q.Began, q.Ended})
}

// mayDuring returns whether a role of somebody's held for a stack in a span, or lately.
func (x *index) mayDuring(c model.Config, who, role, stack string, s span) model.Grant {
	return c.May(who, role, stack, x.space(stack), slices.Concat(x.labelled(stack, span{s.from - lately, s.to})...)...)
}

// ownToken reports whether somebody has a token of Gantry's own: that of an issuer depends
// on clocks.
func (x *index) ownToken(who string) bool {
	bearer, found := model.Config(*x.setups[0].Setup).Token(who)
	return found && bearer.Signs == ""
}

// turnedAway reports whether Gantry believed no credentials of a request, or has seen too
// many such requests of its source.
func turnedAway(q rec) bool {
	return q.Request.Status == http.StatusUnauthorized || q.Request.Status == http.StatusTooManyRequests && problem(q) == "too-many-failures"
}

// lately is the time in which Gantry learns of other labels for the scopes of roles.
const lately = 2 * time.Minute

// overheard finds lists that show a stack to somebody without a role for it.
func (x *index) overheard() []Violation {
	var all []Violation
	for _, q := range x.requests {
		if q.Request.Operation != "listRuns" && q.Request.Operation != "listStacks" || !answered(q) {
			continue
		}
		x.judged(nil, span{q.Began, q.Ended})
		list := decode[struct{ Runs, Stacks []struct{ Stack string } }](q.Request.Answer)
		for _, l := range append(list.Runs, list.Stacks...) {
			configs := x.configs(span{q.Began, q.Ended})
			if len(x.stacks[l.Stack]) > 0 && len(configs) > 0 && !slices.ContainsFunc(configs, func(c model.Config) bool { return x.may(c, q, "viewer", l.Stack) != model.Never }) {
				all = append(all, violation(q.Request.Path, "the list shows "+l.Stack+" to "+q.Request.Who+", who has no role for it", q))
			}
		}
	}
	return all
}
