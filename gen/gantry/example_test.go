package gantry_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

// aGantry stands for a running Gantry: it answers each path with the texts given, one
// after the other.
func aGantry(answers map[string][]string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		left := answers[r.URL.Path]
		if r.Header.Get("Authorization") != "Bearer my-token" {
			left = []string{`401 {"type":"urn:gantry:problem:unauthenticated","title":"Missing or invalid token","status":401}`}
		}
		if len(left) == 0 {
			left = []string{`404 {"type":"urn:gantry:problem:not-found","title":"Not found","status":404,"detail":"Gantry knows no such run"}`}
		}
		if len(left) > 1 {
			answers[r.URL.Path] = left[1:]
		}
		var status int
		_, _ = fmt.Sscanf(left[0], "%d", &status)
		kind := "application/json"
		switch body := left[0][4:]; {
		case status >= http.StatusBadRequest:
			kind = "application/problem+json"
		case body[0] != '{':
			kind = "text/event-stream"
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, left[0][4:])
	}))
}

// Every operation of the API is a method, and Answer decodes what it returns.
func Example() {
	server := aGantry(map[string][]string{
		"/v1/accounts/acme/stacks/network-prod/runs/01KDX/decisions": {`200 {"account":"acme","stack":"network-prod","run":"01KDX","phase":"confirming"}`},
	})
	defer server.Close()

	c, err := gantry.New(server.URL, gantry.WithToken("my-token"))
	if err != nil {
		log.Fatal(err)
	}
	plan := 5
	run, err := gantry.Answer[api.Run](c.DecideRun(context.Background(), "acme", "network-prod", "01KDX", nil,
		api.DecisionRequest{Verdict: api.VerdictApprove, StateVersion: &plan}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(run.Phase)
	// Output: confirming
}

// Refusals are errors, and say what to do.
func ExampleProblem() {
	server := aGantry(nil)
	defer server.Close()
	c, err := gantry.New(server.URL, gantry.WithToken("my-token"))
	if err != nil {
		log.Fatal(err)
	}
	_, err = gantry.Answer[api.Run](c.GetRun(context.Background(), "acme", "network-prod", "01KDX"))
	fmt.Println(err)
	if gantry.IsProblem(err, "not-found") {
		fmt.Println("it never was, or Temporal's retention has passed")
	}

	stranger, err := gantry.New(server.URL, gantry.WithToken("a wrong token"))
	if err != nil {
		log.Fatal(err)
	}
	_, err = gantry.Answer[api.Caller](stranger.GetCaller(context.Background()))
	if p, ok := errors.AsType[*gantry.Problem](err); ok {
		fmt.Println(p.Status, p.Kind())
	}
	// Output:
	// Not found: Gantry knows no such run
	// it never was, or Temporal's retention has passed
	// 401 unauthenticated
}

// A command that a person waits for doesn't wait for a Gantry that isn't there.
func ExampleWithoutRedial() {
	c, err := gantry.New("http://127.0.0.1:1", gantry.WithToken("my-token"), gantry.WithoutRedial())
	if err != nil {
		log.Fatal(err)
	}
	_, err = gantry.Answer[api.Caller](c.GetCaller(context.Background()))
	if errors.Is(err, gantry.ErrUnreached) {
		fmt.Println("check the address, and that Gantry runs")
	}
	// Output: check the address, and that Gantry runs
}

// Lists are iterators over all pages.
func ExampleClient_Runs() {
	server := aGantry(map[string][]string{"/v1/runs": {
		`200 {"runs":[{"stack":"network-prod","run":"01B"},{"stack":"app-prod","run":"01A"}],"nextPageToken":"more"}`,
		`200 {"runs":[{"stack":"dns-prod","run":"019"}]}`,
	}})
	defer server.Close()
	c, err := gantry.New(server.URL, gantry.WithToken("my-token"))
	if err != nil {
		log.Fatal(err)
	}
	waiting := api.PhaseWaiting
	for run, err := range c.Runs(context.Background(), &api.ListRunsParams{Phase: &waiting}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(run.Stack, run.Run)
	}
	// Output:
	// network-prod 01B
	// app-prod 01A
	// dns-prod 019
}

// A program triggers a run and waits for its end, whatever happens to the connection.
func ExampleClient_WaitForRun() {
	server := aGantry(map[string][]string{
		"/v1/accounts/acme/stacks/network-prod/runs": {`201 {"account":"acme","stack":"network-prod","type":"TRACKED","run":"01KDX"}`},
		"/v1/accounts/acme/stacks/network-prod/runs/01KDX/events": {
			"200 retry: 1\n\nevent: run\nid: a\ndata: {\"state\":\"PLANNING\"}\n\n", // and the connection is lost
			"200 event: end\nid: b\ndata: {\"state\":\"FINISHED\",\"outcome\":\"it finished\"}\n\n",
		},
	})
	defer server.Close()
	c, err := gantry.New(server.URL, gantry.WithToken("my-token"))
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	made, err := gantry.Answer[api.Trigger](c.TriggerRun(ctx, "acme", "network-prod", nil, api.TriggerRequest{}))
	if err != nil {
		log.Fatal(err)
	}
	if made.Run == nil {
		log.Fatal("Spacelift has not answered yet")
	}
	run, err := c.WaitForRun(ctx, "acme", "network-prod", *made.Run)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(run.State)
	// Output: FINISHED
}
