package simulator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// populated is an account with one of everything.
func populated(t *testing.T) (r *rig, run spacelift.RunID) {
	r = newRig(t)
	r.ok(r.AddSpace(simulator.Space{ID: "team", InheritEntities: true, Labels: []string{"t"}}))
	r.ok(r.AddWorkerPool(simulator.WorkerPool{ID: "pool", Name: "prod"}))
	r.stack(simulator.Stack{ID: "base", Space: "team", Labels: []string{"env:prod"}, WorkerPool: "pool", Drift: simulator.DriftDetection{Schedule: []string{"0 4 * * *"}, Reconcile: true}})
	r.stack(simulator.Stack{ID: "top", Autodeploy: true})
	r.stack(simulator.Stack{ID: "vpc", Module: true})
	r.ok(r.AddDependency("top", "base", simulator.Reference{Output: "vpc_id", Input: "TF_VAR_vpc_id"}))
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "hook", Endpoint: r.hook.url, Headers: map[string]string{"X-K": "v"}}))
	r.ok(r.AddStackWebhook(simulator.StackWebhook{ID: "own", Stack: "base", Endpoint: r.hook.url}))
	r.ok(r.AddPolicy(simulator.Policy{ID: "notify", Engine: simulator.RegoV1, Body: "package spacelift\n\nsample := true\n"}))
	r.ok(r.AddPolicy(simulator.Policy{ID: "plans", Type: "PLAN", Engine: simulator.RegoV1, Body: "package spacelift\n"}))
	r.ok(r.AddContext(simulator.Context{
		ID: "shared", Labels: []string{"autoattach:env:prod"}, Config: []simulator.ConfigElement{{ID: "REGION", Value: "eu-1"}},
	}))
	r.ok(r.AttachContext("shared", "top", 3))
	run = r.push("base", simulator.Plan{Delta: twoAdded.Delta, Outputs: map[string]string{"vpc_id": "vpc-1"}})
	r.ok(r.Comment("ann", "base", run, "hm"))
	for _, document := range []string{
		`mutation { policyAttach(id: "plans", stack: "base") { id } }`,
		`mutation { stackConfigAdd(stack: "base", config: {id: "FOO", type: ENVIRONMENT_VARIABLE, value: "bar", writeOnly: false}) { id } }`,
	} {
		if a := r.graphql(document, nil, nil); len(a.Errors) > 0 {
			t.Fatal(document, a.Errors)
		}
	}
	return r, run
}

// Every field of the schema can be selected, nested three deep, without an error.
func TestEveryFieldResolves(t *testing.T) {
	r, run := populated(t)
	arguments := map[string]string{
		"Query.stack": `(id: "base")`, "Query.module": `(id: "vpc")`, "Query.runStack": fmt.Sprintf(`(runId: %q)`, run),
		"Query.namedWebhooksIntegration": `(id: "hook")`, "Query.policy": `(id: "notify")`, "Query.space": `(id: "team")`,
		"Query.context": `(id: "shared")`, "Query.searchContexts": `(input: {})`, "Context.configElement": `(id: "REGION")`,
		"Context.attachedStack": `(id: "top")`, "Module.configElement": `(id: "FOO")`,
		"Query.searchStacks": `(input: {})`, "Query.searchRuns": `(input: {})`, "Query.searchPolicies": `(input: {})`,
		"Query.searchNamedWebhooksIntegrations": `(input: {})`,
		"Stack.run":                             fmt.Sprintf(`(id: %q)`, run), "Stack.runResourceState": fmt.Sprintf(`(id: %q)`, run),
		"Stack.dependency": `(dependsOnStackId: "base")`, "Stack.configElement": `(id: "FOO")`,
		"StackDependency.reference": `(inputName: "TF_VAR_vpc_id")`, "Run.logs": `(state: PLANNING)`, "Run.changesV3": `(input: {})`,
		"Policy.attachedStack": `(id: "base")`, "Policy.evaluationSample": `(key: "x")`,
	}
	var schema struct {
		Schema struct {
			Types []struct {
				Name, Kind    string
				PossibleTypes []struct{ Name string }
				Fields        []struct {
					Name string
					Args []struct{ Type struct{ Kind string } }
					Type typeRef
				}
			}
		} `json:"__schema"`
	}
	r.graphql(`{ __schema { types { name kind possibleTypes { name } fields { name args { type { kind } }
		type { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } }`, nil, &schema)

	var selection func(typ string, depth int) string
	selection = func(typ string, depth int) string {
		var b strings.Builder
		for _, known := range schema.Schema.Types {
			if known.Name != typ {
				continue
			}
			for _, member := range known.PossibleTypes {
				fmt.Fprintf(&b, "... on %s { __typename } ", member.Name)
			}
			for _, f := range known.Fields {
				needsArgs := slices.ContainsFunc(f.Args, func(a struct{ Type struct{ Kind string } }) bool { return a.Type.Kind == "NON_NULL" })
				args, given := arguments[typ+"."+f.Name]
				if needsArgs && !given {
					t.Errorf("%s.%s needs arguments that this test does not give", typ, f.Name)
				}
				if !f.Type.composite() {
					fmt.Fprintf(&b, "%s%s ", f.Name, args)
				} else if depth > 0 {
					fmt.Fprintf(&b, "%s%s { __typename %s} ", f.Name, args, selection(f.Type.base(), depth-1))
				}
			}
		}
		return b.String()
	}
	for _, known := range schema.Schema.Types {
		if known.Name != "Query" {
			continue
		}
		for _, f := range known.Fields {
			document := fmt.Sprintf("{ %s%s", f.Name, arguments["Query."+f.Name])
			if f.Type.composite() {
				document += " { " + selection(f.Type.base(), 3) + "}"
			}
			if a := r.graphql(document+" }", nil, nil); len(a.Errors) > 0 || strings.Contains(string(a.Data), `{"`+f.Name+`":null}`) {
				t.Errorf("%s: %s %v", f.Name, a.Data, a.Errors)
			}
		}
	}
}

type typeRef struct {
	Kind, Name string
	OfType     *typeRef
}

func (t typeRef) base() string {
	for t.OfType != nil {
		t = *t.OfType
	}
	return t.Name
}

func (t typeRef) composite() bool {
	for t.OfType != nil {
		t = *t.OfType
	}
	return t.Kind == "OBJECT" || t.Kind == "UNION"
}

// What spacectl and the Terraform provider ask for, with the variable types
// they declare. The documents are ours; operations, arguments and types are
// those the clients were seen to send.
func TestDocumentsOfOfficialClients(t *testing.T) {
	const stackInput = `{"name": "made / here", "branch": "main", "repository": "infra", "administrative": false, "autodeploy": true, "labels": ["gantry:managed"], "space": "team", "workerPool": "pool",
		"vendorConfig": {"terraform": {"workflowTool": "OPEN_TOFU", "useSmartSanitization": true}}, "beforeInit": ["echo hi"], "additionalProjectGlobs": ["modules/**"], "protectFromDeletion": false}`
	for _, c := range []struct {
		name, document, variables, want string
	}{
		{
			"sign of life", `query { viewer { id name } debugInfo { selfHostedVersion } }`, `{}`,
			`{"viewer":{"id":"api::01KEY","name":"01KEY"},"debugInfo":{"selfHostedVersion":""}}`,
		}, {
			"stacks by label", `query ($input: SearchInput!) { searchStacks(input: $input) { edges { node { id labels } } pageInfo { hasNextPage } } }`,
			`{"input": {"first": 50, "after": null, "fullTextSearch": null, "predicates": [{"field": "label", "exclude": null, "constraint": {"booleanEquals": null, "enumEquals": null, "stringMatches": ["env:prod"]}}]}}`,
			`{"searchStacks":{"edges":[{"node":{"id":"base","labels":["env:prod"]}}],"pageInfo":{"hasNextPage":false}}}`,
		}, {
			"runs of a stack", `query ($stack: ID!, $before: ID) { stack(id: $stack) { runs(before: $before) { id state title commit { hash authorName } delta { addCount } } } }`,
			`{"stack": "base", "before": "$RUN"}`, `{"stack":{"runs":[]}}`,
		}, {
			"history of a run", `query ($stack: ID!, $run: ID!) { stack(id: $stack) { run(id: $run) { history { state hasLogs terminal } } } }`,
			`{"stack": "base", "run": "$RUN"}`,
			`{"stack":{"run":{"history":[{"state":"UNCONFIRMED","hasLogs":false,"terminal":false},{"state":"PLANNING","hasLogs":true,"terminal":false},{"state":"INITIALIZING","hasLogs":true,"terminal":false},{"state":"PREPARING","hasLogs":true,"terminal":false},{"state":"READY","hasLogs":false,"terminal":false},{"state":"QUEUED","hasLogs":false,"terminal":false}]}}}`,
		}, {
			"log of a phase", `query ($stack: ID!, $run: ID!, $state: RunState!, $token: String, $stateVersion: Int) { stack(id: $stack) { run(id: $run) { logs(state: $state, token: $token, stateVersion: $stateVersion) { exists finished hasMore messages { message } } } } }`,
			`{"stack": "base", "run": "$RUN", "state": "PLANNING", "token": null, "stateVersion": 4}`,
			`{"stack":{"run":{"logs":{"exists":true,"finished":true,"hasMore":false,"messages":[{"message":"Plan: 2 to add, 0 to change, 0 to destroy.\n"}]}}}}`,
		}, {
			"cheap poll of a run", `query ($stackId: ID!, $runId: ID!) { stack(id: $stackId) { runResourceState(id: $runId) { id state finished } } }`,
			`{"stackId": "base", "runId": "$RUN"}`, `{"stack":{"runResourceState":{"id":"$RUN","state":"UNCONFIRMED","finished":false}}}`,
		}, {
			"deploy", `mutation ($stack: ID!, $sha: String, $type: RunType!, $runtimeConfig: RuntimeConfigInput, $forceApply: ForceApplyMode) { runTrigger(stack: $stack, commitSha: $sha, runType: $type, runtimeConfig: $runtimeConfig, forceApply: $forceApply) { type state triggeredBy } }`,
			`{"stack": "top", "sha": null, "type": "TRACKED", "runtimeConfig": null, "forceApply": null}`,
			`{"runTrigger":{"type":"TRACKED","state":"QUEUED","triggeredBy":"api::01KEY"}}`,
		}, {
			"confirm", `mutation ($stack: ID!, $run: ID!) { runConfirm(stack: $stack, run: $run) { state } }`,
			`{"stack": "base", "run": "$RUN"}`, `{"runConfirm":{"state":"CONFIRMED"}}`,
		}, {
			"discard the blocker", `mutation ($stack: ID!, $note: String) { runDiscard(stack: $stack, note: $note) { id state } }`,
			`{"stack": "base", "note": "no"}`, `{"runDiscard":{"id":"$RUN","state":"DISCARDED"}}`,
		}, {
			"discard all", `mutation ($id: ID!) { runDiscardAll(stack: $id) { discardedRuns { id } failedDiscarding } }`,
			`{"id": "base"}`, `{"runDiscardAll":{"discardedRuns":[{"id":"$RUN"}],"failedDiscarding":[]}}`,
		}, {
			"review", `mutation ($stack: ID!, $run: ID, $decision: RunReviewDecision!, $note: String) { runReview(stack: $stack, run: $run, decision: $decision, note: $note) { decision } }`,
			`{"stack": "base", "run": null, "decision": "APPROVE", "note": null}`, `{"runReview":{"decision":"APPROVE"}}`,
		}, {
			"replan", `mutation ($stack: ID!, $run: ID!, $targets: [String!]!) { runTargetedReplan(stack: $stack, run: $run, targets: $targets) { state } }`,
			`{"stack": "base", "run": "$RUN", "targets": ["a.b"]}`, `{"runTargetedReplan":{"state":"REPLAN_REQUESTED"}}`,
		}, {
			"comment", `mutation { runComment(stack: "base", run: "$RUN", body: "hi") { body username } }`, `{}`,
			`{"runComment":{"body":"hi","username":"api::01KEY"}}`,
		}, {
			"task", `mutation ($stack: ID!, $command: String!, $skip: Boolean) { taskCreate(stack: $stack, command: $command, skipInitialization: $skip) { type command } }`,
			`{"stack": "base", "command": "ls", "skip": null}`, `{"taskCreate":{"type":"TASK","command":"ls"}}`,
		}, {
			"lock", `mutation ($stack: ID!, $note: String!) { stackLock(id: $stack, note: $note) { lockedBy lockNote } }`,
			`{"stack": "base", "note": "mine"}`, `{"stackLock":{"lockedBy":"api::01KEY","lockNote":"mine"}}`,
		}, {
			"set the tracked commit", `mutation ($stack: ID!, $sha: String!) { stackSetCurrentCommit(id: $stack, sha: $sha) { trackedCommit { hash } } }`,
			`{"stack": "base", "sha": "abc"}`, `{"stackSetCurrentCommit":{"trackedCommit":{"hash":"abc"}}}`,
		}, {
			"create a stack", `mutation ($input: StackInput!, $manageState: Boolean!, $stackObjectID: String, $slug: String) { stackCreate(input: $input, manageState: $manageState, stackObjectID: $stackObjectID, slug: $slug) { id space managesStateFile beforeInit workerPool { id } additionalProjectGlobs vendorConfig { __typename ... on StackConfigVendorTerraform { workflowTool useSmartSanitization } } } }`,
			`{"input": ` + stackInput + `, "manageState": true, "stackObjectID": null, "slug": null}`,
			`{"stackCreate":{"id":"made-here","space":"team","managesStateFile":true,"beforeInit":["echo hi"],"workerPool":{"id":"pool"},"additionalProjectGlobs":["modules/**"],"vendorConfig":{"__typename":"StackConfigVendorTerraform","workflowTool":"OPEN_TOFU","useSmartSanitization":true}}}`,
		}, {
			"update a stack: what is left out is reset", `mutation ($id: ID!, $input: StackInput!) { stackUpdate(id: $id, input: $input) { id name labels workerPool { id } } }`,
			`{"id": "base", "input": {"name": "renamed", "branch": "main", "repository": "infra", "administrative": false}}`,
			`{"stackUpdate":{"id":"base","name":"renamed","labels":[],"workerPool":null}}`,
		}, {
			"create a dependency", `mutation ($input: StackDependencyInput!) { stackDependencyCreate(input: $input) { dependsOnStackId referenceCount stack { id } dependsOnStack { name } } }`,
			`{"input": {"stackId": "base", "dependsOnStackId": "nope"}}`, `error: not found`,
		}, {
			"find a dependency", `query ($id: ID!, $dependency: ID!, $on: ID!) { stack(id: $id) { dependency(id: $dependency, dependsOnStackId: $on) { dependsOnStackId reference(id: "", inputName: "TF_VAR_vpc_id") { outputName type } } } }`,
			`{"id": "top", "dependency": "", "on": "base"}`,
			`{"stack":{"dependency":{"dependsOnStackId":"base","reference":{"outputName":"vpc_id","type":"ENVIRONMENT_VARIABLE"}}}}`,
		}, {
			"create a named webhook", `mutation ($input: NamedWebhooksIntegrationInput!) { namedWebhooksIntegrationCreate(input: $input) { id enabled labels space { id } retryOnFailure secretHeaders } }`,
			`{"input": {"enabled": true, "endpoint": "https://g.example", "space": "root", "name": "Gantry Prod", "secret": "s", "labels": ["gantry"], "retryOnFailure": true}}`,
			`{"namedWebhooksIntegrationCreate":{"id":"gantry-prod","enabled":true,"labels":["gantry"],"space":{"id":"root"},"retryOnFailure":true,"secretHeaders":[]}}`,
		}, {
			"set its headers", `mutation ($id: ID!, $input: NamedWebhookHeaderInput!) { namedWebhooksIntegrationSetHeaders(id: $id, input: $input) { secretHeaders } }`,
			`{"id": "hook", "input": {"entries": [{"key": "X-A", "value": "v"}]}}`, `{"namedWebhooksIntegrationSetHeaders":{"secretHeaders":["X-A","X-K"]}}`,
		}, {
			"delete its headers", `mutation ($id: ID!, $keys: [String!]!) { namedWebhooksIntegrationDeleteHeaders(id: $id, headerKeys: $keys) { secretHeaders } }`,
			`{"id": "hook", "keys": ["X-K"]}`, `{"namedWebhooksIntegrationDeleteHeaders":{"secretHeaders":[]}}`,
		}, {
			"delete it", `mutation ($webhook: ID!) { namedWebhooksIntegrationDelete(id: $webhook) { id } }`,
			`{"webhook": "hook"}`, `{"namedWebhooksIntegrationDelete":{"id":"hook"}}`,
		}, {
			"update a stack webhook", `mutation ($stack: ID!, $webhook: ID!, $input: WebhooksIntegrationInput!) { webhooksIntegrationUpdate(stack: $stack, id: $webhook, input: $input) { id endpoint enabled secret retryOnFailure } }`,
			`{"stack": "base", "webhook": "own", "input": {"enabled": false, "endpoint": "https://e.example", "secret": "s", "retryOnFailure": true}}`,
			`{"webhooksIntegrationUpdate":{"id":"own","endpoint":"https://e.example","enabled":false,"secret":"s","retryOnFailure":true}}`,
		}, {
			"two stack webhooks to one endpoint", `mutation ($stack: ID!, $input: WebhooksIntegrationInput!) { webhooksIntegrationCreate(stack: $stack, input: $input) { id } }`,
			`{"stack": "base", "input": {"enabled": true, "endpoint": "$HOOK"}}`, `error: has a webhook to this endpoint`,
		}, {
			"create a policy", `mutation ($input: PolicyCreateInput!) { policyCreatev2(input: $input) { id type engineType space labels } }`,
			`{"input": {"name": "Gantry Notifications", "body": "package spacelift\n", "type": "NOTIFICATION", "labels": null, "space": "root", "description": null, "engineType": "REGO_V1"}}`,
			`{"policyCreatev2":{"id":"gantry-notifications","type":"NOTIFICATION","engineType":"REGO_V1","space":"root","labels":[]}}`,
		}, {
			"create a policy that does not compile", `mutation ($input: PolicyCreateInput!) { policyCreatev2(input: $input) { id } }`,
			`{"input": {"name": "broken", "body": "package spacelift\nwebhook contains", "type": "NOTIFICATION"}}`, `error: rego_parse_error`,
		}, {
			"update a policy", `mutation ($id: ID!, $input: PolicyUpdateInput!) { policyUpdatev2(id: $id, input: $input) { name body engineType } }`,
			`{"id": "notify", "input": {"name": "renamed", "body": "package spacelift\n\nx := 1\n"}}`,
			`{"policyUpdatev2":{"name":"renamed","body":"package spacelift\n\nx := 1\n","engineType":"REGO_V1"}}`,
		}, {
			"attach a notification policy", `mutation ($id: ID!, $stack: ID!) { policyAttach(id: $id, stack: $stack) { id } }`,
			`{"id": "notify", "stack": "base"}`, `error: can't be attached`,
		}, {
			"create a space", `mutation ($input: SpaceInput!) { spaceCreate(input: $input) { name parentSpace inheritEntities labels } }`,
			`{"input": {"name": "new", "description": "d", "inheritEntities": true, "parentSpace": "team", "labels": ["l"]}}`,
			`{"spaceCreate":{"name":"new","parentSpace":"team","inheritEntities":true,"labels":["l"]}}`,
		}, {
			"delete a space in use", `mutation ($space: ID!) { spaceDelete(space: $space) { id } }`, `{"space": "team"}`, `error: in use`,
		}, {
			"delete a stack", `mutation ($id: ID!, $destroyResources: Boolean) { stackDelete(id: $id, destroyResources: $destroyResources) { id deleted } }`,
			`{"id": "top", "destroyResources": false}`, `{"stackDelete":{"id":"top","deleted":true}}`,
		}, {
			"find the stack of a run", `query ($runId: ID!) { runStack(runId: $runId) { id } }`, `{"runId": "$RUN"}`, `{"runStack":{"id":"base"}}`,
		}, {
			"what waits for a person", `query ($input: SearchInput!) { searchRuns(input: $input) { edges { node { run { id canConfirm } stack { id spaceDetails { name } } } } } }`,
			`{"input": {"first": 50, "predicates": [{"field": "state", "constraint": {"enumEquals": ["UNCONFIRMED"]}}]}}`,
			`{"searchRuns":{"edges":[{"node":{"run":{"id":"$RUN","canConfirm":true},"stack":{"id":"base","spaceDetails":{"name":"team"}}}}]}}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, run := populated(t)
			fill := strings.NewReplacer("$RUN", string(run), "$HOOK", r.hook.url).Replace
			variables := decode(t, fill(c.variables))
			a := r.graphql(strings.ReplaceAll(c.document, "$RUN", string(run)), variables, nil)
			if want, refused := strings.CutPrefix(c.want, "error: "); refused {
				if len(a.Errors) != 1 || !strings.Contains(a.Errors[0].Message, want) {
					t.Errorf("errors %v, want one with %q", a.Errors, want)
				}
				return
			}
			if got := string(a.Data); got != fill(c.want) || len(a.Errors) > 0 {
				t.Errorf("answer\n got %s %v\nwant %s", got, a.Errors, fill(c.want))
			}
		})
	}
}

func TestSearchPages(t *testing.T) {
	r := newRig(t)
	for i := range 7 {
		r.ok(r.AddStack(simulator.Stack{ID: spacelift.StackID(fmt.Sprintf("s%d", i)), Labels: []string{fmt.Sprintf("odd:%v", i%2 == 1)}}))
	}
	find := func(input map[string]any) (ids []string, info struct {
		EndCursor                    string
		HasNextPage, HasPreviousPage bool
	}) {
		var got struct {
			SearchStacks struct {
				Edges    []struct{ Node struct{ ID string } }
				PageInfo struct {
					EndCursor                    string
					HasNextPage, HasPreviousPage bool
				}
			}
		}
		if a := r.graphql(`query ($in: SearchInput!) { searchStacks(input: $in) { edges { node { id } } pageInfo { endCursor hasNextPage hasPreviousPage } } }`,
			map[string]any{"in": input}, &got); len(a.Errors) > 0 {
			t.Fatal(a.Errors)
		}
		for _, e := range got.SearchStacks.Edges {
			ids = append(ids, e.Node.ID)
		}
		return ids, got.SearchStacks.PageInfo
	}
	var all []string
	after := ""
	for page := range 3 {
		ids, info := find(map[string]any{"first": 3, "after": after})
		all, after = append(all, ids...), info.EndCursor
		if info.HasNextPage != (page < 2) || info.HasPreviousPage != (page > 0) {
			t.Errorf("page %d: %+v", page, info)
		}
	}
	if want := "s0 s1 s2 s3 s4 s5 s6"; strings.Join(all, " ") != want {
		t.Errorf("pages hold %v, want %s", all, want)
	}
	label := func(exclude bool, values ...string) map[string]any {
		return map[string]any{"predicates": []any{map[string]any{"field": "label", "exclude": exclude, "constraint": map[string]any{"stringMatches": values}}}}
	}
	for want, input := range map[string]map[string]any{
		"s1 s3 s5":             label(false, "odd:true"),
		"s0 s2 s4 s6":          label(true, "odd:true"),
		"s0 s1 s2 s3 s4 s5 s6": label(false, "ODD:"), // parts match, whatever the case
		"":                     label(false, "even"),
		"s3":                   {"fullTextSearch": "s3"},
		"s6 s5 s4 s3 s2 s1 s0": {"orderBy": map[string]any{"field": "name", "direction": "DESC"}},
	} {
		if ids, _ := find(input); strings.Join(ids, " ") != want {
			t.Errorf("%v finds %v, want %s", input, ids, want)
		}
	}
	a := r.graphql(`{ searchStacks(input: {predicates: [{field: "mood", constraint: {stringMatches: ["x"]}}]}) { edges { node { id } } } }`, nil, nil)
	if len(a.Errors) != 1 {
		t.Errorf("an unknown predicate field was taken: %s", a.Data)
	}
}

func TestRunsPage(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	for range 60 {
		r.push("net", simulator.Plan{})
	}
	_, err := r.Push("net", simulator.Commit{Branch: "feature"}, twoAdded)
	r.ok(err)
	seen := map[string]bool{}
	var before any
	sizes := []int{}
	for range 4 {
		var got struct {
			Stack struct{ Runs []struct{ ID string } }
		}
		r.graphql(`query ($before: ID) { stack(id: "net") { runs(before: $before) { id } } }`, map[string]any{"before": before}, &got)
		sizes = append(sizes, len(got.Stack.Runs))
		for _, run := range got.Stack.Runs {
			seen[run.ID] = true
			before = run.ID
		}
		if len(got.Stack.Runs) == 0 {
			break
		}
	}
	if len(seen) != 60 || !slices.Equal(sizes, []int{50, 10, 0}) {
		t.Errorf("%d different tracked runs in pages of %v", len(seen), sizes)
	}
}
