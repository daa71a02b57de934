package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gantryhq/gantry/spacelift"
)

func (c control) stacks() {
	s := c.s
	on(c, "GET", "/stacks", func(*http.Request, none) (any, error) { return object{"stacks": s.Stacks()}, nil })
	on(c, "GET", "/stacks/{stack}", func(r *http.Request, _ none) (any, error) { return orError(s.Stack(pathStack(r))) })
	on(c, "POST", "/stacks", func(_ *http.Request, in Stack) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		st, err := s.addStack(in)
		if err != nil {
			return nil, err
		}
		return st.status(), nil
	})
	on(c, "DELETE", "/stacks/{stack}", func(r *http.Request, _ none) (any, error) {
		_, err := s.RemoveStack(actorOf(r), pathStack(r), r.URL.Query().Get("destroyResources") == "true")
		return nil, err
	})
	onStackPath(c, "PUT", "/plan", s.SetPlan)
	onStackPath(c, "POST", "/next-plans", s.SetNextPlan)
	onStackPath(c, "PUT", "/drift-detection", s.SetDriftDetection)
	onStackPath(c, "PUT", "/labels", func(stack spacelift.StackID, in struct {
		Labels []string `json:"labels"`
	}) error {
		return s.SetLabels(stack, in.Labels...)
	})
	onStackPath(c, "PUT", "/settings", func(id spacelift.StackID, in struct {
		Autodeploy *bool     `json:"autodeploy"`
		Approvals  *int      `json:"approvals"`
		Disabled   *bool     `json:"disabled"`
		BlockerLag *Duration `json:"blockerLag"`
	}) error {
		return s.change(id, func(st *stack) {
			st.Autodeploy = *cmp.Or(in.Autodeploy, &st.Autodeploy)
			st.Approvals = *cmp.Or(in.Approvals, &st.Approvals)
			st.Disabled = *cmp.Or(in.Disabled, &st.Disabled)
			st.BlockerLag = *cmp.Or(in.BlockerLag, &st.BlockerLag)
		})
	})
	onStackPath(c, "PUT", "/lock", func(stack spacelift.StackID, in act) error { return s.Lock(in.by(), stack, in.Note) })
	on(c, "DELETE", "/stacks/{stack}/lock", func(r *http.Request, _ none) (any, error) {
		return nil, s.Unlock(actorOf(r), pathStack(r))
	})
}

func (c control) stackParts() {
	s := c.s
	onStackPath(c, "POST", "/dependencies", func(stack spacelift.StackID, in struct {
		DependsOn  spacelift.StackID `json:"dependsOn"`
		References []Reference       `json:"references"`
	}) error {
		return s.AddDependency(stack, in.DependsOn, in.References...)
	})
	onStackPath(c, "POST", "/contexts", func(stack spacelift.StackID, in shareInput) error {
		return s.AttachContext(in.Context, stack, in.Priority)
	})
	on(c, "POST", "/stacks/{stack}/webhooks", func(r *http.Request, in stackHookInput) (any, error) {
		in.Stack = pathStack(r)
		s.mu.Lock()
		defer s.mu.Unlock()
		w, err := s.addStackWebhook(in.webhook())
		if err != nil {
			return nil, err
		}
		return created{w.ID}, nil
	})
}

func (c control) runs() {
	s := c.s
	makes(c, "/pushes", func(stack spacelift.StackID, in struct {
		Commit               Commit   `json:"commit"`
		Plan                 *Plan    `json:"plan"`
		ExternalDependencies []string `json:"externalDependencies"`
	}) (spacelift.RunID, error) {
		plan, err := s.planOr(stack, in.Plan)
		if err != nil {
			return "", err
		}
		return s.PushWaiting(stack, in.Commit, plan, in.ExternalDependencies...)
	})
	makes(c, "/triggers", func(stack spacelift.StackID, in struct {
		By         string            `json:"by"`
		Type       spacelift.RunType `json:"type"`
		CommitSHA  string            `json:"commitSha"`
		ForceApply string            `json:"forceApply"`
	}) (spacelift.RunID, error) {
		return s.Trigger(cmp.Or(in.By, somebody), Trigger{Stack: stack, Type: in.Type, CommitSHA: in.CommitSHA, ForceApply: in.ForceApply})
	})
	makes(c, "/tasks", func(stack spacelift.StackID, in struct {
		By                 string `json:"by"`
		Command            string `json:"command"`
		SkipInitialization bool   `json:"skipInitialization"`
	}) (spacelift.RunID, error) {
		return s.CreateTask(cmp.Or(in.By, somebody), stack, in.Command, in.SkipInitialization)
	})
	makes(c, "/drift-checks", func(stack spacelift.StackID, in struct {
		Plan Plan `json:"plan"`
	}) (spacelift.RunID, error) {
		return s.DetectDrift(stack, in.Plan)
	})
	makes(c, "/tests", func(stack spacelift.StackID, in struct {
		Commit Commit `json:"commit"`
		Plan   Plan   `json:"plan"`
	}) (spacelift.RunID, error) {
		return s.TestModule(stack, in.Commit, in.Plan)
	})
	on(c, "GET", "/stacks/{stack}/runs", func(r *http.Request, _ none) (any, error) {
		runs, err := s.Runs(pathStack(r))
		return object{"runs": append([]Run{}, runs...)}, err
	})
	on(c, "GET", "/stacks/{stack}/runs/{run}", func(r *http.Request, _ none) (any, error) {
		return orError(s.Run(pathStack(r), pathRun(r)))
	})
	on(c, "PATCH", "/stacks/{stack}/runs/{run}/plan", func(r *http.Request, in json.RawMessage) (any, error) {
		var bad error
		err := s.ChangePlan(pathStack(r), pathRun(r), func(p *Plan) {
			changed := *p
			if err := strictJSON(in, &changed); err != nil {
				bad = fmt.Errorf("%w: read body: %w", errBadInput, err)
				return
			}
			*p = changed
		})
		return nil, cmp.Or(err, bad)
	})
	on(c, "POST", "/stacks/{stack}/runs/{run}/{action}", c.act)
}

// somebody is the actor of a request that doesn't name one.
const somebody = "somebody"

// act is the actor of an action and the reason.
type act struct {
	By   string `json:"by"`
	Note string `json:"note"`
}

func (a act) by() string { return cmp.Or(a.By, somebody) }

func actorOf(r *http.Request) string { return cmp.Or(r.URL.Query().Get("by"), somebody) }

// act carries out the action in the path and answers with the resulting run.
func (c control) act(r *http.Request, in act) (any, error) {
	s, stack, id := c.s, pathStack(r), pathRun(r)
	var err error
	switch action := r.PathValue("action"); action {
	case "confirm":
		err = s.Confirm(in.by(), stack, id, in.Note)
	case "discard":
		err = s.Discard(in.by(), stack, id, in.Note)
	case "cancel":
		err = s.Cancel(in.by(), stack, id, in.Note)
	case "stop":
		err = s.Stop(in.by(), stack, id, in.Note)
	case "kill":
		err = s.Kill(in.by(), stack, id, in.Note)
	case "replan":
		err = s.Replan(in.by(), stack, id)
	case "approve":
		err = s.Review(in.by(), stack, id, "APPROVE", in.Note)
	case "reject":
		err = s.Review(in.by(), stack, id, "REJECT", in.Note)
	case "comment":
		err = s.Comment(in.by(), stack, id, in.Note)
	case "retry":
		id, err = s.Retry(in.by(), stack, id)
	case "promote":
		id, err = s.Promote(in.by(), stack, id)
	default:
		return nil, fmt.Errorf("action %s: %w", action, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return orError(s.Run(stack, id))
}

// planOr returns p, or the plan of the stack's next run when p is nil.
func (s *Simulator) planOr(id spacelift.StackID, p *Plan) (Plan, error) {
	if p != nil {
		return *p, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.findStack(id)
	if err != nil {
		return Plan{}, err
	}
	return st.nextPlan(), nil
}

func orError[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}
