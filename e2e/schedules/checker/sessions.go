package checker

import (
	"slices"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/model"
)

// sessionsEnd finds requests that were taken with a session after somebody had signed out of
// it, or with a revoked token, and such as were refused although the session was live
// (docs/how-to/sign-in.md, "Sign in with a browser").
func sessionsEnd(x *index) []Violation {
	begun, ended := map[string]rec{}, map[string][]rec{}
	for _, q := range x.requests {
		switch {
		case q.Request.Session == "":
		case q.Request.Operation == history.SignIn && answered(q):
			begun[q.Request.Session] = q
		case q.Request.Operation == history.SignOut:
			ended[q.Request.Session] = append(ended[q.Request.Session], q)
		}
	}
	var all []Violation
	for _, q := range x.requests {
		name := q.Request.Session
		since, known := begun[name]
		if !known || q.Request.Operation == history.SignIn || q.Request.Operation == history.SignOut || !answered(q) && !refused(q) {
			continue
		}
		out := slices.IndexFunc(ended[name], func(o rec) bool { return answered(o) && o.Ended < q.Began && x.reached(o, q) })
		touched := slices.ContainsFunc(ended[name], func(o rec) bool { return o.Began < q.Ended })
		x.judged(x.runs[key(q.Request.Stack, q.Request.Run)], span{q.Began, q.Ended})
		switch {
		case out >= 0 && !turnedAway(q):
			all = append(all, violation(q.Request.Path, q.Request.Who+" had signed out of the session, and the request was not refused for that", since, ended[name][out], q))
		case x.surelyRevoked(q) && !turnedAway(q):
			all = append(all, violation(q.Request.Path, "the token of the session was revoked, and the request was not refused for that", since, q))
		case !touched && !x.revoked(q) && turnedAway(q):
			all = append(all, violation(q.Request.Path, "the session of "+q.Request.Who+" is live, and the request was refused", since, q))
		}
	}
	return all
}

// reached reports whether the replica that a request was sent to knew of a sign-out: it took
// it, or its peer passed it on and the audit log names no replica that gave no answer, and runs since.
func (x *index) reached(out, q rec) bool {
	if slices.ContainsFunc(x.starts[q.Request.Replica], func(s rec) bool { return s.Ended > out.Began && s.Began < q.Ended }) {
		return false
	}
	return out.Request.Replica == q.Request.Replica || slices.ContainsFunc(x.audit, func(e rec) bool {
		return e.Audit.RequestID == out.Request.ID && e.Audit.Process == out.Request.Replica && e.Audit.Detail == ""
	})
}

// surelyRevoked reports whether every configuration that may be in effect at a request has
// the token of its sender as revoked.
func (x *index) surelyRevoked(q rec) bool {
	configs := x.configs(span{q.Began, q.Ended})
	return len(configs) > 0 && !slices.ContainsFunc(configs, func(c model.Config) bool {
		bearer, found := c.Token(q.Request.Who)
		return found && !bearer.Revoked
	})
}

// revoked reports whether one of them has.
func (x *index) revoked(q rec) bool {
	return slices.ContainsFunc(x.configs(span{q.Began, q.Ended}), func(c model.Config) bool {
		bearer, _ := c.Token(q.Request.Who)
		return bearer.Revoked
	})
}
