package server_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// account is Spacelift as far as stacks go.
type account struct {
	stacks   []spacelift.Stack
	plans    map[spacelift.RunID]spacelift.PlannedResources
	policies []spacelift.Policy
	spaces   []spacelift.Space
	native   map[spacelift.StackID][]spacelift.StackID
	err      error
	lists    int // how often its stacks were listed
}

func (a *account) Stack(_ context.Context, id spacelift.StackID) (spacelift.Stack, error) {
	for _, s := range a.stacks {
		if s.ID == id {
			return s, a.err
		}
	}
	return spacelift.Stack{}, errors.Join(a.err, spacelift.ErrNotFound)
}

func (a *account) Policies(context.Context, ...string) (spacelift.Listing[spacelift.Policy], error) {
	return spacelift.Listing[spacelift.Policy]{Items: a.policies, Complete: true}, a.err
}

func (a *account) Viewer(context.Context) (spacelift.Viewer, error) {
	return spacelift.Viewer{ID: "api::01GANTRY"}, a.err
}

func (a *account) Spaces(context.Context) ([]spacelift.Space, error) { return a.spaces, a.err }

func (a *account) StacksAtOnce(context.Context) ([]spacelift.Stack, error) {
	a.lists++
	return slices.Clone(a.stacks), a.err
}

func (a *account) DependenciesOfStacks(context.Context) (map[spacelift.StackID][]spacelift.StackID, error) {
	return a.native, a.err
}

func (a *account) PlannedResources(_ context.Context, ref spacelift.RunRef) (spacelift.PlannedResources, error) {
	if planned, ok := a.plans[ref.Run]; ok {
		return planned, a.err
	}
	return spacelift.PlannedResources{}, errors.Join(a.err, spacelift.ErrNotFound)
}

// withStacks gives acme stacks, a profile, and a window that is over.
func withStacks(t *testing.T, a *account) *rig {
	t.Helper()
	rules, err := policy.Compile(policy.Config{
		Profiles: []policy.Profile{{
			Name: "production", Confirm: new(policy.ConfirmAuto), MaxDeleted: new(0), Approvals: new(2), ApprovalTimeout: new(policy.Duration(24 * time.Hour)),
			Escalation: []policy.Step{{After: policy.Duration(time.Hour), Notify: []string{"deploys"}}, {After: policy.Duration(4 * time.Hour), Discard: true}},
		}},
		Windows:  []policy.Window{{Name: "launch", TimeZone: "UTC", Allow: []policy.Recurrence{{Start: "2020-01-01T08:00", Duration: policy.Duration(time.Hour)}}}},
		Channels: []string{"deploys"},
		Rules:    []policy.StackRule{{Name: "floor", Match: policy.Match{Spaces: []string{"prod"}}, Profile: "production", Locked: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return newRig(t, func(c *server.Config) {
		c.Accounts[0].Stacks, c.Policies = a, func() *policy.Definitions { return rules }
	})
}

func (r *rig) policyOf(stack string) api.Stack {
	r.t.Helper()
	w := r.get("/v1/accounts/acme/stacks/"+stack+"/policy", viewerToken)
	if w.Code != http.StatusOK {
		r.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return decode[api.Stack](r.t, w)
}

// What a locked rule overrules is shown at the value, with the label and the reason.
func TestThePolicyUnderALockedRule(t *testing.T) {
	a := &account{
		spaces: []spacelift.Space{{ID: "root"}, {ID: "prod", Parent: "root"}, {ID: "net", Parent: "prod"}},
		stacks: []spacelift.Stack{{Account: "acme", ID: "vpc", Space: "net", Labels: []string{"gantry:managed", "gantry:approvals=1"}}},
	}
	want := api.PolicyValue{Name: "approvals", Value: "2", Origin: "rule floor (profile production)", Overruled: []api.OverruledValue{
		{Value: "1", Origin: "gantry:approvals=1", Reason: "rule floor (profile production) locks it, so it can only be tightened"},
	}}
	shows := func(policy []api.PolicyValue) {
		t.Helper()
		for _, v := range policy {
			if v.Name == "approvals" {
				if diff := cmp.Diff(want, v); diff != "" {
					t.Errorf("approvals (-want +got):\n%s", diff)
				}
				return
			}
		}
		t.Error("it doesn't show approvals")
	}
	r := withStacks(t, a)
	shows(r.policyOf("vpc").Policy)
	shows(decode[api.StackList](t, r.get("/v1/accounts/acme/stacks", viewerToken)).Stacks[0].Policy)
	a.err = errors.New("not now")
	if w := r.get("/v1/accounts/acme/stacks/vpc/policy", viewerToken); w.Code < 500 {
		t.Errorf("without the spaces it answers %d %s", w.Code, w.Body)
	}
}

func TestThePolicyOfAStack(t *testing.T) {
	r := withStacks(t, &account{stacks: []spacelift.Stack{{
		Account: "acme", ID: "network-prod", Name: "network / prod",
		Labels: []string{"env:prod", "gantry:managed", "gantry:profile=production", "gantry:approvals=3", "gantry:window=launch"},
	}}})
	got := r.policyOf("network-prod")
	values := map[string]api.PolicyValue{}
	for _, v := range got.Policy {
		values[v.Name] = v
	}
	for name, want := range map[string]api.PolicyValue{
		"profile":            {Value: "production", Origin: "gantry:profile=production"},
		"confirm":            {Value: "auto", Origin: "profile production"},
		"limits.maxDeleted":  {Value: "0", Origin: "profile production"},
		"approvals":          {Value: "3", Origin: "gantry:approvals=3"},
		"approvers":          {Value: "anyone", Origin: "default"},
		"approvalTimeout":    {Value: "24h", Origin: "profile production"},
		"escalation":         {Value: "after 1h notify deploys; after 4h discard", Origin: "profile production"},
		"windows":            {Value: "launch", Origin: "gantry:window=launch"},
		"types":              {Value: "TRACKED", Origin: "default"},
		"drift":              {Value: "true", Origin: "default"},
		"retries":            {Value: "0", Origin: "default"},
		"reminders":          {Value: "none", Origin: "default"},
		"deadlines.queued":   {Value: "30m", Origin: "default"},
		"deadlines.applying": {Value: "2h", Origin: "default"},
	} {
		want.Name = name
		if diff := cmp.Diff(want, values[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, shown := values["limits.maxAdded"]; shown {
		t.Error("a limit that nobody set is shown")
	}
	got.Policy = nil
	want := api.Stack{
		Enforcement: &api.Enforcement{Level: "void", Reason: "Gantry's API key may not act on the stack's runs in Spacelift"},
		Account:     "acme", Stack: "network-prod", Name: "network / prod", Managed: true, Problems: []api.PolicyProblem{},
		Labels: []string{"gantry:approvals=3", "gantry:managed", "gantry:profile=production", "gantry:window=launch"},
		Gate:   api.Gate{Reason: new("the window launch is closed and never opens again"), Window: new("launch")},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(api.Gate{}, "At")); diff != "" {
		t.Errorf("stack (-want +got):\n%s", diff)
	}
}

// What can't be followed is said with its remedy, and a freeze closes the gate.
func TestThePolicyOfAStackThatIsHeld(t *testing.T) {
	r := withStacks(t, &account{stacks: []spacelift.Stack{
		{Account: "acme", ID: "app", Name: "app", Labels: []string{"gantry:managed", "gantry:confirm=atuo"}},
		{Account: "acme", ID: "bare", Name: "bare"},
	}})
	r.temporal.freezes = []policy.Freeze{{ID: "f1", Reason: "incident", From: time.Now().Add(-time.Hour), DeclaredBy: "otto"}}
	got := r.policyOf("app")
	if len(got.Problems) != 1 || got.Problems[0].Label != "gantry:confirm=atuo" || got.Problems[0].Remedy == "" {
		t.Errorf("problems %s", show(got.Problems))
	}
	if got.Gate.Open || got.Gate.Freeze == nil || *got.Gate.Freeze != "f1" || !strings.Contains(*got.Gate.Reason, "incident") {
		t.Errorf("gate %s", show(got.Gate))
	}
	if bare := r.policyOf("bare"); bare.Managed || len(bare.Labels) != 0 || len(bare.Policy) == 0 {
		t.Errorf("a stack that Gantry leaves alone: %s", show(bare))
	}
}

func TestListStacks(t *testing.T) {
	r := withStacks(t, &account{stacks: []spacelift.Stack{
		{Account: "acme", ID: "network", Labels: []string{"gantry:managed"}}, {Account: "acme", ID: "other"},
		{Account: "acme", ID: "app", Labels: []string{"gantry:confirm=auto", "gantry:managed"}},
	}})
	w := r.get("/v1/accounts/acme/stacks", viewerToken)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	list := decode[api.StackList](t, w)
	var ids []string
	for _, s := range list.Stacks {
		ids = append(ids, s.Stack)
	}
	if diff := cmp.Diff([]string{"app", "network"}, ids); diff != "" {
		t.Errorf("stacks (-want +got):\n%s", diff)
	}
	if !list.Stacks[0].Gate.Open {
		t.Errorf("gate %s", show(list.Stacks[0].Gate))
	}
}

// What labels refer to in the account is looked for there: a follower of nothing
// never runs, and a group of nobody never approves.
func TestStacksThatReferToNothing(t *testing.T) {
	r := withStacks(t, &account{stacks: []spacelift.Stack{
		{Account: "acme", ID: "app", Labels: []string{"gantry:managed", "gantry:after=netwok", "gantry:approvers=plattform"}},
		{Account: "acme", ID: "dns", Labels: []string{"gantry:managed", "gantry:after=legacy", "gantry-notify=#dns"}},
		{Account: "acme", ID: "legacy", Labels: []string{"ganrty:managed"}},
		{Account: "acme", ID: "network", Labels: []string{"gantry:managed"}},
		{Account: "acme", ID: "web", Labels: []string{"gantry:managed", "gantry:after=app", "gantry:approvers=platform"}},
	}})
	list := decode[api.StackList](t, r.get("/v1/accounts/acme/stacks", viewerToken))
	warned := map[string][]string{}
	for _, s := range list.Stacks {
		if len(s.Problems) > 0 {
			t.Errorf("%s is held: %s", s.Stack, show(s.Problems))
		}
		for _, w := range s.Warnings {
			warned[s.Stack] = append(warned[s.Stack], w.Label+": "+w.Remedy)
		}
	}
	want := map[string][]string{
		"app": {"gantry:after=netwok: name a stack by its id (meant network?), or remove the label", "gantry:approvers=plattform: name another group (meant platform?), or give tokens this group"},
		"dns": {"gantry-notify=#dns: write gantry:notify=#dns, or rename it if it isn't meant for Gantry", "gantry:after=legacy: label it gantry:managed, name another, or remove the label"},
	}
	if diff := cmp.Diff(want, warned); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if one := r.policyOf("app"); len(one.Warnings) != 2 || !strings.Contains(one.Warnings[0].Remedy, "meant network?") {
		t.Errorf("the stack alone: %s", show(one.Warnings))
	}
	if one := r.policyOf("legacy"); one.Managed || len(one.Warnings) != 1 || !strings.Contains(one.Warnings[0].Remedy, "write gantry:managed") {
		t.Errorf("a stack that only looks managed: %s", show(one))
	}
}

func TestStacksThatCannotBeRead(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		status int
		kind   string
		after  string
	}{
		"unknown":      {nil, http.StatusNotFound, "not-found", ""},
		"unauthorized": {spacelift.ErrUnauthorized, http.StatusBadGateway, "spacelift-refused", ""},
		"forbidden":    {spacelift.ErrForbidden, http.StatusBadGateway, "spacelift-refused", ""},
		"an old one":   {spacelift.ErrSchemaMismatch, http.StatusBadGateway, "spacelift-refused", ""},
		"rate limited": {&spacelift.RateLimitedError{RetryAfter: time.Minute}, http.StatusServiceUnavailable, "spacelift-unavailable", "60"},
		"slow":         {context.DeadlineExceeded, http.StatusServiceUnavailable, "spacelift-unavailable", "10"},
		"in trouble":   {errors.New("secret details"), http.StatusServiceUnavailable, "spacelift-unavailable", "10"},
	} {
		t.Run(name, func(t *testing.T) {
			a := &account{err: tt.err, stacks: []spacelift.Stack{{ID: "known", Labels: []string{"gantry:managed"}}}}
			r := withStacks(t, a)
			paths := []string{"/v1/accounts/acme/stacks/known/policy", "/v1/accounts/acme/stacks"}
			if tt.err == nil {
				paths = []string{"/v1/accounts/acme/stacks/app/policy", "/v1/accounts/initech/stacks/app/policy", "/v1/accounts/initech/stacks"}
			}
			for _, path := range paths {
				w := r.get(path, viewerToken)
				wantProblem(t, w, tt.status, tt.kind)
				if got := w.Header().Get("Retry-After"); got != tt.after {
					t.Errorf("%s: Retry-After is %q, want %q", path, got, tt.after)
				}
				if strings.Contains(w.Body.String(), "secret details") {
					t.Error("the problem passes an error's text on")
				}
			}
		})
	}
}

// A stack shows what its policy is worth in Spacelift, by what is attached and by the
// text of the policy.
func TestStacksShowTheirEnforcement(t *testing.T) {
	attached := []spacelift.AttachedPolicy{{Name: spacelift.EnforcingApproval, Type: spacelift.PolicyTypeApproval}}
	a := &account{stacks: []spacelift.Stack{
		{Account: "acme", ID: "plain", Labels: []string{"gantry:managed"}, Hold: spacelift.Hold{CanWrite: true}},
		{Account: "acme", ID: "sure", Labels: []string{"gantry:managed"}, Hold: spacelift.Hold{CanWrite: true, Policies: attached}},
	}}
	r := withStacks(t, a)
	for _, tt := range []struct {
		body string
		want string // of the stack that has the policy
	}{
		{deploy.ApprovalPolicy("api::01GANTRY"), "enforced"},
		{deploy.ApprovalPolicy("api::01OTHER"), "advisory"},
		{"package spacelift\napprove = true\n", "advisory"},
	} {
		a.policies = []spacelift.Policy{{Name: spacelift.EnforcingApproval, Type: spacelift.PolicyTypeApproval, Body: tt.body}}
		if got := r.policyOf("sure").Enforcement; got == nil || got.Level != tt.want {
			t.Errorf("with %q: %+v", tt.body, got)
		}
		if got := r.policyOf("plain").Enforcement; got == nil || got.Level != "advisory" {
			t.Errorf("without a policy: %+v", got)
		}
	}
	a.policies = nil
	if got := r.policyOf("sure").Enforcement; got == nil || got.Level != "advisory" || !strings.Contains(got.Reason, "can't read the policy") {
		t.Errorf("with a policy that can't be read: %+v", got)
	}
}
