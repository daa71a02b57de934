package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web/webtest"
)

// Whatever the API refuses is refused on the page where the button was: with the API's
// status and words, and with what the person had typed.
func TestEveryRefusalIsShownInPlace(t *testing.T) {
	const note = "typed with <care>"
	first := runAPI("billing-prod", 1)
	key := strings.TrimPrefix(strings.ReplaceAll(strings.ReplaceAll(first, "/v1/accounts/", ""), "/stacks/", "/"), "/")
	key = strings.ReplaceAll(key, "/runs/", "/") + "/5"
	runs := func(t *testing.T) *webtest.Site {
		s := webtest.New(t)
		operator(s)
		r, why := waitingRun()
		r.CanDecide = []api.Verdict{api.VerdictApprove, api.VerdictReject, api.VerdictRevoke}
		r.Failure = &api.Failure{Cause: "transient"}
		showsRun(s, r, why)
		return s
	}
	inBox, typed := []string{"section", "class", "why-box"}, []string{"textarea", "name", "note"}
	for name, story := range map[string]struct {
		site          func(*testing.T) *webtest.Site
		request, page string
		form          url.Values
		place, typed  []string
	}{
		"approve on the run": {runs, "POST " + first + "/decisions", billing, url.Values{"do": {"approve"}, "run": {key}}, inBox, nil},
		"reject on the run":  {runs, "POST " + first + "/decisions", billing, url.Values{"do": {"reject"}, "run": {key}, "note": {note}}, inBox, typed},
		"revoke on the run":  {runs, "POST " + first + "/decisions", billing, url.Values{"do": {"revoke"}, "run": {key}, "note": {note}}, inBox, typed},
		"retry the run":      {runs, "POST " + first + "/retry", billing, url.Values{"do": {"retry"}, "note": {note}}, inBox, typed},
		"stop the run":       {runs, "POST " + first + "/stop", billing, url.Values{"do": {"stop"}, "note": {note}}, inBox, typed},
		"retry in the chain": {chains, "POST /v1/accounts/acme/stacks/queue/runs/" + runID(3) + "/retry", chainPath, url.Values{"do": {"retry"}, "stack": {"queue"}, "run": {runID(3)}}, []string{"article", "class", "blocker"}, nil},
		"skip in the chain":  {chains, "POST /v1/accounts/acme/chains/" + chainRun.Run + "/skip", chainPath, url.Values{"do": {"skip"}, "stack": {"queue"}, "note": {note}}, []string{"article", "class", "blocker"}, typed},
		"stop the chain":     {chains, "POST /v1/accounts/acme/chains/" + chainRun.Run + "/stop", chainPath, url.Values{"do": {"stop"}, "note": {note}}, inBox, typed},
		"trigger a run":      {triggers, "POST /v1/accounts/acme/stacks/service005-prod-eu/runs", "accounts/acme/stacks/service005-prod-eu", url.Values{"type": {"TRACKED"}, "note": {note}}, []string{"div", "id", "live"}, typed},
		"declare a freeze":   {freezes, "POST /v1/accounts/acme/freezes", "calendar?zone=UTC", url.Values{"reason": {note}}, []string{"details", "class", "declare"}, []string{"input", "name", "reason"}},
		"lift a freeze":      {freezes, "DELETE /v1/accounts/acme/freezes/" + aFreeze.ID, "calendar?zone=UTC", url.Values{"lift": {aFreeze.ID}}, []string{"article", "class", "item"}, nil},
		"approve on Waiting": {waitsAsUsual, "POST " + first + "/decisions", "", url.Values{"verdict": {"approve"}, "run": {key}}, []string{"article", "class", "item"}, nil},
		"reject on Waiting":  {waitsAsUsual, "POST " + first + "/decisions", "", url.Values{"verdict": {"reject"}, "run": {key}, "note": {note}}, []string{"article", "class", "item"}, typed},
	} {
		t.Run(name, func(t *testing.T) {
			s := story.site(t)
			s.Refuse(story.request, http.StatusConflict, "Not now", "somebody was faster")
			d := s.Post(story.page, story.form)
			if d.Status != http.StatusConflict {
				t.Errorf("the status is %d", d.Status)
			}
			shown, kept := 0, len(story.typed) == 0
			for _, place := range d.All(story.place[0], story.place[1:]...) {
				for _, r := range place.All("p", "class", "refused") {
					if shown++; r.Text() != "Not now. Somebody was faster." {
						t.Errorf("the refusal reads %q", r.Text())
					}
				}
			}
			if shown != 1 {
				t.Errorf("%d refusals at the button: %s", shown, d.Text())
			}
			if len(story.typed) > 0 {
				for _, e := range d.All(story.typed[0], story.typed[1:]...) {
					kept = kept || e.Text() == note || e.Attr("value") == note
				}
			}
			if !kept {
				t.Errorf("the page lost what was typed")
			}
		})
	}
}

func chains(t *testing.T) *webtest.Site { return chainSite(t, aChain()) }

func freezes(t *testing.T) *webtest.Site { return calendarSite(t) }

func triggers(t *testing.T) *webtest.Site {
	s := stacksSite(t)
	operator(s)
	return s
}

func waitsAsUsual(t *testing.T) *webtest.Site {
	s := webtest.New(t)
	waits(s, usual())
	return s
}
