package checker

import (
	"net/http"
	"slices"
	"strings"
)

// answered reports whether Gantry said that the request counted.
func answered(q rec) bool {
	return q.Request.Status >= 200 && q.Request.Status < 300 || q.Request.Status == http.StatusSeeOther
}

// refused reports whether Gantry said that it did not count. Requests without an
// answer, and those that were not answered in time, may have counted.
func refused(q rec) bool { return q.Request.Status >= 400 && q.Request.Status < 500 }

// mayCount reports whether the request may have counted.
func mayCount(q rec) bool { return answered(q) || !refused(q) }

// problem returns the last part of the type of the problem that an answer is.
func problem(q rec) string {
	return q.Request.Problem[strings.LastIndexByte(q.Request.Problem, ':')+1:]
}

// verdicts returns the decisions of one verdict that people sent about a run.
func (r *run) verdicts(verdict ...string) []rec {
	var all []rec
	for _, q := range r.requests {
		if q.Request.Operation == "decideRun" && slices.Contains(verdict, decision(q).Verdict) {
			all = append(all, q)
		}
	}
	return all
}

// operations returns the requests about a run with one operation.
func (r *run) operations(name string) []rec {
	var all []rec
	for _, q := range r.requests {
		if q.Request.Operation == name {
			all = append(all, q)
		}
	}
	return all
}

type decisionBody struct {
	Verdict      string `json:"verdict"`
	StateVersion *int   `json:"stateVersion"`
	Note         string `json:"note"`
}

func decision(q rec) decisionBody { return decode[decisionBody](q.Request.Body) }
