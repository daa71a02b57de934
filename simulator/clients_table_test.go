package simulator_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/docs"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// use is something that people do with an official client, and the requests
// that the client sends for it.
type use struct {
	group, name string
	requests    []clientRequest
}

type clientRequest struct {
	variables map[string]any
	document  string
}

// officialUses reads testdata/clients.txt.
func officialUses(t *testing.T) []use {
	t.Helper()
	var uses []use
	selections := strings.NewReplacer()
	var shared []string
	for line := range strings.Lines(read(t, "clients.txt")) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "let "):
			name, selection, _ := strings.Cut(strings.TrimPrefix(line, "let "), " = ")
			shared = append(shared, "%"+name+"%", selection)
			selections = strings.NewReplacer(shared...)
		case line[0] == '[':
			group, name, _ := strings.Cut(line[1:], "] ")
			uses = append(uses, use{group: group, name: name})
		default:
			last := &uses[len(uses)-1]
			var request clientRequest
			decoder := json.NewDecoder(strings.NewReader(line))
			if err := decoder.Decode(&request.variables); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			request.document = selections.Replace(strings.TrimSpace(line[decoder.InputOffset():]))
			last.requests = append(last.requests, request)
		}
	}
	return uses
}

// clientAccount is the account that the clients meet, and the ids in it.
func clientAccount(t *testing.T) (r *rig, ids *strings.Replacer) {
	t.Helper()
	r = newRig(t)
	r.ok(r.SetUp(strings.NewReader(`{
		"spaces": [{"id": "team", "inheritEntities": true}, {"id": "spare"}],
		"workerPools": [{"id": "pool"}],
		"webhooks": [{"id": "hook", "endpoint": "http://127.0.0.1:1", "headers": {"X-K": "v"}, "disabled": true}],
		"policies": [{"id": "pol", "body": "package spacelift\nsample := true\n"}, {"id": "plan", "type": "PLAN", "body": "package spacelift\n"}],
		"stacks": [
			{"id": "s1", "plan": {"delta": {"added": 1}}},
			{"id": "slow", "plan": {"phases": {"PLANNING": "1h"}}},
			{"id": "done"}, {"id": "down"}, {"id": "vpc", "module": true},
			{"id": "pooled", "workerPool": "pool", "plan": {"delta": {"added": 1}}, "drift": {"schedule": ["0 4 * * *"]}}
		],
		"stackWebhooks": [{"id": "own", "stack": "s1", "endpoint": "http://127.0.0.1:2", "disabled": true}],
		"dependencies": [{"stack": "down", "dependsOn": "done", "references": [{"output": "o", "input": "i"}]}],
		"contexts": [{"id": "shared", "config": [{"id": "R", "value": "eu"}, {"id": "f", "type": "FILE_MOUNT", "value": "Zg=="}]}],
		"contextAttachments": [{"stack": "s1", "context": "shared"}]
	}`)))
	for _, document := range []string{
		`mutation { stackConfigAdd(stack: "s1", config: {id: "A", type: ENVIRONMENT_VARIABLE, value: "b", writeOnly: false}) { id } }`,
		`mutation { stackConfigAdd(stack: "s1", config: {id: "f", type: FILE_MOUNT, value: "Zg==", writeOnly: false}) { id } }`,
		`mutation { stackConfigAdd(stack: "vpc", config: {id: "M", type: ENVIRONMENT_VARIABLE, value: "m", writeOnly: false}) { id } }`,
		`mutation { policyAttach(id: "plan", stack: "s1") { id } }`,
		`mutation { stackCreate(manageState: true, input: {name: "lp", branch: "main", repository: "infra", administrative: false, localPreviewEnabled: true}) { id } }`,
	} {
		r.ask(document, nil)
	}
	push := func(stack spacelift.StackID) string {
		run, err := r.Push(stack, simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 1}, Phases: map[bool]simulator.Phases{
			true: {"PLANNING": simulator.RealisticPhases()["PLANNING"]},
		}[stack == "slow"]})
		r.ok(err)
		r.settle()
		return string(run)
	}
	run, waiting, planning := push("s1"), push("s1"), push("slow")
	push("pooled")
	pooled := push("pooled")
	done, err := r.Push("done", simulator.Commit{}, simulator.Plan{})
	r.ok(err)
	r.settle()
	preview, err := r.Push("done", simulator.Commit{Branch: "feature", At: r.clock.Now().AddDate(1, 0, 0)}, simulator.Plan{})
	r.ok(err)
	r.settle()
	var got struct {
		Policy  struct{ EvaluationRecords []struct{ Key string } }
		Plan    struct{ AttachedStack struct{ ID string } }
		Context struct{ AttachedStack struct{ ID string } }
		Stack   struct {
			Dependency struct {
				ID        string
				Reference struct{ ID string }
			}
		}
	}
	r.graphql(`{
		policy(id: "pol") { evaluationRecords { key } } plan: policy(id: "plan") { attachedStack(id: "s1") { id } }
		context(id: "shared") { attachedStack(id: "s1") { id } }
		stack(id: "down") { dependency(dependsOnStackId: "done") { id reference(inputName: "i") { id } } }
	}`, nil, &got)
	return r, strings.NewReplacer(
		"$RUN", run, "$QUEUED", waiting, "$PLANNING", planning, "$POOLED", pooled, "$DONE", string(done), "$PREVIEW", string(preview),
		"$KEY", got.Policy.EvaluationRecords[0].Key, "$ATTACHMENT", got.Plan.AttachedStack.ID, "$BOND", got.Context.AttachedStack.ID,
		"$EDGE", got.Stack.Dependency.ID, "$REFERENCE", got.Stack.Dependency.Reference.ID,
	)
}

// unanswerable matches the errors of GraphQL about what the schema does not have.
var unanswerable = regexp.MustCompile(`^(Cannot query field|Unknown type) "\w+"`)

// works sends a use's requests to a new account, and reports whether all of them
// are answered. One that is refused for another reason than the schema's is a
// mistake, of the simulator or of the test.
func (u use) works(t *testing.T) bool {
	t.Helper()
	r, ids := clientAccount(t)
	for _, request := range u.requests {
		var filled map[string]any
		variables, err := json.Marshal(request.variables)
		r.ok(err)
		r.ok(json.Unmarshal([]byte(ids.Replace(string(variables))), &filled))
		a := r.graphql(request.document, filled, nil)
		r.settle()
		if len(a.Errors) == 0 {
			continue
		}
		if !unanswerable.MatchString(a.Errors[0].Message) {
			t.Errorf("%s, %s: %s\n%s", u.group, u.name, request.document, a.Errors[0].Message)
		}
		return false
	}
	return true
}

// The table in the how-to says which uses of the official clients work, and it
// is right.
func TestTableOfOfficialClients(t *testing.T) {
	type row struct{ works, refused []string }
	rows := map[string]*row{}
	var groups []string
	for _, u := range officialUses(t) {
		if rows[u.group] == nil {
			rows[u.group] = &row{}
			groups = append(groups, u.group)
		}
		if u.works(t) {
			rows[u.group].works = append(rows[u.group].works, u.name)
		} else {
			rows[u.group].refused = append(rows[u.group].refused, u.name)
		}
	}
	var table strings.Builder
	table.WriteString("| Of | Works | Is refused |\n| --- | --- | --- |\n")
	for _, group := range groups {
		list := func(names []string) string {
			slices.Sort(names)
			for i, name := range names {
				names[i] = "`" + strings.TrimPrefix(name, strings.TrimPrefix(group, "spacectl ")+" ") + "`"
			}
			return strings.Join(names, ", ")
		}
		table.WriteString("| " + group + " | " + list(rows[group].works) + " | " + list(rows[group].refused) + " |\n")
	}

	docs.KeepSection(t, "../docs/how-to/test-against-the-simulator.md", "clients", table.String())
}
