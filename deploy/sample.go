package deploy

import (
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

type object = map[string]any

// sample is an event on which policies are simulated.
type sample struct {
	event string // for people
	run   bool   // of a managed stack
	input func(spacelift.Account) object
}

// Limits of the sampled stacks, and of the simulations of all policies together.
const (
	maxSampleStacks = 4
	maxSimulations  = 400
)

// sampleStates are the states that policies commonly select.
var sampleStates = []spacelift.RunState{
	spacelift.RunStateQueued, spacelift.RunStateUnconfirmed, spacelift.RunStateApplying, spacelift.RunStateFinished, spacelift.RunStateFailed,
}

// samples returns the events on which each policy is simulated: runs of different
// stacks, and events that aren't runs.
func samples(stacks []spacelift.Stack, hooks []spacelift.NamedWebhook, policies int) []sample {
	n := min(maxSampleStacks, max(1, maxSimulations/max(1, policies*len(sampleStates))))
	var all []sample
	for _, s := range differing(stacks, n) {
		for _, state := range sampleStates {
			all = append(all, runSample(s, spacelift.RunTypeTracked, state, hooks))
		}
		all = append(all, runSample(s, spacelift.RunTypeProposed, spacelift.RunStateFinished, hooks))
	}
	internal := sample{event: "an internal error", input: func(a spacelift.Account) object {
		return withEndpoints(a, hooks, "internal_error", object{"error": "sample", "message": "sample", "severity": "ERROR"})
	}}
	version := sample{event: "a module version", input: func(a spacelift.Account) object {
		return withEndpoints(a, hooks, "module_version", object{
			"module":  object{"id": "gantry-sample", "name": "gantry sample", "labels": []string{}, "space": spaceInput("root"), "branch": "main", "repository": "sample", "namespace": "", "project_root": "", "administrative": false, "terraform_provider": "default", "worker_pool": poolInput()},
			"version": object{"id": "sample", "number": "1.0.0", "state": "ACTIVE", "latest": true, "created_at": sampleTime.UnixNano(), "commit": commitInput(), "test_runs": []object{}},
		})
	}}
	return append(all, internal, version)
}

// differing selects at most n stacks that together have the most labels and spaces,
// by which policies distinguish stacks. Without any stack, it invents one.
func differing(stacks []spacelift.Stack, n int) []spacelift.Stack {
	if len(stacks) == 0 {
		return []spacelift.Stack{{ID: "gantry-sample", Name: "gantry sample", Labels: []string{spacelift.LabelManaged}, Space: rootSpace}}
	}
	rest, seen := slices.Clone(stacks), map[string]bool{}
	traits := func(s spacelift.Stack) []string { return append(slices.Clone(s.Labels), "space "+s.Space) }
	var picked []spacelift.Stack
	for len(picked) < n && len(rest) > 0 {
		best, most := 0, -1
		for i, s := range rest {
			fresh := 0
			for _, t := range traits(s) {
				if !seen[t] {
					fresh++
				}
			}
			if fresh > most {
				best, most = i, fresh
			}
		}
		if most == 0 {
			break
		}
		for _, t := range traits(rest[best]) {
			seen[t] = true
		}
		picked, rest = append(picked, rest[best]), slices.Delete(rest, best, best+1)
	}
	return picked
}

// runSample returns the event of a run that enters a state.
func runSample(s spacelift.Stack, ofType spacelift.RunType, state spacelift.RunState, hooks []spacelift.NamedWebhook) sample {
	return sample{
		event: fmt.Sprintf("a %s run of %s in %s", ofType, s.ID, state), run: true,
		input: func(a spacelift.Account) object {
			return withEndpoints(a, hooks, "run_updated", object{
				"state": state, "username": "", "note": "", "plan_policy_decision": nil, "policy_receipts": nil,
				"run":    runInput(ofType, state),
				"stack":  stackInput(s),
				"timing": []object{}, "urls": object{"run": fmt.Sprintf("https://%s.app.spacelift.io/stack/%s/run/%s", a, s.ID, sampleRun)},
			})
		},
	}
}

func withEndpoints(a spacelift.Account, hooks []spacelift.NamedWebhook, kind string, event object) object {
	endpoints := make([]object, len(hooks))
	for i, h := range hooks {
		endpoints[i] = object{"id": h.ID, "labels": append([]string{}, h.Labels...)}
	}
	return object{"account": object{"name": a}, "webhook_endpoints": endpoints, kind: event}
}

const sampleRun = "01GANTRYSAMPLERUN000000000"

// sampleTime is fixed, so that samples never differ.
var sampleTime = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

// The parts below have every field of the documented input: a missing field would
// make a rule that reads it undefined.
// https://docs.spacelift.io/concepts/policy/notification-policy

func runInput(ofType spacelift.RunType, state spacelift.RunState) object {
	return object{
		"id": sampleRun, "type": ofType, "state": state, "branch": "main", "command": "", "based_on_local_workspace": false,
		"drift_detection": false, "commit": commitInput(), "creator_session": nil, "triggered_by": nil, "flags": []string{},
		"user_provided_metadata": []string{}, "created_at": sampleTime.UnixNano(), "updated_at": sampleTime.UnixNano(),
		"states_history": []object{{"new_state": spacelift.RunStateQueued}, {"new_state": state}},
		"runtime_config": object{"environment": object{}, "project_root": "", "runner_image": "", "terraform_version": ""},
		"changes": []object{{
			"phase": "plan", "action": "added", "moved": false,
			"entity": object{"address": "sample.sample", "name": "sample", "type": "sample", "entity_vendor": "terraform", "entity_type": "resource", "data": object{"values": object{}}},
		}},
	}
}

func stackInput(s spacelift.Stack) object {
	var lockedBy any
	if s.Lock != nil {
		lockedBy = s.Lock.By
	}
	return object{
		"id": s.ID, "name": s.Name, "labels": append([]string{}, s.Labels...), "space": spaceInput(s.Space), "state": s.State,
		"autodeploy": s.Autodeploy, "autoretry": false, "administrative": s.Administrative, "roles": []object{}, "branch": s.Branch,
		"repository": s.Repository, "namespace": "", "project_root": "", "additional_project_globs": []string{}, "locked_by": lockedBy,
		"terraform_version": "", "tracked_commit": nil, "worker_pool": poolInput(),
	}
}

func commitInput() object {
	return object{
		"author": "sample", "branch": "main", "created_at": sampleTime.UnixNano(), "hash": "0000000000000000000000000000000000000000",
		"message": "sample", "url": "", "tag": "", "pull_request_id": nil, "exist_on_tracked_branch": true,
	}
}

func spaceInput(id string) object { return object{"id": id, "name": id, "labels": []string{}} }

func poolInput() object {
	return object{"id": "", "name": "", "labels": []string{}, "public": true}
}
