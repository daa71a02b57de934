package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// act runs a command of the lab and returns what it printed.
func act(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := newLabCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestPushAndLabel(t *testing.T) {
	sim := simulator.New(simulator.Options{Account: "acme", Seed: 1, Phases: simulator.Instant()})
	t.Cleanup(sim.Close)
	if err := sim.AddStack(simulator.Stack{ID: "network-prod", Plan: simulator.Plan{Delta: spacelift.Delta{Deleted: 7}}}); err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(sim)
	t.Cleanup(api.Close)
	t.Setenv(simulatorURLVariable, api.URL)

	for _, tc := range []struct {
		args  []string
		delta spacelift.Delta
	}{
		{[]string{"--add", "2", "--author", "alice", "--message", "Widen subnets"}, spacelift.Delta{Added: 2}},
		{nil, spacelift.Delta{Deleted: 7}},
		{[]string{"--delete", "0"}, spacelift.Delta{}},
		{[]string{"--resource", "replace=aws_db_instance.main", "--resource=delete=aws_vpc.old"}, spacelift.Delta{Added: 1, Deleted: 2}},
	} {
		out, err := act(t, append([]string{"push", "network-prod"}, tc.args...)...)
		m := regexp.MustCompile(`^acme/network-prod/(\S+)\n$`).FindStringSubmatch(out)
		if err != nil || m == nil {
			t.Fatalf("push %v printed %q, %v", tc.args, out, err)
		}
		run, err := sim.Run("network-prod", spacelift.RunID(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(tc.args, "--author") && (run.Commit.AuthorLogin != "alice" || run.Commit.Message != "Widen subnets") {
			t.Errorf("the commit is %+v", run.Commit)
		}
		if got := run.Plan.Counts(); got != tc.delta {
			t.Errorf("push %v plans %+v, want %+v", tc.args, got, tc.delta)
		}
	}

	if out, err := act(t, "label", "network-prod", "gantry:managed", "env:prod"); err != nil || out != "" {
		t.Errorf("label printed %q, %v", out, err)
	}
	if stack, _ := sim.Stack("network-prod"); !slices.Equal(stack.Labels, []string{"gantry:managed", "env:prod"}) {
		t.Errorf("the labels are %v", stack.Labels)
	}
}

// Mistakes name what to do.
func TestPushRefusals(t *testing.T) {
	sim := simulator.New(simulator.Options{Account: "acme", Seed: 1})
	t.Cleanup(sim.Close)
	api := httptest.NewServer(sim)
	t.Cleanup(api.Close)
	page := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(page.Close)
	for address, want := range map[string]string{
		api.URL:              "no-such-stack",
		page.URL:             "is not a simulated Spacelift; set SIMULATOR_URL",
		"http://127.0.0.1:1": "start the lab, and set SIMULATOR_URL to the address that it prints",
		"::":                 "--simulator",
	} {
		if _, err := act(t, "push", "no-such-stack", "--simulator", address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}

func TestPushRefusesResourcesThatItCantRead(t *testing.T) {
	for _, resource := range []string{"aws_vpc.main", "drop=aws_vpc.main", "delete="} {
		if _, err := act(t, "push", "network-prod", "--resource", resource); err == nil || !strings.Contains(err.Error(), "write add, change, delete") {
			t.Errorf("--resource %s: %v", resource, err)
		}
	}
}

func TestNumbersThatMeanNothing(t *testing.T) {
	for want, args := range map[string][]string{
		"--add, --change and --delete: write numbers of at least 0":            {"push", "network-prod", "--add", "-1"},
		"--port: 99999 is not within 0 and 65535; 0 is any free port":          {"--port", "99999"},
		"--temporal-ui-port: -1 is not within 0 and 65535; 0 is any free port": {"--temporal-ui-port", "-1"},
		"--pace: write a number of at least 0, such as 0.05":                   {"--pace", "NaN"},
	} {
		if _, err := act(t, args...); err == nil || err.Error() != want {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
}

func TestQuoted(t *testing.T) {
	for text, want := range map[string]string{
		"/opt/gantry-1.0/bin": "/opt/gantry-1.0/bin", "/home/jane doe/bin": "'/home/jane doe/bin'", "/it's": `'/it'\''s'`, "/$HOME": "'/$HOME'", "": "''",
	} {
		if got := quoted(text); got != want {
			t.Errorf("quoted(%q) is %s, want %s", text, got, want)
		}
	}
}
