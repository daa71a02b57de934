package spaceliftapi_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// after is the cursor a search came with.
func after(t *testing.T, r request) string {
	t.Helper()
	var v struct{ Input struct{ After string } }
	if err := json.Unmarshal(r.Variables, &v); err != nil {
		t.Fatal(err)
	}
	return v.Input.After
}

func TestStacksByLabelReadsARecordedAnswer(t *testing.T) {
	a := &api{t: t, answer: func(request) reply { return recorded(t, "graphql_search_stacks_by_label") }}
	got, err := newClient(t, a).StacksByLabel(t.Context(), "orchestrator:release")
	if err != nil {
		t.Fatal(err)
	}
	want := spacelift.Listing[spacelift.Stack]{Complete: true, Items: []spacelift.Stack{{
		Account: "acme", ID: "network-prod", Name: "network / prod", State: "UNCONFIRMED",
		Labels: []string{"env:prod", "folder:network", "orchestrator:release"},
		Space:  "prod-01KDWSPACE0000000000000001", Brakes: spacelift.Brakes{Blocker: "01KDX3V4T8Q2M5N7P9R1S3T5V7"},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	golden(t, "requests/StacksByLabel", a.last())
}

func TestStacksByLabelWantsTheWholeLabelOnEveryPage(t *testing.T) {
	pages := map[string]reply{
		"": data(`{"searchStacks":{"edges":[{"node":{"id":"a","labels":["gantry:managed"]}},{"node":{"id":"b","labels":["gantry:managed-not"]}}],
			"pageInfo":{"endCursor":"p2","hasNextPage":true}}}`),
		"p2": data(`{"searchStacks":{"edges":[],"pageInfo":{"endCursor":"p3","hasNextPage":true}}}`),
		"p3": data(`{"searchStacks":{"edges":[{"node":{"id":"c","labels":["x","gantry:managed"]}},{"node":{"id":"d","labels":[]}}],
			"pageInfo":{"endCursor":null,"hasNextPage":false}}}`),
	}
	a := &api{t: t}
	a.answer = func(r request) reply { return pages[after(t, r)] }
	got, err := newClient(t, a).StacksByLabel(t.Context(), "gantry:managed")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range got.Items {
		ids = append(ids, string(s.ID))
	}
	if want := []string{"a", "c"}; !got.Complete || !cmp.Equal(ids, want) {
		t.Errorf("got %v, complete %t; want %v", ids, got.Complete, want)
	}
}

func TestListings(t *testing.T) {
	const last = `"pageInfo":{"endCursor":"","hasNextPage":false}`
	a := &api{t: t}
	a.answer = func(r request) reply {
		switch r.Operation {
		case "SearchNamedWebhooks":
			return data(`{"searchNamedWebhooksIntegrations":{"edges":[{"node":%s}],%s}}`, hookJSON, last)
		case "SearchPolicies":
			return data(`{"searchPolicies":{"edges":[{"node":%s},{"node":{"id":"x","type":"PLAN"}}],%s}}`, policyJSON, last)
		default:
			return data(`{"searchStacks":{"edges":[{"node":{"id":"a"}},{"node":{"id":"b"}}],%s}}`, last)
		}
	}
	client := newClient(t, a)
	hooks, err := client.NamedWebhooks(t.Context())
	if diff := cmp.Diff(spacelift.Listing[spacelift.NamedWebhook]{Items: []spacelift.NamedWebhook{hook}, Complete: true}, hooks); diff != "" || err != nil {
		t.Errorf("webhooks: %v (-want +got)\n%s", err, diff)
	}
	policies, err := client.Policies(t.Context(), spacelift.PolicyTypeNotification)
	if diff := cmp.Diff(spacelift.Listing[spacelift.Policy]{Items: []spacelift.Policy{policy}, Complete: true}, policies); diff != "" || err != nil {
		t.Errorf("policies: %v (-want +got)\n%s", err, diff)
	}
	stacks, err := client.Stacks(t.Context())
	if err != nil || len(stacks.Items) != 2 || !stacks.Complete {
		t.Errorf("stacks: %+v, %v", stacks, err)
	}
}

func TestACursorThatDoesNotMoveIsAnError(t *testing.T) {
	for name, cursor := range map[string]string{"same": `"p"`, "empty": `""`, "null": `null`} {
		t.Run(name, func(t *testing.T) {
			a := &api{t: t, answer: func(request) reply {
				return data(`{"searchPolicies":{"edges":[],"pageInfo":{"endCursor":%s,"hasNextPage":true}}}`, cursor)
			}}
			if _, err := newClient(t, a).Policies(t.Context(), spacelift.PolicyTypeNotification); err == nil {
				t.Error("no error: a caller would take the listing for whole")
			}
			if n := len(a.seen()); n > 2 {
				t.Errorf("%d requests for the same page", n)
			}
		})
	}
}

func TestRunsInProgress(t *testing.T) {
	t.Run("reads a recorded answer", func(t *testing.T) {
		a := &api{t: t, answer: func(request) reply { return recorded(t, "graphql_search_runs_unconfirmed") }}
		got, err := newClient(t, a).RunsInProgress(t.Context(), 3, spacelift.RunStateUnconfirmed)
		if err != nil {
			t.Fatal(err)
		}
		want := spacelift.Listing[spacelift.RunLine]{Complete: true, Items: []spacelift.RunLine{{
			Ref: testRun, Title: "Widen private subnets", Branch: "main", CreatedAt: time.Unix(1767261600, 0).UTC(),
			StackName: "network / prod", StackLabels: []string{"env:prod", "orchestrator:release"},
		}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		golden(t, "requests/RunsInProgress of one state", a.last())
	})
	t.Run("stops at its bound and says so", func(t *testing.T) {
		a := &api{t: t}
		a.answer = func(r request) reply {
			// Pages overlap: between two of them a run went up the list.
			return data(`{"searchRuns":{"edges":[{"node":{"run":{"id":"r%d"},"stack":{"id":"s"}}},{"node":{"run":{"id":"r%d"},"stack":{"id":"s"}}}],
				"pageInfo":{"endCursor":"p%d","hasNextPage":true}}}`, r.n, r.n+1, r.n)
		}
		got, err := newClient(t, a).RunsInProgress(t.Context(), 3)
		if err != nil {
			t.Fatal(err)
		}
		if got.Complete || len(got.Items) != 4 || len(a.seen()) != 3 {
			t.Errorf("complete %t, %d runs, %d requests; want an incomplete listing of 4 from 3", got.Complete, len(got.Items), len(a.seen()))
		}
		golden(t, "requests/RunsInProgress second page", a.requests[1])
	})
	t.Run("never asks for ended runs", func(t *testing.T) {
		a := &api{t: t, answer: func(request) reply {
			return data(`{"searchRuns":{"edges":[],"pageInfo":{"endCursor":"","hasNextPage":false}}}`)
		}}
		if _, err := newClient(t, a).RunsInProgress(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		asked := string(a.last().Variables)
		for _, s := range spacelift.RunStates {
			if got := strings.Contains(asked, fmt.Sprintf("%q", s)); got == s.Terminal() && s != spacelift.RunStatePending {
				t.Errorf("asks for %s: %t", s, got)
			}
		}
	})
}

func TestRunsOfStack(t *testing.T) {
	// Seven runs, newest first, in pages of three.
	list := []string{"g", "f", "e", "d", "c", "b", "a"}
	page := func(field string) func(request) reply {
		return func(r request) reply {
			var v struct{ Before *string }
			if err := json.Unmarshal(r.Variables, &v); err != nil {
				t.Error(err)
			}
			begin := 0
			if v.Before != nil {
				for list[begin] != *v.Before {
					begin++
				}
				begin++
			}
			var runs []string
			for _, id := range list[begin:min(begin+3, len(list))] {
				runs = append(runs, fmt.Sprintf(`{"id":%q,"type":"TRACKED","state":"FINISHED"}`, id))
			}
			if !strings.Contains(r.Query, field) {
				t.Errorf("asked without %s: %s", field, r.Query)
			}
			return data(`{"stack":{"id":"network-prod","name":"n","labels":[],"runs":[%s]}}`, strings.Join(runs, ","))
		}
	}
	for _, c := range []struct {
		of           spacelift.RunType
		field        string
		limit        int
		want         int
		wantComplete bool
		wantRequests int
	}{
		{spacelift.RunTypeTracked, "runs(before: $before)", 2, 2, false, 1},
		{spacelift.RunTypeTracked, "runs(before: $before)", 5, 5, false, 2},
		{spacelift.RunTypeProposed, "proposedRuns(before: $before)", 100, 7, true, 4},
		{spacelift.RunTypeTask, "tasks(before: $before)", 100, 7, true, 4},
	} {
		a := &api{t: t, answer: page(c.field)}
		got, err := newClient(t, a).RunsOfStack(t.Context(), "network-prod", c.of, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, r := range got.Items {
			ids = append(ids, string(r.Ref.Run))
		}
		if !cmp.Equal(ids, list[:c.want]) || got.Complete != c.wantComplete || len(a.seen()) != c.wantRequests {
			t.Errorf("%s, limit %d: %v, complete %t, %d requests", c.of, c.limit, ids, got.Complete, len(a.seen()))
		}
	}

	t.Run("a server that ignores the cursor", func(t *testing.T) {
		a := &api{t: t, answer: func(request) reply {
			return data(`{"stack":{"id":"s","runs":[{"id":"x"},{"id":"y"}]}}`)
		}}
		got, err := newClient(t, a).RunsOfStack(t.Context(), "s", spacelift.RunTypeTracked, 100)
		if err != nil || len(got.Items) != 2 || len(a.seen()) != 2 {
			t.Errorf("%d runs, %d requests, %v; want 2 runs and an end", len(got.Items), len(a.seen()), err)
		}
	})
	t.Run("a type without a list", func(t *testing.T) {
		a := &api{t: t}
		if _, err := newClient(t, a).RunsOfStack(t.Context(), "s", spacelift.RunTypeDestroy, 1); err == nil || len(a.seen()) > 0 {
			t.Errorf("got %v after %v", err, a.seen())
		}
	})
}

func TestRunLogsKeepsTheEnd(t *testing.T) {
	// A log of a hundred lines in ten pages.
	pages := func(r request) reply {
		var v struct{ Token *string }
		if err := json.Unmarshal(r.Variables, &v); err != nil {
			t.Error(err)
		}
		n := 0
		if v.Token != nil {
			fmt.Sscanf(*v.Token, "page-%d", &n)
		}
		var lines []string
		for i := range 10 {
			lines = append(lines, fmt.Sprintf(`{"message":"line %02d\n"}`, n*10+i))
		}
		return data(`{"stack":{"id":"s","run":{"id":"r","logs":{"exists":true,"finished":true,"hasMore":%t,"nextToken":"page-%d","messages":[%s]}}}}`,
			n < 9, n+1, strings.Join(lines, ","))
	}
	in := spacelift.Transition{State: spacelift.RunStatePlanning, StateVersion: 4}
	for _, c := range []struct {
		max  int
		want spacelift.LogTail
	}{
		{16, spacelift.LogTail{Text: "line 98\nline 99\n", Cut: true, Complete: true}},
		{12, spacelift.LogTail{Text: " 98\nline 99\n", Cut: true, Complete: true}},
	} {
		a := &api{t: t, answer: pages}
		got, err := newClient(t, a).RunLogs(t.Context(), testRun, in, c.max)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	a := &api{t: t, answer: pages}
	if got, err := newClient(t, a).RunLogs(t.Context(), testRun, in, 10_000); err != nil || got.Cut || len(got.Text) != 800 {
		t.Errorf("a log that fits: %d bytes, cut %t, %v", len(got.Text), got.Cut, err)
	}

	for name, log := range map[string]string{"no log": `null`, "not written": `{"exists":false}`} {
		a := &api{t: t, answer: func(request) reply { return data(`{"stack":{"id":"s","run":{"id":"r","logs":%s}}}`, log) }}
		if got, err := newClient(t, a).RunLogs(t.Context(), testRun, in, 100); err != nil || got.Text != "" || !got.Complete {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	endless := &api{t: t}
	endless.answer = func(r request) reply {
		return data(`{"stack":{"id":"s","run":{"id":"r","logs":{"exists":true,"hasMore":true,"nextToken":"%d","messages":[{"message":"x"}]}}}}`, r.n)
	}
	if got, err := newClient(t, endless).RunLogs(t.Context(), testRun, in, 10); err != nil || got.Complete || len(endless.seen()) > 100 {
		t.Errorf("an endless log: complete %t after %d requests, %v", got.Complete, len(endless.seen()), err)
	}
}

// However many stacks there are, their labels are one call.
func TestLabelsOfManyStacksAreOneCall(t *testing.T) {
	const many = 2000
	sim := simulator.New(simulator.Options{Account: "acme"})
	t.Cleanup(sim.Close)
	for i := range many {
		if err := sim.AddStack(simulator.Stack{ID: spacelift.StackID(fmt.Sprintf("stack-%d", i)), Labels: []string{"gantry:managed"}}); err != nil {
			t.Fatal(err)
		}
	}
	key := sim.AddAPIKey(simulator.APIKey{})
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	calls := 0
	client := newClient(t, nil, func(c *spaceliftapi.Config) {
		c.Endpoint, c.HTTPClient, c.Credentials = server.URL, nil, spaceliftapi.APIKey{ID: key.ID, Secret: key.Secret}
		c.Observe = func(call spaceliftapi.Call) {
			if call.Operation != "APIKeyUser" {
				calls++
			}
		}
	})
	stacks, err := client.LabelsOfStacks(t.Context())
	if err != nil || len(stacks) != many || calls != 1 {
		t.Errorf("%d stacks in %d calls: %v", len(stacks), calls, err)
	}
}
