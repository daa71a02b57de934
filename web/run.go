package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"
	"golang.org/x/sync/errgroup"

	"github.com/gantryhq/gantry/gen/api"
)

// runView is the content of a run's page.
type runView struct {
	run       api.Run
	why       *api.Explanation // nil if the API can't explain it now
	operator  bool             // whether the caller may retry and stop runs somewhere
	resources []api.Resource   // all, or the first of them
	all       bool             // whether all resources are shown
	unread    *Refusal         // why not all resources can be shown
	temporal  templ.SafeURL    // the execution in Temporal's UI; empty for none
	done      string           // what a form did, as a sentence
	refused   *Refusal
	tried     string // what the refused form asked for
	note      string // that the refused form had
}

// maxTimeline bounds the entries of the timeline that the page shows.
const maxTimeline = 200

func (p *Pages) run(c *call) (answer, error) {
	v, err := p.readRun(c)
	if err != nil {
		return answer{}, err
	}
	return show(runPage(v))
}

// readRun reads a run, why it waits, and what the caller may do about it.
func (p *Pages) readRun(c *call) (*runView, error) {
	account, stack, run := c.PathValue("account"), c.PathValue("stack"), c.PathValue("run")
	v := &runView{operator: mayOperate(c.Context(), account)}
	reads, ctx := errgroup.WithContext(c.Context())
	reads.Go(func() error {
		res, err := c.API.GetRunWithResponse(ctx, account, stack, run)
		if err == nil {
			v.run = *res.JSON200
		}
		return err
	})
	reads.Go(func() error {
		if res, err := c.API.ExplainRunWithResponse(ctx, account, stack, run); err == nil {
			v.why = res.JSON200
		}
		return nil // the run says most of it as well
	})
	if err := reads.Wait(); err != nil {
		return nil, err
	}
	p.readResources(c, v)
	if p.TemporalUI != nil {
		v.temporal = external(p.TemporalUI("run/" + v.run.Account + "/" + v.run.Stack + "/" + v.run.Run))
	}
	return v, nil
}

// readResources reads all resources if they are asked for, and else those of the run.
func (p *Pages) readResources(c *call, v *runView) {
	if v.run.Resources != nil {
		v.resources = v.run.Resources.First
	}
	if c.URL.Query().Get("resources") != "all" {
		return
	}
	res, err := c.API.ListResourcesWithResponse(c.Context(), v.run.Account, v.run.Stack, v.run.Run)
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		v.unread = refusal
	}
	if err == nil {
		v.resources, v.all = res.JSON200.Resources, true
	}
}

// changeRun carries out what a form of the page asks for.
func (p *Pages) changeRun(c *call) (answer, error) {
	if err := c.ParseForm(); err != nil {
		return answer{}, err
	}
	done, err := c.change(c.PostForm.Get("do"))
	refusal, refused := errors.AsType[*Refusal](err)
	switch {
	case err != nil && !refused:
		return answer{}, err
	case !refused && c.Header.Get("HX-Request") == "":
		return answer{to: "./" + lastSegment(c.URL.EscapedPath())}, nil
	}
	v, err := p.readRun(c)
	if err != nil {
		return answer{}, err
	}
	v.done, v.refused = done, refusal
	status := http.StatusOK
	if refused {
		status, v.tried, v.note = refusal.Status, c.PostForm.Get("do"), c.PostForm.Get("note")
	}
	return answer{status: status, page: runPage(v)}, nil
}

func lastSegment(path string) string { return path[strings.LastIndex(path, "/")+1:] }

// change sends a change of the run to the API, and returns what it did.
func (c *call) change(what string) (string, error) {
	account, stack, run := c.PathValue("account"), c.PathValue("stack"), c.PathValue("run")
	note := api.ActionRequest{}
	if text := strings.TrimSpace(c.PostForm.Get("note")); text != "" {
		note.Note = &text
	}
	switch what {
	case "retry":
		_, err := c.API.RetryRunWithResponse(c.Context(), account, stack, run, &api.RetryRunParams{IdempotencyKey: c.key()}, note)
		return "Gantry asks Spacelift to retry the run.", err
	case "stop":
		_, err := c.API.StopRunWithResponse(c.Context(), account, stack, run, &api.StopRunParams{IdempotencyKey: c.key()}, note)
		return "Gantry asks Spacelift to stop the run.", err
	}
	verdict := api.Verdict(what)
	_, err := c.decide(c.PostForm.Get("run"), verdict, 0)
	return "You " + verdicts[verdict] + " this plan.", err
}

// can reports whether the caller may take a decision now.
func (v *runView) can(verdict api.Verdict) bool { return slices.Contains(v.run.CanDecide, verdict) }

// canRetry and canStop report whether it makes sense to ask for it.
func (v *runView) canRetry() bool {
	return v.operator && v.run.Failure != nil && (v.run.Retry == nil || v.run.Retry.New == nil)
}

func (v *runView) canStop() bool { return v.operator && v.run.Phase != api.PhaseDone }

// summary says why the run waits, or how it ended.
func (v *runView) summary() string {
	switch {
	case v.why != nil:
		return v.why.Summary
	case v.run.Outcome != nil:
		return *v.run.Outcome
	case v.run.WaitingFor != nil:
		return v.run.WaitingFor.Reason
	}
	return phaseSentence(v.run.Phase)
}

// mood returns the class of the sentence: red for what failed, green for what finished.
func (v *runView) mood() string {
	switch {
	case slices.Contains([]string{"FAILED", "STOPPED", "CANCELED", "DISCARDED"}, v.run.State), v.run.Bypass != nil:
		return "stop"
	case v.run.State == "FINISHED":
		return "go"
	}
	return ""
}

// title names the run by its stack and its change.
func (v *runView) title() string {
	name := cmp.Or(deref(v.run.StackName), v.run.Stack)
	if v.run.Commit != nil && deref(v.run.Commit.Message) != "" {
		return name + ": " + firstLine(*v.run.Commit.Message, 100)
	}
	return name
}

// commit returns the commit without its message, which is in the title.
func (v *runView) commit() *api.Commit {
	if v.run.Commit == nil {
		return nil
	}
	c := *v.run.Commit
	c.Message = nil
	return &c
}

// step is a part of a run's way.
type step struct {
	name  string
	class string    // past, now, failed or empty for what is ahead
	at    time.Time // when it began; zero for unknown
}

// stepOf has the step that each state of Spacelift's belongs to.
var stepOf = map[api.RunState]int{
	"QUEUED": 0, "READY": 0, "PENDING": 0,
	"PREPARING": 1, "INITIALIZING": 1, "PLANNING": 1, "REPLAN_REQUESTED": 1, "PREPARING_REPLAN": 1,
	"UNCONFIRMED": 2, "PENDING_REVIEW": 2,
	"CONFIRMED": 3, "PREPARING_APPLY": 3, "APPLYING": 3, "PERFORMING": 3, "DESTROYING": 3,
	"FINISHED": 4, "FAILED": 4, "DISCARDED": 4, "CANCELED": 4, "STOPPED": 4, "SKIPPED": 4,
}

// steps returns the way of the run, as far as its states show it.
func (v *runView) steps() []step {
	all := []step{{name: "Queued"}, {name: "Planned"}, {name: "Decided"}, {name: "Applied"}, {name: "Done"}}
	current := -1
	for _, s := range v.run.States {
		if i, ok := stepOf[s.State]; ok {
			if all[i].at.IsZero() || i == 2 {
				all[i].at = s.At
			}
			current = i
		}
	}
	now := []string{"Queued", "Planning", "Waiting", "Applying", "Done"}
	if w := v.run.WaitingFor; w != nil && current == 2 {
		now[2] = map[string]string{"person": "Waiting for people", "gate": "Waiting for a window", "chain": "Waiting for its chain"}[w.What]
		now[2] = cmp.Or(now[2], "Held")
	}
	for i := range all {
		switch {
		case i == current && current == 4:
			all[i].name, all[i].class = initial(strings.ToLower(v.run.State)), map[bool]string{true: "past", false: "failed"}[v.run.State == "FINISHED"]
		case i == current:
			all[i].name, all[i].class = now[i], "now"
		case i < current && !all[i].at.IsZero():
			all[i].class = "past"
		}
	}
	return all
}

// entries returns the timeline, the newest first.
func (v *runView) entries() []api.TimelineEntry {
	all := slices.Clone(v.run.Timeline)
	slices.Reverse(all)
	return all[:min(len(all), maxTimeline)]
}

// effects has the class of what a rule does.
var effects = map[string]string{"allows": "go", "asks": "warn", "forbids": "stop", "applies": "soft"}

// effect returns the class of what a rule does.
func effect(word string) string { return cmp.Or(effects[word], "soft") }

// entryClass returns the class of an entry of the timeline.
func entryClass(kind api.TimelineKind) string {
	switch kind {
	case "alarm", "bypass":
		return "del"
	case "event", "decision", "note":
		return "soft"
	}
	return ""
}

// keyOf names a run, with the plan that the page shows, in a form.
func keyOf(r api.Run) string {
	return runKey(api.RunSummary{Account: r.Account, Stack: r.Stack, Run: r.Run, StateVersion: &r.StateVersion})
}

// runsOfStack returns the address of the list of a stack's runs.
func runsOfStack(ctx context.Context, r api.Run) templ.SafeURL {
	return linkTo(ctx, "runs") + templ.SafeURL("?"+url.Values{"account": {r.Account}, "stack": {r.Stack}}.Encode())
}

// chainLink returns the address of a chain, which is named after the run that began it.
func chainLink(ctx context.Context, account string, c api.ChainRef) templ.SafeURL {
	return linkTo(ctx, append(runPath(account, c.Stack, c.Run), "chain")...)
}

// runTypeWords says what kind of run it is.
func runTypeWords(r api.Run) string {
	kind := strings.ToLower(r.Type)
	if deref(r.DriftDetection) {
		kind = "drift detection"
	}
	return strings.TrimSpace(kind + " run")
}

// verdictWords says what somebody decided.
func verdictWords(d api.Decided) string {
	words := map[api.Verdict]string{api.VerdictApprove: "approved", api.VerdictReject: "rejected", api.VerdictRevoke: "revoked"}[d.Verdict]
	if deref(d.Revoked) {
		words += ", and revoked it"
	}
	return words
}
