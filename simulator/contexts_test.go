package simulator_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/simulator"
)

// What the Terraform provider sends for contexts, and what it selects.
const (
	contextFields = `{id,description,labels,name,space,hooks{afterApply,afterDestroy,afterInit,afterPerform,afterPlan,afterRun,beforeApply,beforeDestroy,beforeInit,beforePerform,beforePlan}}`
	elementFields = `{id,checksum,type,value,writeOnly,description}`
	bondFields    = `{id,stackId,isModule,priority}`

	createContext = `mutation ContextCreate($input:ContextInput!){contextCreateV2(input: $input)` + contextFields + `}`
	updateContext = `mutation ContextUpdate($id:ID!$input:ContextInput!){contextUpdateV2(id: $id, input: $input)` + contextFields + `}`
	readContext   = `query ContextRead($id:ID!){context(id: $id)` + contextFields + `}`
	deleteContext = `mutation ContextDelete($id:ID!){contextDelete(id: $id)` + contextFields + `}`
	attachContext = `mutation ContextAttachmentCreate($id:ID!$priority:Int!$stack:ID!){contextAttach(id: $id, stack: $stack, priority: $priority)` + bondFields + `}`
	readBond      = `query ContextAttachmentFetch($context:ID!$project:ID!){context(id: $context){attachedStack(id: $project)` + bondFields + `}}`
	detachContext = `mutation ContextAttachmentDelete($id:ID!){contextDetach(id: $id)` + bondFields + `}`
	addElement    = `mutation EnvironmentVariableCreateContext($config:ConfigInput!$context:ID!){contextConfigAdd(context: $context, config: $config)` + elementFields + `}`
	readElement   = `query MountedFileReadContext($context:ID!$id:ID!){context(id: $context){configElement(id: $id)` + elementFields + `}}`
	deleteElement = `mutation MountedFileDeleteContext($context:ID!$id:ID!){contextConfigDelete(context: $context, id: $id)` + elementFields + `}`

	// spacectl stack environment list
	environment = `query($stack:ID!){stack(id: $stack){runtimeConfig{context{id,contextName},element{id,type,value,writeOnly,runtime}},attachedContexts{contextId,contextName,priority,isAutoattached,config{id,value}}}}`
)

func hooksInput() map[string]any {
	hooks := map[string]any{}
	for _, phase := range []string{"Apply", "Destroy", "Init", "Perform", "Plan"} {
		hooks["after"+phase], hooks["before"+phase] = []string{}, []string{}
	}
	hooks["afterRun"] = []string{}
	return hooks
}

// Terraform makes a context with a variable and a mounted file, attaches it,
// changes it and destroys everything again.
func TestLifeOfAContext(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	hooks := hooksInput()
	hooks["beforeInit"] = []string{"./fetch"}
	input := map[string]any{"name": "Prod / AWS", "description": "d", "hooks": hooks, "labels": []string{"team:core"}, "space": nil}
	shown := func(name string) string {
		return `{"id":"prod-aws","description":"d","labels":["team:core"],"name":"` + name + `","space":"root","hooks":{"afterApply":[],"afterDestroy":[],"afterInit":[],` +
			`"afterPerform":[],"afterPlan":[],"afterRun":[],"beforeApply":[],"beforeDestroy":[],"beforeInit":["./fetch"],"beforePerform":[],"beforePlan":[]}}`
	}
	if got := r.ask(createContext, map[string]any{"input": input}); got != `{"contextCreateV2":`+shown("Prod / AWS")+`}` {
		t.Fatalf("created %s", got)
	}
	id := map[string]any{"id": "prod-aws"}
	input["name"] = "Prod"
	r.ask(updateContext, map[string]any{"id": "prod-aws", "input": input})
	if got := r.ask(readContext, id); got != `{"context":`+shown("Prod")+`}` {
		t.Errorf("read %s", got)
	}

	element := func(id, kind, value string, secret bool) map[string]any {
		return map[string]any{"context": "prod-aws", "config": map[string]any{"id": id, "type": kind, "value": value, "writeOnly": secret, "description": ""}}
	}
	r.ask(addElement, element("AWS_REGION", "ENVIRONMENT_VARIABLE", "eu-1", false))
	r.ask(addElement, element("cert.pem", "FILE_MOUNT", "aGVsbG8=", true))
	file := map[string]any{"context": "prod-aws", "id": "cert.pem"}
	// The checksum of the base64 text.
	if got := r.ask(readElement, file); !strings.Contains(got, `"checksum":"333d6b3a3c1f5db6c9bdda5939b136986d170f4649172a68368d54ecb44c2ff2","type":"FILE_MOUNT","value":null,"writeOnly":true`) {
		t.Errorf("file %s", got)
	}

	bond := map[string]any{"id": "prod-aws", "stack": "net", "priority": 5}
	attached := r.ask(attachContext, bond)
	bondID := attached[strings.Index(attached, `"id":"`)+6 : strings.Index(attached, `","stackId"`)]
	if got := r.refused(attachContext, bond); got != "context prod-aws is attached to stack net" {
		t.Errorf("attached twice: %q", got)
	}
	want := fmt.Sprintf(`{"context":{"attachedStack":{"id":%q,"stackId":"net","isModule":false,"priority":5}}}`, bondID)
	if got := r.ask(readBond, map[string]any{"context": "prod-aws", "project": "net"}); got != want {
		t.Errorf("attachment %s, want %s", got, want)
	}
	want = `{"stack":{"runtimeConfig":[` +
		`{"context":{"id":"prod-aws","contextName":"Prod"},"element":{"id":"AWS_REGION","type":"ENVIRONMENT_VARIABLE","value":"eu-1","writeOnly":false,"runtime":false}},` +
		`{"context":{"id":"prod-aws","contextName":"Prod"},"element":{"id":"cert.pem","type":"FILE_MOUNT","value":null,"writeOnly":true,"runtime":false}}],` +
		`"attachedContexts":[{"contextId":"prod-aws","contextName":"Prod","priority":5,"isAutoattached":false,"config":[{"id":"AWS_REGION","value":"eu-1"},{"id":"cert.pem","value":null}]}]}}`
	if got := r.ask(environment, map[string]any{"stack": "net"}); got != want {
		t.Errorf("environment\n got %s\nwant %s", got, want)
	}

	r = r.restart() // all of it is kept
	if got := r.ask(environment, map[string]any{"stack": "net"}); got != want {
		t.Errorf("environment after a restart\n got %s\nwant %s", got, want)
	}
	for range 2 { // the second time, everything is gone
		r.ask(detachContext, map[string]any{"id": bondID})
		r.ask(deleteElement, file)
		r.ask(deleteContext, id)
	}
	if got := r.ask(readContext, id); got != `{"context":null}` {
		t.Errorf("deleted: %s", got)
	}
}

// A stack's own value counts before those of contexts, and of those the one with
// the lowest priority.
func TestWhoseValueCounts(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net", Labels: []string{"env:prod"}})
	value := func(context string, config ...string) simulator.Context {
		c := simulator.Context{ID: context}
		for _, id := range config {
			c.Config = append(c.Config, simulator.ConfigElement{ID: id, Value: context})
		}
		return c
	}
	label := value("auto", "A", "B", "C", "D")
	label.Labels = []string{"autoattach:env:prod"}
	for _, c := range []simulator.Context{value("second", "A", "B", "C"), value("first", "A", "B"), label, value("unattached", "E")} {
		r.ok(r.AddContext(c))
	}
	r.ok(r.AttachContext("second", "net", 7))
	r.ok(r.AttachContext("first", "net", 3))
	r.ask(`mutation { stackConfigAdd(stack: "net", config: {id: "A", type: ENVIRONMENT_VARIABLE, value: "own", writeOnly: false}) { id } }`, nil)
	want := `{"stack":{"runtimeConfig":[{"element":{"id":"A","value":"own"}},{"element":{"id":"B","value":"first"}},{"element":{"id":"C","value":"second"}}],` +
		`"attachedContexts":[{"contextId":"first"},{"contextId":"second"},{"contextId":"auto"}]}}`
	if got := r.ask(`{ stack(id: "net") { runtimeConfig { element { id value } } attachedContexts { contextId } } }`, nil); got != want {
		t.Errorf("the stack\n got %s\nwant %s", got, want)
	}
}

// Labels attach contexts to stacks and modules within reach.
func TestContextsAttachedByLabel(t *testing.T) {
	r := newRig(t)
	r.ok(r.AddSpace(simulator.Space{ID: "team", InheritEntities: true}))
	r.ok(r.AddSpace(simulator.Space{ID: "island"}))
	r.stack(simulator.Stack{ID: "inside", Space: "team", Labels: []string{"aws"}})
	r.stack(simulator.Stack{ID: "outside", Space: "island", Labels: []string{"aws"}})
	r.stack(simulator.Stack{ID: "vpc", Module: true, Labels: []string{"aws"}})
	r.stack(simulator.Stack{ID: "plain", Space: "team"})
	r.ok(r.AddContext(simulator.Context{ID: "labelled", Labels: []string{"autoattach:aws"}}))
	r.ok(r.AddContext(simulator.Context{ID: "all", Space: "team", Labels: []string{"autoattach:*"}}))
	for context, want := range map[string]string{
		"labelled": `[{"stackId":"inside","isModule":false,"isAutoattached":true},{"stackId":"vpc","isModule":true,"isAutoattached":true}]`,
		"all":      `[{"stackId":"inside","isModule":false,"isAutoattached":true},{"stackId":"plain","isModule":false,"isAutoattached":true}]`,
	} {
		got := r.ask(`query($id:ID!){context(id: $id){hasAttachedStacks,attachedStacks{stackId,isModule,isAutoattached}}}`, map[string]any{"id": context})
		if want = `{"context":{"hasAttachedStacks":true,"attachedStacks":` + want + `}}`; got != want {
			t.Errorf("%s\n got %s\nwant %s", context, got, want)
		}
	}
	if got := r.refused(attachContext, map[string]any{"id": "all", "stack": "outside", "priority": 0}); !strings.Contains(got, "out of reach") {
		t.Errorf("attached out of reach: %q", got)
	}
	if got := r.refused(`mutation($space:ID!){spaceDelete(space: $space){id}}`, map[string]any{"space": "team"}); !strings.Contains(got, "in use") {
		t.Errorf("deleted a space with a context: %q", got)
	}
}

// A stack that is deleted leaves its contexts, and its name, to others.
func TestContextsOfADeletedStack(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.ok(r.AddContext(simulator.Context{ID: "aws"}))
	r.ok(r.AttachContext("aws", "net", 1))
	_, err := r.RemoveStack("jane", "net", false)
	r.ok(err)
	r.stack(simulator.Stack{ID: "net"})
	if got := r.ask(`{ context(id: "aws") { hasAttachedStacks } stack(id: "net") { attachedContexts { contextId } } }`, nil); got !=
		`{"context":{"hasAttachedStacks":false},"stack":{"attachedContexts":[]}}` {
		t.Errorf("after the deletion: %s", got)
	}
}

// spacectl's MCP tools page through contexts, and modules have configuration of
// their own.
func TestContextsAreFoundAndModulesConfigured(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "vpc", Module: true})
	for _, id := range []string{"aws", "gcp"} {
		r.ok(r.AddContext(simulator.Context{ID: id, Labels: []string{"cloud"}}))
	}
	const search = `query($input:SearchInput!){searchContexts(input: $input){edges{node{id,name,labels,createdAt,updatedAt,spaceDetails{id,name},description,hasAttachedStacks}},pageInfo{endCursor,hasNextPage}}}`
	got := r.ask(search, map[string]any{"input": map[string]any{"first": 1, "fullTextSearch": "cloud", "after": nil}})
	if !strings.Contains(got, `"id":"aws"`) || strings.Contains(got, `"id":"gcp"`) || !strings.Contains(got, `"hasNextPage":true`) {
		t.Errorf("found %s", got)
	}
	r.ask(`mutation EnvironmentVariableCreateModule($config:ConfigInput!$stack:ID!){stackConfigAdd(stack: $stack, config: $config)`+elementFields+`}`,
		map[string]any{"stack": "vpc", "config": map[string]any{"id": "A", "type": "ENVIRONMENT_VARIABLE", "value": "b", "writeOnly": false, "description": nil}})
	if got := r.ask(`query EnvironmentVariableReadModule($id:ID!$module:ID!){module(id: $module){configElement(id: $id)`+elementFields+`}}`,
		map[string]any{"module": "vpc", "id": "A"}); !strings.Contains(got, `"value":"b"`) {
		t.Errorf("element of the module: %s", got)
	}
}
