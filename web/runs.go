package web

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/gen/api"
)

// runsView is the content of the list of runs.
type runsView struct {
	runs    []api.RunSummary
	next    *string
	query   url.Values
	refused *Refusal // a filter that the API doesn't take
}

// phases are those that the list can be filtered by.
var phases = []string{"queued", "planning", "waiting", "holding", "confirming", "applying", "retrying", "following", "done"}

func (p *Pages) runs(c *call) (answer, error) {
	q := c.URL.Query()
	text := func(name string) *string {
		if value := strings.TrimSpace(q.Get(name)); value != "" {
			return &value
		}
		return nil
	}
	params := api.ListRunsParams{Account: text("account"), Stack: text("stack"), Author: text("author"), PageToken: text("pageToken")}
	if phase := q.Get("phase"); slices.Contains(phases, phase) {
		params.Phase = new(api.Phase(phase))
	}
	v := runsView{query: q}
	res, err := c.API.ListRunsWithResponse(c.Context(), &params)
	if err != nil {
		if refusal, ok := errors.AsType[*Refusal](err); ok && refusal.Status == 400 {
			v.refused = refusal
			return answer{status: refusal.Status, page: runsPage(v)}, nil
		}
		return answer{}, err
	}
	v.runs, v.next = res.JSON200.Runs, res.JSON200.NextPageToken
	return show(runsPage(v))
}

// phaseClass returns the colour of a run's phase: amber waits, green has finished, red has
// failed.
func phaseClass(r api.RunSummary) string {
	switch {
	case r.Phase == api.PhaseWaiting, r.Phase == api.PhaseHolding, r.Phase == api.PhaseRetrying:
		return "warn"
	case r.State == "FINISHED":
		return "go"
	case r.Phase == api.PhaseDone:
		return "stop"
	}
	return "soft"
}

// phaseWord returns how far a run is: its phase, or the state that it ended in.
func phaseWord(r api.RunSummary) string {
	if r.Phase == api.PhaseDone && r.State != "" {
		return stateWords(r.State)
	}
	return string(r.Phase)
}

// stateWords returns a state of Spacelift's in small letters.
func stateWords(state api.RunState) string {
	return strings.ToLower(strings.ReplaceAll(state, "_", " "))
}
