package simulator_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// The tests of this file play what people do with spacectl and the Terraform
// provider. The operations are those that the clients send.

// ask sends a client's operation that must succeed, and returns its data.
func (r *rig) ask(document string, variables map[string]any) string {
	r.t.Helper()
	a := r.graphql(document, variables, nil)
	if len(a.Errors) > 0 {
		r.t.Fatalf("%s: %v", document, a.Errors)
	}
	return string(a.Data)
}

// refused sends a client's operation and returns the error it gets.
func (r *rig) refused(document string, variables map[string]any) string {
	r.t.Helper()
	a := r.graphql(document, variables, nil)
	if len(a.Errors) != 1 {
		r.t.Fatalf("%s: data %s, errors %v; want one error", document, a.Data, a.Errors)
	}
	return a.Errors[0].Message
}

// Terraform destroys a stack destructor first. Everything that belongs to the
// stack is gone by then, and Terraform deletes it all the same.
func TestDestructorThenWhatBelongedToTheStack(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "x"})
	r.stack(simulator.Stack{ID: "y"})
	r.ok(r.AddPolicy(simulator.Policy{ID: "p", Type: "PLAN", Body: "package spacelift\n"}))
	id := func(out string) string {
		return out[strings.LastIndex(out, `"id":"`)+6 : strings.LastIndex(out, `"}}`)]
	}
	r.ask(`mutation($stack:ID!$config:ConfigInput!){stackConfigAdd(stack: $stack, config: $config){id}}`,
		map[string]any{"stack": "x", "config": map[string]any{"id": "A", "type": "ENVIRONMENT_VARIABLE", "value": "b", "writeOnly": true}})
	attached := id(r.ask(`mutation($id:ID!$stack:ID!){policyAttach(id: $id, stack: $stack){id}}`, map[string]any{"id": "p", "stack": "x"}))
	edge := id(r.ask(`mutation($input:StackDependencyInput!){stackDependencyCreate(input: $input){id}}`,
		map[string]any{"input": map[string]any{"stackId": "x", "dependsOnStackId": "y"}}))
	reference := id(r.ask(`mutation($id:ID!$reference:StackDependencyReferenceInput!){stackDependenciesAddReference(stackDependencyID: $id, reference: $reference){id}}`,
		map[string]any{"id": edge, "reference": map[string]any{"outputName": "o", "inputName": "i"}}))
	hook := id(r.ask(`mutation($stack:ID!$input:WebhooksIntegrationInput!){webhooksIntegrationCreate(stack: $stack, input: $input){id}}`,
		map[string]any{"stack": "x", "input": map[string]any{"enabled": true, "endpoint": "http://h"}}))

	r.ask(`mutation($id:ID!){runDiscardAll(stack: $id){discardedRuns{id},failedDiscarding}}`, map[string]any{"id": "x"})
	if got := r.ask(`query($id:ID!){stack(id: $id){blocker{id}}}`, map[string]any{"id": "x"}); got != `{"stack":{"blocker":null}}` {
		t.Fatalf("blocked: %s", got)
	}
	if got := r.ask(`mutation($id:ID!){stackDelete(id: $id, destroyResources: true){id,deleting}}`, map[string]any{"id": "x"}); got != `{"stackDelete":{"id":"x","deleting":true}}` {
		t.Fatalf("deleted: %s", got)
	}
	r.settle()
	if got := r.ask(`query($id:ID!){stack(id: $id){id}}`, map[string]any{"id": "x"}); got != `{"stack":null}` {
		t.Fatalf("not gone: %s", got)
	}
	for document, variables := range map[string]map[string]any{
		`mutation($id:ID!$stack:ID!){stackConfigDelete(stack: $stack, id: $id){id,checksum,type,value,writeOnly,description}}`: {"stack": "x", "id": "A"},
		`mutation($id:ID!){policyDetach(id: $id){id}}`:                                                 {"id": attached},
		`mutation($id:ID!){stackDependenciesDeleteReference(id: $id){id}}`:                             {"id": reference},
		`mutation($id:ID!){stackDependencyDelete(id: $id){id}}`:                                        {"id": edge},
		`mutation($stack:ID!$webhook:ID!){webhooksIntegrationDelete(stack: $stack, id: $webhook){id}}`: {"stack": "x", "webhook": hook},
		`mutation($id:ID!){stackDelete(id: $id){id,deleting}}`:                                         {"id": "x"},
	} {
		if got := r.ask(document, variables); !strings.HasSuffix(got, `:null}`) {
			t.Errorf("%s: %s, want null", document, got)
		}
	}
}

// Deleting anything twice is no error.
func TestDeletingWhatIsGone(t *testing.T) {
	r, _ := populated(t)
	for _, document := range []string{
		`mutation { stackConfigDelete(stack: "base", id: "FOO") { id } }`,
		`mutation { policyDelete(id: "plans") { id } }`,
		`mutation { namedWebhooksIntegrationDelete(id: "hook") { id } }`,
		`mutation { namedWebhooksIntegrationDeleteHeaders(id: "hook", headerKeys: ["X-K"]) { id } }`,
		`mutation { webhooksIntegrationDelete(stack: "base", id: "own") { id } }`,
		`mutation { stackDelete(id: "top") { id } }`,
		`mutation { spaceDelete(space: "none") { id } }`,
	} {
		r.ask(document, nil)
		if got := r.ask(document, nil); !strings.HasSuffix(got, `:null}`) {
			t.Errorf("the second %s: %s, want null", document, got)
		}
	}
}

// A stack that others depend on can't be deleted, in whatever way.
func TestUpstreamStackIsNotDeleted(t *testing.T) {
	r := newRig(t)
	for _, id := range []spacelift.StackID{"network", "app", "web"} {
		r.stack(simulator.Stack{ID: id})
	}
	r.ok(r.AddDependency("app", "network"))
	r.ok(r.AddDependency("web", "network"))
	const spacectl = `mutation($destroyResources:Boolean$id:ID!){stackDelete(id: $id, destroyResources: $destroyResources){id}}`
	want := "stack network can't be deleted: the stacks app, web depend on it"
	for _, destroy := range []bool{false, true} {
		if got := r.refused(spacectl, map[string]any{"id": "network", "destroyResources": destroy}); got != want {
			t.Errorf("destroyResources %v: %q, want %q", destroy, got, want)
		}
	}
	if got := r.control("DELETE", "/stacks/network", "", nil); got != 409 {
		t.Errorf("control API: status %d, want 409", got)
	}
	for _, id := range []string{"web", "app", "network"} { // downstream first
		r.ask(spacectl, map[string]any{"id": id, "destroyResources": false})
	}
	if left := r.Stacks(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// Protection from deletion holds in every interface.
func TestProtectedStackIsNotDeleted(t *testing.T) {
	r := newRig(t)
	r.ask(`mutation($input:StackInput!$manageState:Boolean!){stackCreate(input: $input, manageState: $manageState){id}}`, map[string]any{
		"manageState": true,
		"input":       map[string]any{"name": "net", "branch": "main", "repository": "infra", "administrative": false, "protectFromDeletion": true},
	})
	if _, err := r.RemoveStack("jane", "net", false); err == nil || !strings.Contains(err.Error(), "protected") {
		t.Errorf("Go: error %v", err)
	}
	if got := r.refused(`mutation($id:ID!){stackDelete(id: $id){id}}`, map[string]any{"id": "net"}); !strings.Contains(got, "protected") {
		t.Errorf("GraphQL: error %q", got)
	}
}

// Clients poll "deleting". It ends when the destruction fails, and a second
// request does not start a second destruction.
func TestFailedDestructionEndsTheDeletion(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net", Plan: simulator.Plan{FailIn: "DESTROYING", FailNote: "bucket not empty"}})
	const remove = `mutation($id:ID!){stackDelete(id: $id, destroyResources: true){deleting}}`
	for range 2 {
		if got := r.ask(remove, map[string]any{"id": "net"}); got != `{"stackDelete":{"deleting":true}}` {
			t.Fatalf("deleted: %s", got)
		}
	}
	r.settle()
	if runs, err := r.Runs("net"); err != nil || len(runs) != 1 || runs[0].State != spacelift.RunStateFailed {
		t.Errorf("runs %+v, %v", runs, err)
	}
	if got := r.ask(`query($id:ID!){stack(id: $id){deleting,deleted}}`, map[string]any{"id": "net"}); got != `{"stack":{"deleting":false,"deleted":false}}` {
		t.Errorf("the stack: %s", got)
	}
}

// data "spacelift_stacks" finds stacks by their vendor, as the provider's
// acceptance test does. A stack of no vendor is Terraform's.
func TestStacksByVendor(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "from-config"})
	for name, vendor := range map[string]map[string]any{
		"tf": {"terraform": map[string]any{}}, "ansible": {"ansible": map[string]any{"playbook": "p.yml"}},
		"tofu": {"opentofu": map[string]any{}}, "pulumi": {"pulumi": map[string]any{"loginURL": "s3://x", "stackName": "n"}},
		"tg":   {"terragrunt": map[string]any{"useRunAll": false, "useSmartSanitization": false}},
		"k8s":  {"kubernetes": map[string]any{"namespace": "n"}},
		"cfn":  {"cloudFormation": map[string]any{"entryTemplateFile": "f", "region": "r", "stackName": "s", "templateBucket": "b"}},
		"none": nil,
	} {
		r.ask(`mutation($input:StackInput!$manageState:Boolean!){stackCreate(input: $input, manageState: $manageState){id}}`, map[string]any{
			"manageState": true,
			"input":       map[string]any{"name": name, "branch": "main", "repository": "infra", "administrative": false, "vendorConfig": vendor},
		})
	}
	for want, vendors := range map[string][]string{
		"from-config none tf": {"Terraform"}, "tofu": {"OpenTofu"}, "ansible": {"Ansible"}, "pulumi": {"Pulumi"}, "tg": {"Terragrunt"},
		"k8s": {"Kubernetes"}, "cfn": {"CloudFormation"}, "ansible pulumi": {"Ansible", "Pulumi"}, "": {"TERRAFORM"},
	} {
		var found struct {
			SearchStacks struct {
				Edges []struct{ Node struct{ ID string } }
			}
		}
		r.graphql(`query($input:SearchInput!){searchStacks(input: $input){edges{node{id}},pageInfo{endCursor,hasNextPage}}}`, map[string]any{"input": map[string]any{
			"first": 50, "predicates": []any{map[string]any{
				"field": "vendor", "exclude": nil, "constraint": map[string]any{"booleanEquals": nil, "enumEquals": vendors, "stringMatches": nil},
			}},
		}}, &found)
		var ids []string
		for _, e := range found.SearchStacks.Edges {
			ids = append(ids, e.Node.ID)
		}
		slices.Sort(ids)
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("vendor %v finds %q, want %q", vendors, got, want)
		}
	}
}

// The API returns the default integration for a VCS block without an id: the
// provider's plan after an apply is empty only then.
func TestDefaultVCSIntegration(t *testing.T) {
	r := newRig(t)
	const create = `mutation($input:StackInput!$manageState:Boolean!){stackCreate(input: $input, manageState: $manageState){provider,namespace,vcsIntegration{id,isDefault}}}`
	const update = `mutation($id:ID!$input:StackInput!){stackUpdate(id: $id, input: $input){provider,namespace,vcsIntegration{id,isDefault}}}`
	for _, c := range []struct {
		provider string
		id       any
		want     string
	}{
		{"GITLAB", nil, `{"id":"gitlab-default","isDefault":true}`},
		{"GITHUB_ENTERPRISE", nil, `{"id":"github-enterprise-default","isDefault":true}`},
		{"BITBUCKET_CLOUD", nil, `{"id":"bitbucket-cloud-default","isDefault":true}`},
		{"BITBUCKET_DATACENTER", nil, `{"id":"bitbucket-datacenter-default","isDefault":true}`},
		{"AZURE_DEVOPS", nil, `{"id":"azure-devops-default","isDefault":true}`},
		{"GITLAB", "gl-int", `{"id":"gl-int","isDefault":false}`},
		{"GITLAB", "gitlab-default", `{"id":"gitlab-default","isDefault":true}`}, // what the provider has read
		{"SPACELIFT", "infra", `{"id":"infra","isDefault":false}`},
		{"GITHUB", nil, `null`},
		{"SHOWCASE", nil, `null`},
		{"GIT", nil, `null`},
	} {
		input := map[string]any{
			"name": c.provider, "branch": "main", "repository": "infra", "administrative": false, "provider": c.provider, "namespace": "grp",
			"vcsIntegrationId": c.id,
		}
		want := `{"provider":"` + c.provider + `","namespace":"grp","vcsIntegration":` + c.want + `}}`
		if got := r.ask(create, map[string]any{"input": input, "manageState": true}); got != `{"stackCreate":`+want {
			t.Errorf("%s with id %v: %s, want %s", c.provider, c.id, got, want)
		}
		id := r.Stacks()[0].ID
		if got := r.ask(update, map[string]any{"id": id, "input": input}); got != `{"stackUpdate":`+want {
			t.Errorf("%s with id %v: %s, want %s", c.provider, c.id, got, want)
		}
		r.ask(`mutation($id:ID!){stackDelete(id: $id){id}}`, map[string]any{"id": id})
	}
	r.stack(simulator.Stack{ID: "vpc", Module: true, Provider: "GITLAB"})
	if got := r.ask(`query($id:ID!){module(id: $id){vcsIntegration{id,isDefault}}}`, map[string]any{"id": "vpc"}); !strings.Contains(got, `"isDefault":true`) {
		t.Errorf("module: %s", got)
	}
}

// Terraform imports a stack that --config made. What the provider reads are the
// defaults of its own schema, so that nothing is replaced or changed.
func TestStackOfTheSetUpHasTheProvidersDefaults(t *testing.T) {
	r := newRig(t)
	r.ok(r.SetUp(strings.NewReader(`{"stacks": [{"id": "s1"}]}`)))
	got := r.ask(`query($id:ID!){stack(id: $id){administrative,autodeploy,autoretry,branch,description,githubActionDeploy,localPreviewEnabled,
		enableWellKnownSecretMasking,enableSensitiveOutputUpload,isDisabled,managesStateFile,projectRoot,protectFromDeletion,repository,runnerImage,
		space,terraformVersion,vcsIntegration{id},workerPool{id}}}`, map[string]any{"id": "s1"})
	want := `{"stack":{"administrative":false,"autodeploy":false,"autoretry":false,"branch":"main","description":null,"githubActionDeploy":true,` +
		`"localPreviewEnabled":false,"enableWellKnownSecretMasking":false,"enableSensitiveOutputUpload":true,"isDisabled":false,"managesStateFile":true,` +
		`"projectRoot":null,"protectFromDeletion":false,"repository":"infra","runnerImage":null,"space":"root","terraformVersion":null,` +
		`"vcsIntegration":null,"workerPool":null}}`
	if got != want {
		t.Errorf("the stack\n got %s\nwant %s", got, want)
	}
}

// spacectl promotes a preview where the stack's githubActionDeploy is on, which
// is "allow run promotion".
func TestPromotionFollowsGithubActionDeploy(t *testing.T) {
	const promote = `mutation($run:ID!$stack:ID!){runPromote(stack: $stack, run: $run){id}}`
	for _, allowed := range []bool{true, false} {
		r := newRig(t)
		input := map[string]any{"name": "adm", "branch": "main", "repository": "infra", "administrative": false, "githubActionDeploy": allowed}
		r.ask(`mutation($input:StackInput!$manageState:Boolean!){stackCreate(input: $input, manageState: $manageState){id}}`,
			map[string]any{"input": input, "manageState": true})
		preview := func() string {
			var out struct{ RunTrigger struct{ ID string } }
			r.graphql(`mutation($runtimeConfig:RuntimeConfigInput$sha:String$stack:ID!$type:RunType!){runTrigger(stack: $stack, commitSha: $sha, runType: $type, runtimeConfig: $runtimeConfig){id}}`,
				map[string]any{"stack": "adm", "sha": nil, "type": "PROPOSED", "runtimeConfig": nil}, &out)
			r.settle()
			return out.RunTrigger.ID
		}
		if !allowed {
			if got := r.refused(promote, map[string]any{"stack": "adm", "run": preview()}); !strings.Contains(got, "does not allow run promotion") {
				t.Errorf("error %q", got)
			}
			continue
		}
		r.ask(promote, map[string]any{"stack": "adm", "run": preview()})
		r.settle()
		if runs, err := r.Runs("adm"); err != nil || len(runs) != 2 || runs[1].Type != spacelift.RunTypeTracked || runs[1].State != spacelift.RunStateFinished {
			t.Errorf("runs %+v, %v", runs, err)
		}
		input["githubActionDeploy"] = false
		r.ask(`mutation($id:ID!$input:StackInput!){stackUpdate(id: $id, input: $input){id}}`, map[string]any{"id": "adm", "input": input})
		if st, err := r.Stack("adm"); err != nil || !st.NoPromotion {
			t.Errorf("the stack shows %+v, %v", st, err)
		}
	}
}

// spacectl finds the stacks of a working copy by the repository's owner and
// name, and people search for the name alone.
func TestStacksByRepository(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net", Repository: "infra"})
	r.stack(simulator.Stack{ID: "other", Repository: "apps"})
	for repository, want := range map[string]string{"acme/infra": "net", "infra": "net", "umbrella/infra": ""} {
		got := r.ask(`query($input:SearchInput!){searchStacks(input: $input){edges{node{id}}}}`, map[string]any{"input": map[string]any{
			"first": 30, "predicates": []any{map[string]any{"field": "repository", "constraint": map[string]any{"stringMatches": []string{repository}}}},
		}})
		if want != "" {
			want = `{"node":{"id":"` + want + `"}}`
		}
		if want = `{"searchStacks":{"edges":[` + want + `]}}`; got != want {
			t.Errorf("repository %s finds %s, want %s", repository, got, want)
		}
	}
}
