package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

// stacksRig lists stacks of several kinds, in several spaces.
func stacksRig(t *testing.T) (*rig, *account) {
	t.Helper()
	managed := func(id, name, space string, labels ...string) spacelift.Stack {
		return spacelift.Stack{
			Account: "acme", ID: spacelift.StackID(id), Name: name, Space: space, State: "FINISHED", Branch: "main",
			Labels: append([]string{spacelift.LabelManaged}, labels...), Hold: spacelift.Hold{CanWrite: true},
		}
	}
	a := &account{
		spaces: []spacelift.Space{{ID: "root"}, {ID: "live", Parent: "root"}, {ID: "eu", Parent: "live"}, {ID: "test", Parent: "root"}},
		stacks: []spacelift.Stack{
			managed("web", "Web / EU", "eu", "team:web"),
			managed("net", "Network", "live", "team:net", "gantry:approvals=2"),
			managed("odd", "Odd", "test", "gantry:approvals=many"),
			managed("lost", "Lost", "test", "gantry:after=nowhere"),
			managed("idle", "Idle", "test"),
			{Account: "acme", ID: "other", Space: "live"},
		},
	}
	a.stacks[4].CanWrite = false
	return withStacks(t, a), a
}

func (r *rig) stacks(query string) (list api.StackList, ids []string) {
	r.t.Helper()
	w := r.get("/v1/accounts/acme/stacks"+query, viewerToken)
	if w.Code != http.StatusOK {
		r.t.Fatalf("%s: %d %s", query, w.Code, w.Body)
	}
	list = decode[api.StackList](r.t, w)
	for _, s := range list.Stacks {
		ids = append(ids, s.Stack)
	}
	return list, ids
}

func TestFiltersOfStacks(t *testing.T) {
	r, _ := stacksRig(t)
	for query, want := range map[string][]string{
		"":                                 {"idle", "lost", "net", "odd", "web"},
		"?search=EU":                       {"web"},
		"?search=team%3A":                  {"net", "web"},
		"?search=web+eu":                   {"web"},
		"?search=web+net":                  nil,
		"?label=team:net":                  {"net"},
		"?label=team":                      nil,
		"?space=live":                      {"net", "web"},
		"?space=eu":                        {"web"},
		"?enforcement=void":                {"idle"},
		"?enforcement=enforced":            nil,
		"?problems=true":                   {"lost", "odd"},
		"?problems=false&space=test":       {"idle", "lost", "odd"},
		"?order=problems":                  {"odd", "lost", "net", "idle", "web"},
		"?order=problems&search=e":         {"odd", "lost", "net", "idle", "web"},
		"?order=problems&space=live":       {"net", "web"},
		"?enforcement=advisory&space=test": {"lost", "odd"},
	} {
		list, ids := r.stacks(query)
		if diff := cmp.Diff(want, ids); diff != "" || list.Total != len(want) {
			t.Errorf("%s: total %d (-want +got):\n%s", query, list.Total, diff)
		}
		if counts := (api.StackCounts{Total: 5, Problems: 2, Advisory: 4, Void: 1}); list.Counts != counts {
			t.Errorf("%s: counts %+v", query, list.Counts)
		}
	}
	for _, query := range []string{"?order=name", "?enforcement=some", "?search="} {
		wantProblem(t, r.get("/v1/accounts/acme/stacks"+query, viewerToken), http.StatusBadRequest, "bad-request")
	}
}

func TestOneEntryOfTheStacks(t *testing.T) {
	r, _ := stacksRig(t)
	list, _ := r.stacks("?label=team:net")
	got := list.Stacks[0]
	want := []api.PolicyValue{{Name: "confirm", Value: "manual", Origin: "default"}, {Name: "approvals", Value: "2", Origin: "gantry:approvals=2"}}
	if diff := cmp.Diff(want, got.Policy); diff != "" {
		t.Errorf("policy in short (-want +got):\n%s", diff)
	}
	if *got.Space != "live" || *got.State != "FINISHED" || *got.Branch != "main" || got.Name != "Network" || !got.Gate.Open || got.Enforcement.Level != "advisory" {
		t.Errorf("%s", show(got))
	}
}

// Pages follow each other in both orders, and a token belongs to its filters.
func TestPagesOfStacks(t *testing.T) {
	r, _ := stacksRig(t)
	for order, want := range map[string][]string{"stack": {"idle", "lost", "net", "odd", "web"}, "problems": {"odd", "lost", "net", "idle", "web"}} {
		var all []string
		query, token := "?pageSize=2&order="+order, ""
		for {
			list, ids := r.stacks(query + token)
			all = append(all, ids...)
			if list.NextPageToken == nil {
				break
			}
			token = "&pageToken=" + *list.NextPageToken
			wantProblem(t, r.get("/v1/accounts/acme/stacks?pageSize=2&search=x"+token, viewerToken), http.StatusBadRequest, "bad-request")
		}
		if !slices.Equal(all, want) {
			t.Errorf("%s: %v, want %v", order, all, want)
		}
	}
}

// However many ask, Spacelift lists the stacks at most every 15 seconds.
func TestListsOfStacksAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := stacksRig(t)
		first, _ := r.stacks("")
		r.stacks("?search=web")
		r.get("/v1/accounts/acme/stacks/net/followers", viewerToken)
		<-time.After(14 * time.Second)
		r.stacks("")
		if again, _ := r.stacks(""); a.lists != 1 || !cmp.Equal(first, again) {
			t.Errorf("%d lists within 15 seconds, which differ by\n%s", a.lists, cmp.Diff(first, again))
		}
		a.stacks = a.stacks[:1]
		<-time.After(2 * time.Second)
		list, ids := r.stacks("")
		if a.lists != 2 || list.Total != 1 || !list.At.After(first.At) {
			t.Errorf("after 16 seconds: %d lists, %v at %s", a.lists, ids, list.At)
		}
	})
}

func TestPreviewOfFollowers(t *testing.T) {
	r, a := stacksRig(t)
	follow := func(i int, labels ...string) {
		a.stacks[i].Labels = append([]string{spacelift.LabelManaged}, labels...)
	}
	follow(0, "gantry:after=net")
	follow(2, "gantry:after=net")
	follow(3, "gantry:after=web", "gantry:after=odd")
	a.stacks[2].Lock = &spacelift.Lock{By: "jane"}
	a.stacks[0].Lock = &spacelift.Lock{By: "api::01GANTRY"}
	a.native = map[spacelift.StackID][]spacelift.StackID{"web": {"net", "other"}, "other": {"net"}}
	w := r.get("/v1/accounts/acme/stacks/net/followers", viewerToken)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	got := decode[api.FollowersPreview](t, w)
	var steps []string
	for _, f := range got.Followers {
		steps = append(steps, fmt.Sprintf("%s after %v, native %v, %t: %s", f.Stack, f.After, f.Native, f.Released, f.Reason))
		if f.Gate == nil || !f.Gate.Open {
			t.Errorf("gate of %s: %s", f.Stack, show(f.Gate))
		}
	}
	want := []string{
		"odd after [net], native [], false: the stack odd is held: jane locked the stack in Spacelift",
		"web after [net], native [net], true: it is triggered when net has finished",
		"lost after [odd web], native [], false: odd is not triggered: the stack odd is held: jane locked the stack in Spacelift",
	}
	if diff := cmp.Diff(want, steps); diff != "" || got.Summary != "1 of 3 stacks that follow would be released" || !slices.Equal(got.Native, []string{"other"}) {
		t.Errorf("%q, native %v, steps (-want +got):\n%s", got.Summary, got.Native, diff)
	}
	wantProblem(t, r.get("/v1/accounts/acme/stacks/nowhere/followers", viewerToken), http.StatusNotFound, "not-found")
}
