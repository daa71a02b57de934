package simulator

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// The input document of notification policies, as
// https://docs.spacelift.io/concepts/policy/notification-policy and Spacelift's
// policy contract describe it. Times are nanoseconds.

type object = map[string]any

func (s *Simulator) policyInput(kind string, event any, endpoints []*namedWebhook) object {
	listed := make([]any, 0, len(endpoints))
	for _, w := range endpoints {
		listed = append(listed, object{"id": w.ID, "labels": stringList(w.Labels)})
	}
	return object{
		"account":           object{"name": string(s.opts.Account)},
		kind:                event,
		"webhook_endpoints": listed,
	}
}

// runUpdated returns the input for the run's present state.
func (s *Simulator) runUpdated(r *run) object {
	now := r.History[len(r.History)-1]
	return object{
		"state": string(now.State), "username": now.Username, "note": now.Note,
		"plan_policy_decision": r.planDecision(), "policy_receipts": r.receipts(),
		"run": s.runInput(r), "stack": s.stackInput(r.stack),
		"timing": r.timing(), "urls": object{"run": s.runURL(r)},
	}
}

func (s *Simulator) runInput(r *run) object {
	commit := commitInput(r.Commit)
	commit["exist_on_tracked_branch"] = r.Commit.Branch == r.stack.Branch
	commit["pull_request_id"] = nil
	commit["tag"] = ""
	states := make([]any, 0, len(r.History))
	for _, t := range r.History {
		states = append(states, object{"new_state": string(t.State)})
	}
	changes := []any{}
	if r.Planned {
		for _, c := range r.Plan.changes() {
			changes = append(changes, changeInput("plan", c))
			if r.Applied {
				changes = append(changes, changeInput("apply", c))
			}
		}
	}
	return object{
		"id": string(r.ID), "type": string(r.Type), "state": string(r.state()), "branch": r.Commit.Branch,
		"command": r.Command, "commit": commit, "changes": changes, "states_history": states,
		"based_on_local_workspace": false, "drift_detection": r.Drift, "creator_session": s.sessionInput(r.Session),
		"policy_receipts": r.receipts(),
		"runtime_config":  s.runtimeInput(r.stack), "triggered_by": nullable(r.TriggeredBy), "flags": []any{},
		"user_provided_metadata": stringList(r.Metadata),
		"created_at":             nanoseconds(r.CreatedAt), "updated_at": nanoseconds(r.UpdatedAt),
	}
}

// sessionInput returns the session that created a run; null for a push, a
// dependent or drift detection.
//
// Assumption: only an API key's session has an account_name, and none has a
// stack_id. The contract has both "for machine sessions", and no stack acts here.
func (s *Simulator) sessionInput(by *session) any {
	if by == nil {
		return nil
	}
	account := ""
	if by.Machine {
		account = string(s.opts.Account)
	}
	return object{
		"admin": by.Admin, "creator_ip": by.Address, "login": by.Login, "name": by.Name, "teams": []any{},
		"machine": by.Machine, "member": !by.Machine, "account_name": account, "stack_id": "",
	}
}

func changeInput(phase string, c Change) object {
	values := c.Values
	if values == nil {
		values = object{}
	}
	return object{
		"phase": phase, "action": c.Action, "moved": false,
		"entity": object{
			"address": c.Address, "type": c.Type, "name": c.Name,
			"entity_vendor": "terraform", "entity_type": "resource", "data": object{"values": values},
		},
	}
}

func commitInput(c Commit) object {
	return object{
		"author": c.AuthorLogin, "branch": c.Branch, "created_at": nanoseconds(c.At), "hash": c.Hash,
		"message": c.Message, "url": c.URL,
	}
}

const simulatedTerraform = "1.5.7"

func (s *Simulator) runtimeInput(st *stack) object {
	runtime := object{
		"environment": object{}, "project_root": st.ProjectRoot,
		"runner_image": "public.ecr.aws/spacelift/runner-terraform:latest", "terraform_version": simulatedTerraform,
	}
	for _, phase := range []string{"init", "plan", "apply", "destroy", "perform"} {
		runtime["before_"+phase], runtime["after_"+phase] = []any{}, []any{}
	}
	runtime["after_run"] = []any{}
	return runtime
}

func (s *Simulator) stackInput(st *stack) object {
	pool, public := s.pool(st)
	sp := s.spaces[st.Space]
	input := object{
		"id": string(st.ID), "name": st.Name, "labels": stringList(st.Labels),
		"space": object{"id": sp.ID, "name": sp.Name, "labels": stringList(sp.Labels)},
		"state": string(st.State), "autodeploy": st.Autodeploy, "autoretry": bool(st.settings.Autoretry),
		"administrative": st.settings.Administrative, "roles": []any{}, "branch": st.Branch,
		"repository": st.Repository, "namespace": st.Namespace, "project_root": st.ProjectRoot,
		"additional_project_globs": stringList(st.settings.AdditionalProjectGlobs),
		"locked_by":                nullable(st.LockedBy), "terraform_version": simulatedTerraform, "tracked_commit": nil,
		"worker_pool": object{"id": pool.ID, "name": pool.Name, "labels": stringList(pool.Labels), "public": public},
	}
	if st.Tracked != nil {
		input["tracked_commit"] = commitInput(*st.Tracked)
	}
	return input
}

// planDecision returns null until plan policies have warned or denied.
func (r *run) planDecision() any {
	if !r.Planned || r.Verdict == "" || r.Verdict == Allow {
		return nil
	}
	decision := object{"deny": []any{}, "warn": []any{}}
	decision[string(r.Verdict)] = stringList(r.Messages)
	return decision
}

// receipts returns the outcomes of the attached policies. The page on
// notification policies has them in run_updated.run, Spacelift's policy contract
// and a recorded input have them in run_updated; an input here has both.
func (r *run) receipts() any {
	if r.planDecision() == nil {
		return nil
	}
	return []any{object{"type": "PLAN", "name": "simulated-plan-policy", "outcome": string(r.Verdict), "flags": []any{}}}
}

// timing returns the duration of each finished state.
func (r *run) timing() []any {
	timing := []any{}
	for i := range len(r.History) - 1 {
		t := r.History[i]
		timing = append(timing, object{
			"state": string(t.State), "duration": number(int64(r.History[i+1].At.Sub(t.At))),
		})
	}
	return timing
}

func (s *Simulator) internalErrorInput(e InternalError) object {
	return object{"error": e.Error, "message": e.Body, "severity": e.Severity}
}

// ModuleVersion is a published version of a module.
type ModuleVersion struct {
	Module spacelift.StackID `json:"module"`
	Number string            `json:"number"` // such as "1.4.0"
	Failed bool              `json:"failed,omitempty"`
	Commit Commit            `json:"commit"`
	// TestRuns are runs made by TestModule.
	TestRuns []spacelift.RunID `json:"testRuns,omitempty"`
}

func (s *Simulator) moduleVersionInput(st *stack, v ModuleVersion) object {
	module := s.stackInput(st)
	for _, stacksOnly := range []string{"state", "autodeploy", "autoretry", "roles", "additional_project_globs", "locked_by", "terraform_version", "tracked_commit"} {
		delete(module, stacksOnly)
	}
	module["terraform_provider"] = "default"
	state := "ACTIVE"
	if v.Failed {
		state = "FAILED"
	}
	tests := []any{}
	for _, id := range v.TestRuns {
		if r := s.runs[id]; r != nil {
			tests = append(tests, object{
				"id": string(id), "state": string(r.state()), "title": "default",
				"created_at": nanoseconds(r.CreatedAt), "updated_at": nanoseconds(r.UpdatedAt),
			})
		}
	}
	return object{
		"module": module,
		"version": object{
			"id": s.newID(), "number": v.Number, "state": state, "latest": !v.Failed,
			"created_at": nanoseconds(s.clock.Now()), "commit": commitInput(v.Commit), "test_runs": tests,
		},
	}
}

// nanoseconds returns the whole number, which a float64 can't hold.
func nanoseconds(t time.Time) json.Number { return number(t.UnixNano()) }

func number(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func stringList(list []string) []any {
	out := make([]any, 0, len(list))
	for _, s := range list {
		out = append(out, s)
	}
	return out
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
