package schedules

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/rig"
	"github.com/gantryhq/gantry/e2e/schedules/script"
)

// request takes a step through Gantry's API. What Gantry answers is no error.
func (b *Batch) request(ctx context.Context, number int, s history.ScriptStep, run rig.Run) error {
	ask := rig.Ask{Who: s.Who, Method: http.MethodPost, Stack: s.Stack, Run: run.ID, Key: s.Args["key"], Replica: -1, Schedule: number}
	if name := s.Args["session"]; name != "" {
		ask.Session = strconv.Itoa(number) + "-" + name
	}
	switch s.Do {
	case script.Approve, script.Reject, script.Revoke:
		ask.Operation, ask.Path = "decideRun", rig.RunPath(run.Stack, run.ID, "decisions")
		ask.Body = decision(s, run)
	case script.Stop:
		ask.Operation, ask.Path, ask.Body = "stopRun", rig.RunPath(run.Stack, run.ID, "stop"), note("schedules: stop")
	case script.Retry:
		ask.Operation, ask.Path, ask.Body = "retryRun", rig.RunPath(run.Stack, run.ID, "retry"), note("schedules: retry")
	case script.Freeze:
		ask.Operation, ask.Path, ask.Run = "declareFreeze", "freezes", ""
		ask.Body = map[string]any{"reason": "schedules: an incident", "stacks": []string{s.Stack}}
	case script.Lift:
		return b.lift(ctx, number, ask)
	case script.Skip, script.StopChain:
		return b.onChain(ctx, s, ask)
	case script.Ask:
		ask.Operation, ask.Path, ask.Run, ask.Body = "triggerRun", "stacks/"+s.Stack+"/runs", "", note("schedules: ask")
	case script.SignIn:
		return b.Client.SignIn(ctx, s.Who, ask.Session)
	case script.Follow:
		b.follow(ctx, ask)
		return nil
	case script.SignOut:
		ask.Operation, ask.Path, ask.Stack, ask.Run = history.SignOut, "/sign-out", "", ""
	case script.Forecast:
		ask.Operation, ask.Method, ask.Path, ask.Run = "previewFollowers", http.MethodGet, "stacks/"+s.Stack+"/followers", ""
	case script.List:
		for _, operation := range []string{"listRuns", "listStacks"} {
			b.pages(ctx, rig.Ask{Who: s.Who, Operation: operation, Path: lists[operation], Schedule: number}, func([]byte) {})
		}
		return nil
	case script.Read:
		ask.Method = http.MethodGet
		b.read(ctx, ask, "getRun", "explainRun", "listTimeline")
		return nil
	default:
		return errUnknownStep(s.Do)
	}
	b.send(ctx, ask, s)
	return nil
}

func note(text string) map[string]string { return map[string]string{"note": text} }

func decision(s history.ScriptStep, run rig.Run) map[string]any {
	body := map[string]any{"verdict": s.Do, "note": "schedules: " + s.Do}
	switch s.Args["pin"] {
	case "now":
		body["stateVersion"] = run.Version
	case "old":
		body["stateVersion"] = max(0, run.Version-3)
	}
	return body
}

// send sends a request as often as its step says, and again under its key while
// there is no answer, as a careful client does.
func (b *Batch) send(ctx context.Context, ask rig.Ask, s history.ScriptStep) {
	repeats := 0
	if n, err := strconv.Atoi(s.Args["repeats"]); err == nil {
		repeats = n
	}
	var together sync.WaitGroup
	for range 1 + repeats {
		together.Go(func() {
			r := b.Client.Do(ctx, ask)
			for range 3 {
				if ask.Key == "" || r.Status != 0 && r.Status != http.StatusServiceUnavailable && r.Status != http.StatusAccepted {
					break
				}
				if !sleep(ctx, time.Second) {
					return
				}
				r = b.Client.Do(ctx, ask)
			}
			b.noteFreeze(ask, r)
		})
	}
	together.Wait()
}

// noteFreeze keeps the id of a freeze, so that the schedule can lift it.
func (b *Batch) noteFreeze(ask rig.Ask, r history.Request) {
	var freeze struct{ ID string }
	if r.Status != http.StatusCreated || json.Unmarshal(r.Answer, &freeze) != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.freezes[ask.Schedule], freeze.ID) {
		b.freezes[ask.Schedule] = append(b.freezes[ask.Schedule], freeze.ID)
	}
}

// lift lifts the freezes of a schedule.
func (b *Batch) lift(ctx context.Context, number int, ask rig.Ask) error {
	b.mu.Lock()
	freezes := b.freezes[number]
	delete(b.freezes, number)
	b.mu.Unlock()
	if len(freezes) == 0 {
		return errors.New("the schedule has no freeze")
	}
	for _, id := range freezes {
		ask.Operation, ask.Method, ask.Path, ask.Run = "liftFreeze", http.MethodDelete, "freezes/"+id, ""
		b.Client.Do(ctx, ask)
	}
	return nil
}

// onChain skips a stack of the schedule's newest chain, or stops the chain.
func (b *Batch) onChain(ctx context.Context, s history.ScriptStep, ask rig.Ask) error {
	first := "s" + strconv.Itoa(ask.Schedule) + "-a"
	chains := b.chains(ctx, ask.Who, "?stack="+first, false)
	if len(chains) == 0 {
		return errors.New("the schedule has no chain")
	}
	ask.Run = chains[0].Run
	ask.Operation, ask.Path, ask.Body = "stopChain", "chains/"+ask.Run+"/stop", note("schedules: stop")
	if s.Do == script.Skip {
		ask.Operation, ask.Path, ask.Body = "skipChainStack", "chains/"+ask.Run+"/skip", map[string]string{"stack": s.Stack, "note": "schedules: skip"}
	}
	b.send(ctx, ask, s)
	return nil
}

// chain is a chain as lists show it.
type chain struct{ Run, Stack, Phase string }

// chains lists chains, all pages of them. A list that has no answer is empty.
func (b *Batch) chains(ctx context.Context, who, query string, janitor bool) (all []chain) {
	b.pages(ctx, rig.Ask{Who: who, Operation: "listChains", Path: "chains" + query, Janitor: janitor}, func(answer []byte) {
		var page struct{ Chains []chain }
		if json.Unmarshal(answer, &page) == nil { // the record has what doesn't fit the contract
			all = append(all, page.Chains...)
		}
	})
	return all
}

// pages reads a list to its end.
func (b *Batch) pages(ctx context.Context, ask rig.Ask, take func(answer []byte)) {
	ask.Method, ask.Replica = http.MethodGet, -1
	first, separator := ask.Path, "?"
	if slices.Contains([]byte(first), '?') {
		separator = "&"
	}
	for {
		r := b.Client.Do(ctx, ask)
		if r.Status != http.StatusOK {
			return
		}
		take(r.Answer)
		var page struct{ NextPageToken string }
		if json.Unmarshal(r.Answer, &page) != nil || page.NextPageToken == "" {
			return
		}
		ask.Path = first + separator + "pageToken=" + page.NextPageToken
	}
}

// read reads what Gantry shows of a run.
func (b *Batch) read(ctx context.Context, ask rig.Ask, operations ...string) {
	for _, ask.Operation = range operations {
		ask.Path = rig.RunPath(ask.Stack, ask.Run, shows[ask.Operation])
		b.Client.Do(ctx, ask)
	}
}

// lists maps the operations that list to their paths.
var lists = map[string]string{"listRuns": "/v1/runs?pageSize=200", "listStacks": "stacks?pageSize=200"}

// shows maps the operations that show a run to their paths below it.
var shows = map[string]string{"getRun": "", "explainRun": "explain", "listTimeline": "timeline"}
