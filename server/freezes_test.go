package server_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

const freezes = "/v1/accounts/acme/freezes"

// keeps stands for the freezes of an account: what is declared holds, and a key
// is for one wish.
func (f *fakeTemporal) keeps(o client.UpdateWorkflowOptions) (any, error) {
	var key, what string
	switch wish := o.Args[0].(type) {
	case freeze.Declare:
		key, what = wish.Key, "declare "+wish.ID
	case freeze.Lift:
		key, what = wish.Key, "lift "+wish.ID
	}
	if f.freezeKeys == nil {
		f.freezeKeys = map[string]string{}
	}
	if used := f.freezeKeys[key]; key != "" && used != "" && used != what {
		return nil, temporal.NewNonRetryableApplicationError("this key was used for something else", decide.ErrTypeKeyReused, nil)
	}
	f.freezeKeys[key] = what
	switch wish := o.Args[0].(type) {
	case freeze.Declare:
		if wish.From.IsZero() {
			wish.From = planned
		}
		freeze := policy.Freeze{ID: wish.ID, Reason: wish.Reason, Stacks: wish.Stacks, From: wish.From, Until: wish.Until, DeclaredBy: wish.By, DeclaredAt: planned}
		for _, known := range f.freezes {
			if known.ID == wish.ID && known.Reason != wish.Reason {
				return nil, temporal.NewNonRetryableApplicationError("another freeze has this id", decide.ErrTypeKeyReused, nil)
			}
		}
		f.freezes = append(f.freezes, freeze)
		return freeze, nil
	case freeze.Lift:
		for i, known := range f.freezes {
			if known.ID == wish.ID {
				f.freezes = append(f.freezes[:i], f.freezes[i+1:]...)
				return known, nil
			}
		}
	}
	return nil, temporal.NewNonRetryableApplicationError("there is no such freeze", freeze.ErrTypeUnknown, nil)
}

func (r *rig) freezes() []api.Freeze {
	r.t.Helper()
	w := r.get(freezes, viewerToken)
	if w.Code != http.StatusOK {
		r.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return decode[api.FreezeList](r.t, w).Freezes
}

// A freeze that names a stack which isn't managed would freeze nothing: it is refused with
// the nearest name, unless the caller expects the stack. An incident can't wait for
// Spacelift: while that can't be asked, the freeze is declared.
func TestAFreezeMatchesStacks(t *testing.T) {
	a := &account{stacks: []spacelift.Stack{{Account: "acme", ID: "network-prod", Labels: []string{"gantry:managed"}}, {Account: "acme", ID: "old"}}}
	r := withStacks(t, a)
	r.temporal.update = r.temporal.keeps
	for body, want := range map[string]string{
		`{"reason":"x","stacks":["network-prdo"]}`:       `account acme has no managed stack network-prdo (meant network-prod?); correct the name`,
		`{"reason":"x","stacks":["network-prod","old"]}`: `account acme has no managed stack old; correct the name`,
		`{"reason":"x","stacks":["network-prod"]}`:       "",
		`{"reason":"x"}`: "",
		`{"reason":"x","stacks":["network-prod","next"],"allowUnmatched":true}`: "",
	} {
		w := r.post(operatorToken, freezes, body)
		if want == "" && w.Code != http.StatusCreated || want != "" && !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
		if want != "" {
			wantProblem(t, w, http.StatusUnprocessableEntity, "unmatched-freeze")
		}
	}
	if n := len(r.freezes()); n != 3 {
		t.Errorf("%d freezes were declared, want 3", n)
	}
	a.err = errors.New("spacelift is away")
	if w := r.post(operatorToken, freezes, `{"reason":"x","stacks":["network-prdo"]}`); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("by the last list: %d %s", w.Code, w.Body)
	}
	r = withStacks(t, a)
	r.temporal.update = r.temporal.keeps
	if w := r.post(operatorToken, freezes, `{"reason":"x","stacks":["network-prdo"]}`); w.Code != http.StatusCreated {
		t.Errorf("without a list: %d %s", w.Code, w.Body)
	}
}

func TestAFreezeIsDeclaredAndLifted(t *testing.T) {
	r := newRig(t)
	r.temporal.update = r.temporal.keeps
	if got := r.freezes(); len(got) != 0 {
		t.Errorf("before the first there is %v", got)
	}
	w := r.post(operatorToken, freezes, `{"reason":"audit","stacks":["network-prod"],"from":"2026-01-03T00:00:00Z","until":"2026-01-05T06:00:00+01:00"}`)
	if w.Code != http.StatusCreated {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	declared := decode[api.Freeze](t, w)
	want := api.Freeze{
		ID: declared.ID, Reason: "audit", Stacks: []string{"network-prod"}, From: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC),
		Until: new(time.Date(2026, 1, 5, 5, 0, 0, 0, time.UTC)), DeclaredBy: "otto", DeclaredAt: planned,
	}
	if diff := cmp.Diff(want, declared); diff != "" || len(declared.ID) != 26 {
		t.Errorf("freeze %q (-want +got):\n%s", declared.ID, diff)
	}
	if diff := cmp.Diff([]api.Freeze{want}, r.freezes()); diff != "" {
		t.Errorf("freezes (-want +got):\n%s", diff)
	}

	at, err := (&url.URL{Path: freezes}).Parse(w.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	location := at.Path
	wantProblem(t, r.send(http.MethodDelete, location, "", "Authorization", "Bearer "+approverToken), http.StatusForbidden, "forbidden")
	w = r.send(http.MethodDelete, location, "", "Authorization", "Bearer "+operatorToken)
	if w.Code != http.StatusOK || decode[api.Freeze](t, w).ID != declared.ID || len(r.freezes()) != 0 {
		t.Errorf("lift: %d %s, left %v", w.Code, w.Body, r.freezes())
	}
	wantProblem(t, r.send(http.MethodDelete, location, "", "Authorization", "Bearer "+operatorToken), http.StatusNotFound, "unknown-freeze")
	lines := r.log.entries(t, "change")
	for i, operation := range []string{"DeclareFreeze", "LiftFreeze"} {
		if len(lines) != 2 || lines[i]["operation"] != operation || lines[i]["by"] != "otto" || lines[i]["freeze"] != declared.ID {
			t.Errorf("%s: logged %v", operation, lines)
		}
	}
}

// A repeat under the same key is the same freeze; another wish under it is
// refused; without a key each is its own.
func TestAFreezeIsDeclaredOnce(t *testing.T) {
	r := newRig(t)
	r.temporal.update = r.temporal.keeps
	declare := func(body string, headers ...string) api.Freeze {
		t.Helper()
		w := r.post(operatorToken, freezes, body, headers...)
		if w.Code != http.StatusCreated {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return decode[api.Freeze](t, w)
	}
	first := declare(`{"reason":"audit"}`, keyed("k")...)
	if again := declare(`{"reason":"audit"}`, keyed("k")...); again.ID != first.ID || len(r.freezes()) != 1 {
		t.Errorf("the repeat is %s, the first %s", again.ID, first.ID)
	}
	wantProblem(t, r.post(operatorToken, freezes, `{"reason":"incident"}`, keyed("k")...), http.StatusUnprocessableEntity, "idempotency-key-reused")
	if other := declare(`{"reason":"audit"}`, keyed("k2")...); other.ID == first.ID {
		t.Error("another key is the same freeze")
	}
	if a, b := declare(`{"reason":"audit"}`), declare(`{"reason":"audit"}`); a.ID == b.ID {
		t.Error("two without a key are one")
	}

	// A repeat of lifting is answered like the first, though the freeze is gone.
	path := freezes + "/" + first.ID
	for range 2 {
		if w := r.send(http.MethodDelete, path, "", "Authorization", "Bearer "+operatorToken, "Idempotency-Key", "lift"); w.Code != http.StatusOK {
			t.Errorf("lift: %d %s", w.Code, w.Body)
		}
	}
	// The same key with another freeze lifts nothing, nor does one that declared.
	rest := len(r.freezes())
	for path, key := range map[string]string{freezes + "/" + r.freezes()[0].ID: "lift", freezes + "/" + r.freezes()[1].ID: "k2"} {
		w := r.send(http.MethodDelete, path, "", "Authorization", "Bearer "+operatorToken, "Idempotency-Key", key)
		wantProblem(t, w, http.StatusUnprocessableEntity, "idempotency-key-reused")
	}
	if left := len(r.freezes()); left != rest {
		t.Errorf("of %d freezes %d are left", rest, left)
	}
}

func TestFreezesThatCannotBe(t *testing.T) {
	r := newRig(t)
	for name, tt := range map[string]struct {
		path, body string
		status     int
		kind       string
	}{
		"no reason":          {freezes, `{}`, http.StatusBadRequest, "bad-request"},
		"an empty reason":    {freezes, `{"reason":""}`, http.StatusBadRequest, "bad-request"},
		"somebody else's":    {freezes, `{"reason":"x","declaredBy":"root"}`, http.StatusBadRequest, "bad-request"},
		"no time":            {freezes, `{"reason":"x","until":"tomorrow"}`, http.StatusBadRequest, "bad-request"},
		"an unknown account": {"/v1/accounts/initech/freezes", `{"reason":"x"}`, http.StatusNotFound, "not-found"},
	} {
		p := wantProblem(t, r.post(operatorToken, tt.path, tt.body), tt.status, tt.kind)
		if len(r.temporal.updates) != 0 {
			t.Errorf("%s: it was sent", name)
		}
		if tt.kind == "not-found" && !strings.Contains(*p.Detail, "/v1/accounts") {
			t.Errorf("%s: %s", name, *p.Detail)
		}
	}
	wantProblem(t, r.get("/v1/accounts/initech/freezes", viewerToken), http.StatusNotFound, "not-found")
	// Lifting starts nothing: without an execution there is no freeze.
	wantProblem(t, r.send(http.MethodDelete, freezes+"/x", "", "Authorization", "Bearer "+operatorToken), http.StatusNotFound, "unknown-freeze")
	r.temporal.update = func(client.UpdateWorkflowOptions) (any, error) { return nil, errNobodyWorks }
	wantProblem(t, r.post(operatorToken, freezes, `{"reason":"x"}`), http.StatusServiceUnavailable, "unanswered")
	r.temporal.err = serviceerror.NewUnavailable("down")
	wantProblem(t, r.get(freezes, viewerToken), http.StatusServiceUnavailable, "temporal-unavailable")
}
