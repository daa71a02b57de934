package web

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/a-h/templ"

	"github.com/gantryhq/gantry/gen/api"
)

// stackView is a stack as its page shows it.
type stackView struct {
	*api.Stack
	Runs      []api.RunSummary
	Preview   *api.FollowersPreview // of what a finished run releases; nil if it isn't known
	Drawing   drawing               // of the preview
	Triggered *api.Trigger          // by the form of the page
	Refused   *Refusal
	Wanted    api.TriggerRequest // what the person asked for
}

// stack shows a stack: what happens to its plans and why, and its runs.
func (p *Pages) stack(c *call) (answer, error) { return p.showStack(c, &stackView{}) }

// triggerRun takes the form of the page, which triggers a run.
func (p *Pages) triggerRun(c *call) (answer, error) {
	v := &stackView{}
	kind := api.TriggerRequestType(c.PostFormValue("type"))
	v.Wanted = api.TriggerRequest{Type: &kind}
	if commit := strings.TrimSpace(c.PostFormValue("commit")); commit != "" {
		v.Wanted.Commit = &commit
	}
	if note := c.PostFormValue("note"); note != "" {
		v.Wanted.Note = &note
	}
	done, err := c.API.TriggerRunWithResponse(c.Context(), c.PathValue("account"), c.PathValue("stack"), &api.TriggerRunParams{IdempotencyKey: c.key()}, v.Wanted)
	switch refusal, refused := errors.AsType[*Refusal](err); {
	case refused:
		v.Refused = refusal
	case err != nil:
		return answer{}, err
	default:
		v.Triggered = cmp.Or(done.JSON201, done.JSON202)
	}
	return p.showStack(c, v)
}

// showStack shows the stack as it is now.
func (p *Pages) showStack(c *call, v *stackView) (answer, error) {
	account, stack := c.PathValue("account"), c.PathValue("stack")
	found, err := c.API.GetStackPolicyWithResponse(c.Context(), account, stack)
	if err != nil {
		return answer{}, err
	}
	runs, err := c.API.ListRunsWithResponse(c.Context(), &api.ListRunsParams{Account: &account, Stack: &stack, PageSize: new(10)})
	if err != nil {
		return answer{}, err
	}
	v.Stack, v.Runs = found.JSON200, runs.JSON200.Runs
	if preview, err := c.API.PreviewFollowersWithResponse(c.Context(), account, stack); err == nil && v.Managed {
		v.Preview = preview.JSON200
		v.Drawing = p.draw(previewed(v.Preview, func(stack string) templ.SafeURL {
			return templ.SafeURL(relative(depthOf(c.Request), "accounts", account, "stacks", stack))
		}))
	}
	a := answer{page: stackPage(v)}
	if v.Refused != nil {
		a.status = v.Refused.Status
	}
	return a, nil
}

// previewed returns what is drawn of a preview: the stack whose run finishes, and those
// that follow.
func previewed(preview *api.FollowersPreview, to func(stack string) templ.SafeURL) []graphStack {
	all := []graphStack{{Stack: preview.Stack, Mark: markDone, Short: "when its run finishes", Long: preview.Summary, To: to(preview.Stack)}}
	for _, f := range preview.Followers {
		s := graphStack{Stack: f.Stack, After: f.After, Mark: markMoving, Short: "is triggered", Long: f.Reason, To: to(f.Stack)}
		switch {
		case !f.Released:
			s.Mark, s.Short = markHeld, "is not triggered"
		case f.Gate != nil && !f.Gate.Open:
			s.Mark, s.Short = markWaiting, "is triggered, then waits"
		}
		all = append(all, s)
	}
	if len(all) > mostDrawn {
		return all[:mostDrawn]
	}
	return all
}

// set returns the values of the policy that somebody chose, and defaults the others.
func (v *stackView) set() []api.PolicyValue {
	return slices.DeleteFunc(slices.Clone(v.Policy), isDefault)
}

func (v *stackView) defaults() []api.PolicyValue {
	return slices.DeleteFunc(slices.Clone(v.Policy), func(p api.PolicyValue) bool { return !isDefault(p) })
}

func isDefault(p api.PolicyValue) bool { return p.Origin == "default" && len(p.Overruled) == 0 }

// follows returns the stacks that this one follows.
func (v *stackView) follows() []string {
	after := settingsOf(v.Policy)["after"]
	if after == "" {
		return nil
	}
	return strings.Split(after, ", ")
}

// tone returns the style of the box about enforcement and problems.
func (v *stackView) tone() string {
	switch worth := level(*v.Stack); {
	case len(v.Problems) > 0 || worth == "void":
		return "stop"
	case worth == "advisory" || len(v.Warnings) > 0 || !v.Gate.Open:
		return "warn"
	case worth == "enforced":
		return "go"
	}
	return "plain"
}

// enforcementWords says what a level means.
func enforcementWords(level string) string {
	switch level {
	case "enforced":
		return "Spacelift refuses what Gantry has not approved."
	case "advisory":
		return "People can go around this policy in Spacelift."
	case "void":
		return "Nothing in Spacelift waits for this policy."
	}
	return initial(level)
}

// settingNames are the settings of a policy in words.
var settingNames = map[string]string{
	"problems": "Problems", "enforcement": "Enforcement", "profile": "Profile", "confirm": "Who confirms",
	"limits.maxAdded": "Most added", "limits.maxChanged": "Most changed", "limits.maxDeleted": "Most deleted",
	"confirmWhen": "Confirm when", "approvalsWhen": "Approvals when", "holdWhen": "Hold when", "types": "Types of run", "drift": "Repairs of drift",
	"approvals": "Approvals", "approvers": "Approvers", "selfApproval": "Own runs", "approvalTimeout": "Time to decide", "onTimeout": "After that time",
	"reminders": "Reminders", "escalation": "Escalation", "clock": "Time counts", "windows": "Windows", "retries": "Retries", "retryCauses": "Causes to retry",
	"retryBackoff": "Pause before a retry", "retryAfterApply": "Retry after an apply", "readLogs": "Read logs", "after": "Follows", "oldPlans": "Old plans", "notify": "Notified",
	"deadlines.queued": "Time in the queue", "deadlines.starting": "Time to start", "deadlines.planning": "Time to plan", "deadlines.applying": "Time to apply",
}

// settingName returns a setting in words. A setting that this page doesn't know keeps its
// name.
func settingName(name string) string {
	if words, ok := settingNames[name]; ok {
		return words
	}
	return name
}
