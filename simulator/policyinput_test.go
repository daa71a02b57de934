package simulator_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// documentedInput is a field of a policy's input and the types it may have.
// An event is in the input of its own kind alone.
type documentedInput struct {
	path  string
	types []string
}

func (f documentedInput) event() bool { return slices.Contains(f.types, "event") }

func documentedInputs(t *testing.T) []documentedInput {
	t.Helper()
	var fields []documentedInput
	for line := range strings.Lines(read(t, "notification_input.txt")) {
		words := strings.Fields(line)
		if len(words) > 0 && words[0] != "#" {
			fields = append(fields, documentedInput{words[0], words[1:]})
		}
	}
	return fields
}

// inputTypes lists the types that each path of a document has. What the vendor
// decides is left out.
func inputTypes(types map[string][]string, path string, v any) {
	add := func(kind string) {
		if !slices.Contains(types[path], kind) {
			types[path] = append(types[path], kind)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		add("object")
		if strings.HasSuffix(path, ".data") || strings.HasSuffix(path, ".environment") {
			return
		}
		for key, value := range v {
			inputTypes(types, strings.TrimPrefix(path+"."+key, "."), value)
		}
	case []any:
		add("array")
		for _, value := range v {
			inputTypes(types, path+"[]", value)
		}
	case string:
		add("string")
	case float64:
		add("number")
	case bool:
		add("bool")
	case nil:
		add("null")
	}
}

// holdAgainst reports each field of an input that is not documented or has
// another type, and each documented one that is missing although its parent is
// there.
func holdAgainst(t *testing.T, documented []documentedInput, input map[string]any) {
	t.Helper()
	types := map[string][]string{}
	inputTypes(types, "", input)
	delete(types, "")
	for _, field := range documented {
		parent := strings.TrimSuffix(field.path, "[]")
		if parent == field.path {
			parent, _, _ = cutLastDot(field.path)
		}
		has, inParent := types[field.path], types[parent]
		parentThere := parent == "" || slices.Contains(inParent, "object")
		if has == nil && parentThere && !field.event() && !strings.HasSuffix(field.path, "[]") {
			t.Errorf("%s is documented and missing", field.path)
		}
		for _, kind := range has {
			if !slices.Contains(field.types, kind) {
				t.Errorf("%s is %s, documented as %v", field.path, kind, field.types)
			}
		}
		delete(types, field.path)
	}
	for path := range types {
		t.Errorf("%s is not documented", path)
	}
}

func cutLastDot(path string) (before, after string, found bool) {
	i := strings.LastIndex(path, ".")
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// Every input that a policy gets is the documented one, field by field,
// whatever the event is about.
func TestInputsAreTheDocumentedOnes(t *testing.T) {
	r := newRig(t)
	r.ok(r.AddSpace(simulator.Space{ID: "team", InheritEntities: true, Labels: []string{"t"}}))
	r.ok(r.AddWorkerPool(simulator.WorkerPool{ID: "pool", Name: "prod-workers", Labels: []string{"pool:prod"}}))
	r.stack(simulator.Stack{
		ID: "net", Space: "team", Labels: []string{"a"}, WorkerPool: "pool",
		Plan: simulator.Plan{Delta: twoAdded.Delta, Verdict: simulator.Warn, Messages: []string{"big"}},
	})
	r.stack(simulator.Stack{ID: "app"})
	r.stack(simulator.Stack{ID: "vpc", Module: true, Labels: []string{"kind:module"}})
	r.ok(r.AddDependency("app", "net"))
	r.routeAll()
	r.ok(r.AddPolicy(simulator.Policy{ID: "sampler", Body: "package spacelift\n\nsample := true\n"}))

	id, err := r.Trigger("jane", simulator.Trigger{Stack: "net", Metadata: "ticket 7"})
	r.ok(err)
	r.settle()
	r.ok(r.Lock("ann", "net", ""))
	r.ok(r.Confirm("jane", "net", id, "go"))
	r.settle()
	r.push("app", simulator.Plan{})
	_, err = r.CreateTask("jane", "app", "ls", false)
	r.ok(err)
	r.settle()
	test, err := r.TestModule("vpc", simulator.Commit{}, twoAdded)
	r.ok(err)
	r.settle()
	r.ok(r.PublishModuleVersion(simulator.ModuleVersion{Module: "vpc", Number: "1.0.0", TestRuns: []spacelift.RunID{test}}))
	r.ok(r.SendInternalError(simulator.InternalError{Title: "t", Body: "b", Error: "e"}))

	documented := documentedInputs(t)
	kinds := map[string]int{}
	for _, input := range r.sampled("sampler") {
		doc := decode(t, input)
		for _, kind := range []string{"run_updated", "module_version", "internal_error"} {
			if doc[kind] != nil {
				kinds[kind]++
			}
		}
		holdAgainst(t, documented, doc)
	}
	if kinds["run_updated"] < 30 || kinds["module_version"] != 1 || kinds["internal_error"] != 1 {
		t.Errorf("inputs by kind: %v", kinds)
	}
}

// Policies see the person or the key that created a run, and null for a push.
func TestInputSaysWhoCreatedTheRun(t *testing.T) {
	type session = map[string]any
	person := session{
		"admin": true, "creator_ip": "192.0.2.20", "login": "jane", "name": "jane", "teams": []any{}, "machine": false, "member": true,
		"account_name": "", "stack_id": "",
	}
	key := session{
		"admin": true, "creator_ip": "192.0.2.1", "login": "api::01KEY", "name": "01KEY", "teams": []any{}, "machine": true, "member": false,
		"account_name": "acme", "stack_id": "",
	}
	for name, c := range map[string]struct {
		begin func(r *rig)
		want  any
	}{
		"push":              {func(r *rig) { r.push("net", simulator.Plan{}) }, nil},
		"trigger by person": {func(r *rig) { _, err := r.Trigger("jane", simulator.Trigger{Stack: "net"}); r.ok(err) }, person},
		"task by person":    {func(r *rig) { _, err := r.CreateTask("jane", "net", "ls", false); r.ok(err) }, person},
		"trigger by key":    {func(r *rig) { r.graphql(`mutation { runTrigger(stack: "net") { id } }`, nil, nil) }, key},
		"batch by key": {func(r *rig) {
			r.graphql(`mutation { runTriggerBatch(input: {stacks: [{stack: "net"}]}) { runs { runId } } }`, nil, nil)
		}, key},
		"destruction by person": {func(r *rig) { _, err := r.RemoveStack("jane", "net", true); r.ok(err) }, person},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.stack(simulator.Stack{ID: "net"})
			r.ok(r.AddPolicy(simulator.Policy{ID: "sampler", Body: "package spacelift\n\nsample := true\n"}))
			c.begin(r)
			r = r.restart() // it is kept
			r.settle()
			inputs := r.sampled("sampler")
			if len(inputs) < 5 {
				t.Fatalf("%d inputs sampled", len(inputs))
			}
			for _, input := range inputs {
				run := decode(t, input)["run_updated"].(map[string]any)["run"].(map[string]any)
				if diff := cmp.Diff(c.want, run["creator_session"]); diff != "" {
					t.Fatalf("creator_session (-want +got)\n%s", diff)
				}
			}
		})
	}
}

// A retried and a promoted run belong to the one who asked for them, not to the
// one who created the run before.
func TestInputOfRetriesAndPromotions(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.ok(r.AddPolicy(simulator.Policy{ID: "sampler", Body: "package spacelift\n\nsample := true\n"}))
	failed, err := r.Trigger("jane", simulator.Trigger{Stack: "net"})
	r.ok(err)
	r.settle()
	_, err = r.Retry("ann", "net", failed)
	r.ok(err)
	r.settle()
	preview, err := r.Push("net", simulator.Commit{Branch: "feature", At: r.clock.Now().Add(1)}, simulator.Plan{})
	r.ok(err)
	r.settle()
	_, err = r.Promote("eve", "net", preview)
	r.ok(err)
	r.settle()
	var logins []string
	for _, input := range r.sampled("sampler") {
		run := decode(t, input)["run_updated"].(map[string]any)["run"].(map[string]any)
		session, _ := run["creator_session"].(map[string]any)
		login, _ := session["login"].(string)
		logins = append(logins, login)
	}
	slices.Reverse(logins)
	if diff := cmp.Diff([]string{"jane", "ann", "", "eve"}, slices.Compact(logins)); diff != "" {
		t.Errorf("logins (-want +got)\n%s", diff)
	}
}
