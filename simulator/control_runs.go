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
	on(c, "GET", "/stacks", func(*http.Request, none) (any, error) {
		return object{"stacks": s.Stacks()}, nil
	})
	on(c, "POST", "/stacks", func(_ *http.Request, in Stack) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		st, err := s.addStack(in)
		if err != nil {
			return nil, err
		}
		return st.status(), nil
	})
	on(c, "GET", "/stacks/{stack}", func(r *http.Request, _ none) (any, error) {
		return orError(s.Stack(pathStack(r)))
	})
	on(c, "DELETE", "/stacks/{stack}", func(r *http.Request, _ none) (any, error) {
		_, err := s.RemoveStack(actorOf(r), pathStack(r), r.URL.Query().Get("destroyResources") == "true")
		return nil, err
	})
	on(c, "PUT", "/stacks/{stack}/labels", func(r *http.Request, in struct {
		Labels []string `json:"labels"`
	}) (any, error) {
		return nil, s.SetLabels(pathStack(r), in.Labels...)
	})
	on(c, "PUT", "/stacks/{stack}/settings", func(r *http.Request, in struct {
		Autodeploy *bool     `json:"autodeploy"`
		Approvals  *int      `json:"approvals"`
		Disabled   *bool     `json:"disabled"`
		BlockerLag *Duration `json:"blockerLag"`
	}) (any, error) {
		return nil, s.change(pathStack(r), func(st *stack) {
			st.Autodeploy = *cmp.Or(in.Autodeploy, &st.Autodeploy)
			st.Approvals = *cmp.Or(in.Approvals, &st.Approvals)
			st.Disabled = *cmp.Or(in.Disabled, &st.Disabled)
			st.BlockerLag = *cmp.Or(in.BlockerLag, &st.BlockerLag)
		})
	})
	on(c, "PUT", "/stacks/{stack}/plan", func(r *http.Request, in Plan) (any, error) {
		return nil, s.SetPlan(pathStack(r), in)
	})
	on(c, "POST", "/stacks/{stack}/next-plans", func(r *http.Request, in Plan) (any, error) {
		return nil, s.SetNextPlan(pathStack(r), in)
	})
	on(c, "PUT", "/stacks/{stack}/lock", func(r *http.Request, in act) (any, error) {
		return nil, s.Lock(in.by(), pathStack(r), in.Note)
	})
	on(c, "DELETE", "/stacks/{stack}/lock", func(r *http.Request, _ none) (any, error) {
		return nil, s.Unlock(actorOf(r), pathStack(r))
	})
	on(c, "PUT", "/stacks/{stack}/drift-detection", func(r *http.Request, in DriftDetection) (any, error) {
		return nil, s.SetDriftDetection(pathStack(r), in)
	})
	on(c, "POST", "/stacks/{stack}/dependencies", func(r *http.Request, in struct {
		DependsOn  spacelift.StackID `json:"dependsOn"`
		References []Reference       `json:"references"`
	}) (any, error) {
		return nil, s.AddDependency(pathStack(r), in.DependsOn, in.References...)
	})
	on(c, "POST", "/stacks/{stack}/contexts", func(r *http.Request, in shareInput) (any, error) {
		return nil, s.AttachContext(in.Context, pathStack(r), in.Priority)
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
	on(c, "POST", "/stacks/{stack}/pushes", func(r *http.Request, in struct {
		Commit               Commit   `json:"commit"`
		Plan                 *Plan    `json:"plan"`
		ExternalDependencies []string `json:"externalDependencies"`
	}) (any, error) {
		return c.made(r, func(stack spacelift.StackID) (spacelift.RunID, error) {
			plan, err := s.planOr(stack, in.Plan)
			if err != nil {
				return "", err
			}
			return s.PushWaiting(stack, in.Commit, plan, in.ExternalDependencies...)
		})
	})
	on(c, "POST", "/stacks/{stack}/triggers", func(r *http.Request, in struct {
		By         string            `json:"by"`
		Type       spacelift.RunType `json:"type"`
		CommitSHA  string            `json:"commitSha"`
		ForceApply string            `json:"forceApply"`
	}) (any, error) {
		return c.made(r, func(stack spacelift.StackID) (spacelift.RunID, error) {
			return s.Trigger(cmp.Or(in.By, somebody), Trigger{Stack: stack, Type: in.Type, CommitSHA: in.CommitSHA, ForceApply: in.ForceApply})
		})
	})
	on(c, "POST", "/stacks/{stack}/tasks", func(r *http.Request, in struct {
		By                 string `json:"by"`
		Command            string `json:"command"`
		SkipInitialization bool   `json:"skipInitialization"`
	}) (any, error) {
		return c.made(r, func(stack spacelift.StackID) (spacelift.RunID, error) {
			return s.CreateTask(cmp.Or(in.By, somebody), stack, in.Command, in.SkipInitialization)
		})
	})
	on(c, "POST", "/stacks/{stack}/drift-checks", func(r *http.Request, in struct {
		Plan Plan `json:"plan"`
	}) (any, error) {
		return c.made(r, func(stack spacelift.StackID) (spacelift.RunID, error) { return s.DetectDrift(stack, in.Plan) })
	})
	on(c, "POST", "/stacks/{stack}/tests", func(r *http.Request, in struct {
		Commit Commit `json:"commit"`
		Plan   Plan   `json:"plan"`
	}) (any, error) {
		return c.made(r, func(stack spacelift.StackID) (spacelift.RunID, error) { return s.TestModule(stack, in.Commit, in.Plan) })
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
	on(c, "POST", "/stacks/{stack}/runs/{run}/{action}", func(r *http.Request, in act) (any, error) {
		return c.act(r, in)
	})
}

// somebody acts when a request names nobody.
const somebody = "somebody"

// act is who does something, and why.
type act struct {
	By   string `json:"by"`
	Note string `json:"note"`
}

func (a act) by() string { return cmp.Or(a.By, somebody) }

func actorOf(r *http.Request) string { return cmp.Or(r.URL.Query().Get("by"), somebody) }

// act does what the path names to a run and answers with the run that comes of it.
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

// made answers with the run that f has created.
func (c control) made(r *http.Request, f func(spacelift.StackID) (spacelift.RunID, error)) (any, error) {
	stack := pathStack(r)
	id, err := f(stack)
	if err != nil {
		return nil, err
	}
	return orError(c.s.Run(stack, id))
}

// planOr is the plan given, or what the stack's next run would find.
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
