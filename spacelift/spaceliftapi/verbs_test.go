package spaceliftapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

var update = flag.Bool("update", false, "rewrite the golden requests")

func TestRunReadsARecordedAnswer(t *testing.T) {
	a := &api{t: t, answer: func(request) reply { return recorded(t, "graphql_run_query") }}
	got, err := newClient(t, a).Run(t.Context(), testRun)
	if err != nil {
		t.Fatal(err)
	}
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
	want := spacelift.Run{
		Ref:          testRun,
		Type:         spacelift.RunTypeTracked,
		State:        spacelift.RunStateUnconfirmed,
		StateVersion: 5,
		Branch:       "main",
		Commit: spacelift.Commit{
			Hash:       "9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12",
			Message:    "Widen private subnets",
			AuthorName: "Jane Doe",
			URL:        "https://github.com/acme/infra-live/commit/9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12",
		},
		Delta:      &spacelift.Delta{Added: 3, Changed: 1, Resources: 42},
		CanConfirm: true,
		Hold:       &spacelift.Hold{}, // the recorded stack has no such setting
		CreatedAt:  at(1767261600),
		History: []spacelift.Transition{
			{State: spacelift.RunStateQueued, StateVersion: 0, At: at(1767261600)},
			{State: spacelift.RunStateReady, StateVersion: 1, At: at(1767261601)},
			{State: spacelift.RunStatePreparing, StateVersion: 2, At: at(1767261604)},
			{State: spacelift.RunStateInitializing, StateVersion: 3, At: at(1767261609)},
			{State: spacelift.RunStatePlanning, StateVersion: 4, At: at(1767261624)},
			{State: spacelift.RunStateUnconfirmed, StateVersion: 5, At: at(1767261661)},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestStateAndVersionBelongTogether(t *testing.T) {
	for _, c := range []struct {
		name, state, history string
		wantState            spacelift.RunState
		wantVersion          int
	}{
		{"agreeing", "UNCONFIRMED", `{"state":"UNCONFIRMED","stateVersion":5},{"state":"PLANNING","stateVersion":4}`, "UNCONFIRMED", 5},
		{"history read later", "UNCONFIRMED", `{"state":"CONFIRMED","stateVersion":6},{"state":"UNCONFIRMED","stateVersion":5}`, "CONFIRMED", 6},
		{"state read later", "CONFIRMED", `{"state":"UNCONFIRMED","stateVersion":5},{"state":"PLANNING","stateVersion":4}`, "UNCONFIRMED", 5},
		{"ended", "FINISHED", `{"state":"APPLYING","stateVersion":8}`, "FINISHED", 8},
		{"oldest first after all", "PLANNING", `{"state":"QUEUED","stateVersion":0},{"state":"PLANNING","stateVersion":1}`, "PLANNING", 1},
		{"without versions", "PLANNING", `{"state":"PLANNING","stateVersion":0},{"state":"QUEUED","stateVersion":0}`, "PLANNING", 0},
		{"without history", "PLANNING", ``, "PLANNING", 0},
		{"an unknown state", "DREAMING", `{"state":"DREAMING","stateVersion":3}`, "DREAMING", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &api{t: t, answer: func(request) reply {
				return data(`{"stack":{"id":"network-prod","name":"n","labels":["gantry:managed"],"run":{"id":"r","state":%q,"history":[%s]}}}`, c.state, c.history)
			}}
			run, err := newClient(t, a).Run(t.Context(), testRun)
			if err != nil {
				t.Fatal(err)
			}
			if run.State != c.wantState || run.StateVersion != c.wantVersion {
				t.Errorf("got %s %d, want %s %d", run.State, run.StateVersion, c.wantState, c.wantVersion)
			}
			if !spacelift.Managed(run.StackLabels) {
				t.Errorf("labels are lost: %v", run.StackLabels)
			}
		})
	}
}

func TestTimesAreReadByTheirSize(t *testing.T) {
	want := time.Date(2026, time.January, 1, 10, 0, 0, 0, time.UTC)
	for _, n := range []int64{want.Unix(), want.UnixMilli(), want.UnixMicro(), want.UnixNano()} {
		a := &api{t: t, answer: func(request) reply {
			return data(`{"stack":{"id":"s","run":{"id":"r","createdAt":%d}}}`, n)
		}}
		run, err := newClient(t, a).Run(t.Context(), testRun)
		if err != nil || !run.CreatedAt.Equal(want) {
			t.Errorf("%d is read as %s, want %s (%v)", n, run.CreatedAt, want, err)
		}
	}
}

// verbs has every call once, with an answer that makes it succeed and its
// result.
var verbs = []struct {
	name   string
	answer string
	call   func(context.Context, *spaceliftapi.Client) (any, error)
	want   any
}{
	{"Viewer", me, func(ctx context.Context, c *spaceliftapi.Client) (any, error) { return c.Viewer(ctx) },
		spacelift.Viewer{ID: "api::01KDWKEY000000000000000001", Name: "gantry"}},
	{"ConfirmRun", confirmed, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.ConfirmRun(ctx, testRun, "2 of 2 approved")
	}, outcome(testRun.Run, "TRACKED", "CONFIRMED")},
	{"ConfirmRun without a note", confirmed, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.ConfirmRun(ctx, testRun, "")
	}, outcome(testRun.Run, "TRACKED", "CONFIRMED")},
	{"DiscardRun", run("runDiscard", testRun.Run, "TRACKED", "DISCARDED"), func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.DiscardRun(ctx, testRun, "approval timed out")
	}, outcome(testRun.Run, "TRACKED", "DISCARDED")},
	{"CancelRun", run("runCancel", testRun.Run, "TRACKED", "CANCELED"), func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.CancelRun(ctx, testRun, "superseded")
	}, outcome(testRun.Run, "TRACKED", "CANCELED")},
	{"StopRun", run("runStop", testRun.Run, "PROPOSED", "PLANNING"), func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.StopRun(ctx, testRun, "asked by jdoe")
	}, outcome(testRun.Run, "PROPOSED", "PLANNING")},
	{"RetryRun", run("runRetry", "01NEW", "TRACKED", "QUEUED"), func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.RetryRun(ctx, testRun)
	}, outcome("01NEW", "TRACKED", "QUEUED")},
	{"PromoteRun", run("runPromote", "01NEW", "TRACKED", "QUEUED"), func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.PromoteRun(ctx, testRun)
	}, outcome("01NEW", "TRACKED", "QUEUED")},
	{"TriggerRun", run("runTrigger", "01NEW", "TRACKED", "QUEUED"), func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.TriggerRun(ctx, testRun.Stack, spacelift.Trigger{})
	}, outcome("01NEW", "TRACKED", "QUEUED")},
	{"TriggerRun of a commit, forced", run("runTrigger", "01NEW", "TRACKED", "QUEUED"), func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.TriggerRun(ctx, testRun.Stack, spacelift.Trigger{
			Type: spacelift.RunTypeTracked, CommitSHA: "9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12", ForceApply: spacelift.ForceApplySingle,
		})
	}, outcome("01NEW", "TRACKED", "QUEUED")},
	{"CreateTask", run("taskCreate", "01NEW", "TASK", "QUEUED"), func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.CreateTask(ctx, testRun.Stack, "terraform output", true)
	}, outcome("01NEW", "TASK", "QUEUED")},
	{"ReviewRun", `{"runReview":{"id":"01REVIEW"}}`, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return nil, c.ReviewRun(ctx, testRun, spacelift.ReviewReject, "jdoe: too wide")
	}, nil},
	{"CommentRun", `{"runComment":{"createdAt":1767261700}}`, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return nil, c.CommentRun(ctx, testRun, "held: outside business hours")
	}, nil},
	{"MarkExternalDependency", `{"runExternalDependencyMarkAsCompleted":{"phantom":true}}`, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return nil, c.MarkExternalDependency(ctx, "image-9f2c1d7", spacelift.DependencyFinished)
	}, nil},
	{"Stack", `{"stack":{"id":"network-prod","name":"network / prod","state":"UNCONFIRMED","labels":["gantry:managed"],"space":"prod","branch":"main",
		"repository":"infra-live","autodeploy":true,"canWrite":true,"attachedPolicies":[{"policyId":"gantry-approval","policyName":"gantry-approval","policyType":"APPROVAL"},{"policyId":"old","policyName":"old","policyType":"TERRAFORM_PLAN"},{"policyId":"push","policyName":"push","policyType":"GIT_PUSH"}],"isDisabled":true,"deleting":true,"lockedBy":"jdoe","lockedAt":1767261700,"lockNote":"moving the state","blocker":{"id":"01RUN"},"trackedCommit":{"hash":"9f2c"}}}`,
		func(ctx context.Context, c *spaceliftapi.Client) (any, error) { return c.Stack(ctx, "network-prod") },
		spacelift.Stack{
			Account: "acme", ID: "network-prod", Name: "network / prod", State: "UNCONFIRMED", Labels: []string{"gantry:managed"}, Space: "prod",
			Branch: "main", Repository: "infra-live", TrackedCommit: "9f2c", Hold: heldBack,
			Brakes: spacelift.Brakes{
				Lock:     &spacelift.Lock{By: "jdoe", Since: time.Unix(1767261700, 0).UTC(), Note: "moving the state"},
				Disabled: true, Deleting: true, Blocker: "01RUN",
			},
		}},
	{"LabelsOfStacks", `{"stacks":[{"id":"network-prod","labels":["gantry:managed"]},{"id":"app-prod","labels":[]}]}`,
		func(ctx context.Context, c *spaceliftapi.Client) (any, error) { return c.LabelsOfStacks(ctx) },
		[]spacelift.LabelledStack{{ID: "network-prod", Labels: []string{"gantry:managed"}}, {ID: "app-prod", Labels: []string{}}}},
	{"HoldsOfStacks", `{"stacks":[{"id":"network-prod","labels":["gantry:managed"],"autodeploy":true,"canWrite":true,"attachedPolicies":[{"policyId":"gantry-approval","policyName":"gantry-approval","policyType":"APPROVAL"},{"policyId":"old","policyName":"old","policyType":"PLAN"}]}]}`,
		func(ctx context.Context, c *spaceliftapi.Client) (any, error) { return c.HoldsOfStacks(ctx) },
		[]spacelift.HeldStack{{LabelledStack: spacelift.LabelledStack{ID: "network-prod", Labels: []string{"gantry:managed"}}, Hold: heldBack}}},
	{"StacksAtOnce", `{"stacks":[{"id":"network-prod","name":"network / prod","state":"UNCONFIRMED","labels":["gantry:managed"],"space":"prod","branch":"main","canWrite":true}]}`,
		func(ctx context.Context, c *spaceliftapi.Client) (any, error) { return c.StacksAtOnce(ctx) },
		[]spacelift.Stack{{
			Account: "acme", ID: "network-prod", Name: "network / prod", State: "UNCONFIRMED", Labels: []string{"gantry:managed"}, Space: "prod", Branch: "main",
			Hold: spacelift.Hold{CanWrite: true},
		}}},
	{"DependenciesOfStacks", `{"stacks":[{"id":"network-prod","dependsOn":[]},{"id":"app-prod","dependsOn":[{"dependsOnStack":{"id":"network-prod"}}]}]}`,
		func(ctx context.Context, c *spaceliftapi.Client) (any, error) { return c.DependenciesOfStacks(ctx) },
		map[spacelift.StackID][]spacelift.StackID{"app-prod": {"network-prod"}}},
	{"Spaces", `{"spaces":[{"id":"root","name":"root","parentSpace":null,"inheritEntities":false},{"id":"prod","name":"prod","parentSpace":"root","inheritEntities":true}]}`,
		func(ctx context.Context, c *spaceliftapi.Client) (any, error) { return c.Spaces(ctx) },
		[]spacelift.Space{{ID: "root", Name: "root"}, {ID: "prod", Name: "prod", Parent: "root", Inherits: true}}},
	{"NamedWebhook", `{"namedWebhooksIntegration":` + hookJSON + `}`, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.NamedWebhook(ctx, "gantry-prod")
	}, hook},
	{"CreateNamedWebhook", `{"namedWebhooksIntegrationCreate":` + hookJSON + `}`, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.CreateNamedWebhook(ctx, hookInput)
	}, hook},
	{"UpdateNamedWebhook", `{"namedWebhooksIntegrationUpdate":` + hookJSON + `}`, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.UpdateNamedWebhook(ctx, "gantry-prod", hookInput)
	}, hook},
	{"SetNamedWebhookHeaders", `{"namedWebhooksIntegrationSetHeaders":{"id":"gantry-prod"}}`, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return nil, c.SetNamedWebhookHeaders(ctx, "gantry-prod", map[string]string{"X-Gantry-Token": "t", "X-Another": "a"})
	}, nil},
	{"Policy", `{"policy":` + policyJSON + `}`, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.Policy(ctx, "gantry")
	}, policy},
	{"CreatePolicy", `{"policyCreatev2":` + policyJSON + `}`, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.CreatePolicy(ctx, policyInput)
	}, policy},
	{"UpdatePolicy", `{"policyUpdatev2":` + policyJSON + `}`, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.UpdatePolicy(ctx, "gantry", policyInput)
	}, policy},
	{"DeletePolicy", `{"policyDelete":{"id":"gantry"}}`, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return nil, c.DeletePolicy(ctx, "gantry")
	}, nil},
	{"SimulatePolicy", `{"policySimulatev2":"{\"webhook\":[]}"}`, func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
		return c.SimulatePolicy(ctx, spacelift.PolicyTypeNotification, "package spacelift", `{"run_updated":{}}`)
	}, `{"webhook":[]}`},
	{"PlannedResources", `{"stack":{"id":"network-prod","name":"network / prod","labels":["env:prod"],"run":{"id":"r","type":"TRACKED","state":"UNCONFIRMED","delta":{"addCount":1,"changeCount":0,"deleteCount":2,"resources":9},
		"history":[{"state":"UNCONFIRMED","stateVersion":5,"timestamp":1767261600}],"changesV3":[{"resources":[
		{"address":"aws_subnet.a","previousAddress":"aws_subnet.a","metadata":{"type":"added"}},
		{"address":"aws_subnet.b","previousAddress":"aws_subnet.old","metadata":{"type":"no-op"}},
		{"address":"data.aws_ami.x","previousAddress":"data.aws_ami.x","metadata":{"type":"read"}},
		{"address":"aws_db_instance.main","previousAddress":"","metadata":{"type":"destroy-Before-create-replaced"}}]},
		{"resources":[{"address":"aws_subnet.a","previousAddress":"","metadata":{"type":"added"}},{"address":"aws_vpc.z","previousAddress":"","metadata":{"type":"deleted"}}]}]}}}`,
		func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
			return c.PlannedResources(ctx, testRun)
		}, spacelift.PlannedResources{
			Run: spacelift.Run{
				Ref: testRun, Type: "TRACKED", State: "UNCONFIRMED", StateVersion: 5, Delta: &spacelift.Delta{Added: 1, Deleted: 2, Resources: 9},
				StackName: "network / prod", StackLabels: []string{"env:prod"},
				History: []spacelift.Transition{{State: "UNCONFIRMED", StateVersion: 5, At: time.Unix(1767261600, 0).UTC()}},
			}, Complete: true,
			Resources: []spacelift.Resource{
				{Address: "aws_vpc.z", Change: spacelift.ChangeDelete}, {Address: "aws_db_instance.main", Change: spacelift.ChangeReplace},
				{Address: "aws_subnet.a", Change: spacelift.ChangeAdd}, {Address: "aws_subnet.b", PreviousAddress: "aws_subnet.old", Change: spacelift.ChangeMove},
			},
		}},
	{"RunLogs", `{"stack":{"id":"network-prod","run":{"id":"r","logs":{"exists":true,"finished":true,"hasMore":false,"messages":[{"message":"Plan: 3 to add\n"}]}}}}`,
		func(ctx context.Context, c *spaceliftapi.Client) (any, error) {
			return c.RunLogs(ctx, testRun, spacelift.Transition{State: spacelift.RunStatePlanning, StateVersion: 4}, 1000)
		}, spacelift.LogTail{Text: "Plan: 3 to add\n", Complete: true}},
}

const (
	hookJSON = `{"id":"gantry-prod","name":"gantry prod","endpoint":"https://gantry.example.com/webhook","enabled":false,"labels":["gantry"],
		"space":{"id":"root","name":"root"},"secretHeaders":["X-Gantry-Token"],"retryOnFailure":true}`
	policyJSON = `{"id":"gantry","name":"gantry","body":"package spacelift","type":"NOTIFICATION","description":null,"labels":[],"space":"root","engineType":"REGO_V1"}`
)

var (
	hook = spacelift.NamedWebhook{
		ID: "gantry-prod", Name: "gantry prod", Endpoint: "https://gantry.example.com/webhook", Labels: []string{"gantry"}, Space: "root",
		RetryOnFailure: true, SecretHeaders: []string{"X-Gantry-Token"},
	}
	hookInput = spacelift.NamedWebhookInput{
		Name: "gantry prod", Endpoint: "https://gantry.example.com/webhook", Enabled: true, Labels: []string{"gantry"}, Space: "root",
		Secret: "webhook-secret", RetryOnFailure: true,
	}
	policy      = spacelift.Policy{ID: "gantry", Name: "gantry", Type: "NOTIFICATION", Engine: "REGO_V1", Body: "package spacelift", Labels: []string{}, Space: "root"}
	policyInput = spacelift.PolicyInput{
		Name: "gantry", Type: spacelift.PolicyTypeNotification, Engine: spacelift.PolicyEngineRegoV1, Body: "package spacelift", Space: "root",
	}
)

func run(field string, id spacelift.RunID, kind, state string) string {
	return `{"` + field + `":{"id":"` + string(id) + `","type":"` + kind + `","state":"` + state + `"}}`
}

func outcome(id spacelift.RunID, kind spacelift.RunType, state spacelift.RunState) spacelift.RunOutcome {
	return spacelift.RunOutcome{Ref: spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: id}, Type: kind, State: state}
}

func TestVerbs(t *testing.T) {
	for _, v := range verbs {
		t.Run(v.name, func(t *testing.T) {
			a := &api{t: t, answer: func(request) reply { return reply{body: `{"data":` + v.answer + `}`} }}
			got, err := v.call(t.Context(), newClient(t, a))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(v.want, got); diff != "" {
				t.Errorf("result (-want +got)\n%s", diff)
			}
			if n := len(a.seen()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			golden(t, "requests/"+v.name, a.last())
		})
	}
}

// A nil error means that it happened, so an answer without the object is an error.
func TestNothingIsTakenForSuccess(t *testing.T) {
	for _, v := range verbs {
		if v.name == "Spaces" {
			continue // a list may be empty
		}
		t.Run(v.name, func(t *testing.T) {
			a := &api{t: t, answer: func(request) reply { return data(`{}`) }}
			_, err := v.call(t.Context(), newClient(t, a))
			if err == nil {
				t.Fatal("an empty answer is taken for success")
			}
			mutation := strings.HasPrefix(strings.TrimSpace(a.last().Query), "mutation")
			mayHaveHappened := mutation && v.name != "SimulatePolicy" // which changes nothing
			if errors.Is(err, spacelift.ErrAmbiguous) != mayHaveHappened {
				t.Errorf("got %v, want ErrAmbiguous: %t", err, mayHaveHappened)
			}
		})
	}
}

func TestEveryVerbPassesRefusalsOn(t *testing.T) {
	for _, v := range verbs {
		t.Run(v.name, func(t *testing.T) {
			a := &api{t: t, answer: func(request) reply { return refusal("computer says no") }}
			_, err := v.call(t.Context(), newClient(t, a))
			if said, ok := errors.AsType[*spacelift.GraphQLError](err); !ok || said.Messages[0] != "computer says no" {
				t.Errorf("got %v, want Spacelift's message", err)
			}
			if errors.Is(err, spacelift.ErrAmbiguous) {
				t.Errorf("a refusal is not ambiguous: %v", err)
			}
		})
	}
}

func TestAWebhookWithoutSecretIsNotMade(t *testing.T) {
	a := &api{t: t}
	client := newClient(t, a)
	open := hookInput
	open.Secret = ""
	_, create := client.CreateNamedWebhook(t.Context(), open)
	_, change := client.UpdateNamedWebhook(t.Context(), "gantry-prod", open)
	if create == nil || change == nil {
		t.Errorf("created %v, updated %v", create, change)
	}
	wantSeen(t, a)
}

// golden compares a request with its golden file: the request is a contract with
// a server we don't own.
func golden(t *testing.T, name string, r request) {
	t.Helper()
	var variables bytes.Buffer
	if len(r.Variables) == 0 {
		variables.WriteString("{}")
	} else if err := json.Indent(&variables, r.Variables, "", "  "); err != nil {
		t.Fatal(err)
	}
	got := "# " + r.Operation + "\n" + strings.TrimSpace(r.Query) + "\n\n# variables\n" + variables.String() + "\n"
	file := filepath.Join("testdata", strings.ReplaceAll(strings.ReplaceAll(name, ", ", "-"), " ", "-")+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("request (-want +got); -update accepts it\n%s", diff)
	}
}

var heldBack = spacelift.Hold{Autodeploy: true, CanWrite: true, Policies: []spacelift.AttachedPolicy{
	{ID: "gantry-approval", Name: "gantry-approval", Type: "APPROVAL"}, {ID: "old", Name: "old", Type: "PLAN"},
}}
