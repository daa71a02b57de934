package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

func TestStacks(t *testing.T) {
	r := newAPIRig(t)
	r.wants([]string{"acme/network-prod", "manual", "open", "gantry:confirm=atuo"}, "stacks", "list")
	for _, args := range [][]string{{"network-prod"}, {"acme/network-prod"}, {"network-prod", "--account", "acme"}} {
		r.wants([]string{"network / prod", "gantry:confirm=atuo: ", "approvals", "gantry:approvals=2", "default"}, append([]string{"stacks", "policy"}, args...)...)
	}
	if stack := printed[api.Stack](t, r.wants(nil, "stacks", "policy", "network-prod", "-o", "json")); len(stack.Problems) != 1 {
		t.Errorf("problems %v", stack.Problems)
	}
	r.refused(exitRefused, []string{"Spacelift has no such stack"}, "stacks", "policy", "other")
	for _, args := range [][]string{{"stacks", "policy", "network-prdo"}, {"windows", "list", "--stack", "network-prdo"}, {"chains", "preview", "network-prdo"}} {
		r.refused(exitRefused, []string{"did you mean network-prod?"}, args...)
	}
	r.refused(1, []string{"network-prdo: no run of this stack waits for people; did you mean network-prod?"}, "approve", "network-prdo")
	r.refused(exitRefused, []string{"no account of this name"}, "stacks", "list", "--account", "initech")
}

func TestFreezes(t *testing.T) {
	r := newAPIRig(t)
	r.refused(exitRefused, []string{"needs operator"}, "freezes", "declare", "--reason", "x")
	r.as(ottoToken)
	before := time.Now()
	r.wants([]string{"an incident", "network-prod", "otto"}, "freezes", "declare", "--reason", "an incident", "--stack", "network-prod", "--until", "2h")
	// A stack that nobody manages is refused, unless it may come later.
	r.refused(exitRefused, []string{"acme has no managed stack network-prdo (meant network-prod?)"}, "freezes", "declare", "--reason", "a slip", "--stack", "network-prdo")
	r.wants([]string{"network-next"}, "freezes", "declare", "--reason", "not yet", "--stack", "network-next", "--allow-unmatched")
	r.executions.freezes = r.executions.freezes[:1]
	f := r.executions.freezes[0]
	if !f.From.IsZero() || f.Until.Before(before.Add(2*time.Hour)) || f.Until.After(time.Now().Add(2*time.Hour)) {
		t.Errorf("it holds from %s until %s", f.From, f.Until)
	}
	r.wants(nil, "freezes", "declare", "--reason", "audit", "--from", "2026-01-03T00:00:00Z", "-o", "json")
	r.wants([]string{f.ID, "an incident", "audit", "all"}, "freezes", "list")
	r.wants([]string{"is lifted (an incident)"}, "freezes", "lift", f.ID)
	if list := printed[api.FreezeList](t, r.wants(nil, "freezes", "list", "-o", "json")); len(list.Freezes) != 1 {
		t.Errorf("left %v", list.Freezes)
	}
	r.refused(exitRefused, []string{"Unknown freeze"}, "freezes", "lift", "x")
	r.refused(1, []string{"--until", "tomorrow"}, "freezes", "declare", "--reason", "x", "--until", "tomorrow")
	r.refused(1, []string{"reason"}, "freezes", "declare")
}

func TestChains(t *testing.T) {
	r := newAPIRig(t)
	root := spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01ROOT"}
	r.executions.chains = map[string]chain.Status{managed.ChainID(root): {
		Root: root, Phase: chain.PhaseHeld, Summary: "app-prod failed", StartedAt: began, HeldSince: began,
		Nodes: []chain.Node{
			{Stack: "network-prod", State: chain.NodeFinished, Reason: "it finished", Run: "01ROOT"},
			{Stack: "app-prod", After: []int{0}, State: chain.NodeFailed, Reason: "it FAILED", Run: "01APP"},
		},
		Timeline: []chain.Entry{{At: began, Kind: managed.KindAction, Summary: "Gantry triggered run 01APP"}},
	}}
	r.wants([]string{"01ROOT"}, "chains", "list", "--phase", "held")
	for _, name := range []string{"01ROOT", "acme/network-prod/01ROOT"} {
		r.wants([]string{"acme/network-prod/01ROOT", "held", "app-prod failed", "it FAILED", "Gantry triggered run 01APP"}, "chains", "show", name)
	}
	if c := printed[api.Chain](t, r.wants(nil, "chains", "show", "01ROOT", "-o", "json")); len(c.Nodes) != 2 {
		t.Errorf("chain %+v", c)
	}
	r.refused(exitRefused, []string{"no chain began with this run"}, "chains", "show", "01OTHER")
	r.refused(exitRefused, []string{"needs operator"}, "chains", "skip", "01ROOT", "app-prod")
	r.as(ottoToken)
	r.wants([]string{"app-prod failed"}, "chains", "skip", "01ROOT", "app-prod", "--note", "by hand")
	r.wants([]string{"app-prod failed"}, "chains", "stop", "01ROOT")
	wishes := r.executions.updates
	if wish := wishes[0].Args[0].(chain.Skip); wish.Stack != "app-prod" || wish.By != "otto" || wish.Note != "by hand" || wish.Key == "" {
		t.Errorf("skips %+v", wish)
	}
	if wish := wishes[len(wishes)-1].Args[0].(chain.Stop); wish.By != "otto" {
		t.Errorf("stops %+v", wish)
	}
	r.wants([]string{"01ROOT\tnetwork-prod held\n"}, "__complete", "chains", "show", "")
}

func TestDeliveries(t *testing.T) {
	r := newAPIRig(t)
	body, err := os.ReadFile("../../openapi/examples/run_tracked_unconfirmed.json")
	if err != nil {
		t.Fatal(err)
	}
	deliver := func(signature string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.server.URL+"/webhook", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(spacelift.SignatureHeader, signature)
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	deliver(spacelift.Sign([]byte(testSecret), body))
	deliver("sha256=nonsense")

	r.wants([]string{string(theRun.Run), "UNCONFIRMED", "accepted", "refused"}, "deliveries", "list")
	list := printed[api.DeliveryList](t, r.wants(nil, "deliveries", "list", "--outcome", "accepted", "--since", "1h", "-o", "json"))
	if len(list.Deliveries) != 1 {
		t.Fatalf("accepted: %+v", list.Deliveries)
	}
	if none := printed[api.DeliveryList](t, r.wants(nil, "deliveries", "list", "--until", "1h", "-o", "json")); len(none.Deliveries) != 0 {
		t.Errorf("before the first there is %+v", none.Deliveries)
	}
	id := list.Deliveries[0].ID
	r.wants([]string{id, theRunName, "pending"}, "deliveries", "show", id)
	if got := r.wants(nil, "deliveries", "show", id, "--body"); got != string(body) {
		t.Errorf("the body is printed as %q", got)
	}
	r.refused(exitRefused, []string{"needs operator"}, "deliveries", "redeliver", id)
	r.as(ottoToken)
	r.wants([]string{"will be forwarded again"}, "deliveries", "redeliver", id)
	r.wants([]string{"0 deliveries will be"}, "deliveries", "redeliver", "--dead")
	r.refused(1, []string{"--dead"}, "deliveries", "redeliver")
	r.refused(1, []string{"--dead"}, "deliveries", "redeliver", id, "--dead")
	r.refused(exitRefused, []string{"no such delivery"}, "deliveries", "show", "01KDX4A7B3C5D7E9F1G3H5J7K9")
}

// Shells complete what Gantry knows, and nothing where it does not answer.
func TestCompletion(t *testing.T) {
	r := newAPIRig(t)
	r.executions.set(asking())
	r.as(ottoToken)
	r.wants(nil, "freezes", "declare", "--reason", "audit")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"runs", "stop", ""}, theRunName + "\tUNCONFIRMED"},
		{[]string{"runs", "show", "01K"}, string(theRun.Run) + "\tUNCONFIRMED network-prod"},
		{[]string{"runs", "show", "net"}, "\nnetwork-prod"},
		{[]string{"runs", "list", "--stack", ""}, "network-prod"},
		{[]string{"stacks", "policy", ""}, "network-prod"},
		{[]string{"freezes", "lift", ""}, r.executions.freezes[0].ID + "\taudit"},
		{[]string{"stacks", "list", "--account", ""}, "acme"},
		{[]string{"runs", "list", "--phase", ""}, "waiting"},
		{[]string{"runs", "show", theRunName, "-o", ""}, "json"},
	} {
		r.wants([]string{tt.want + "\n"}, append([]string{"__complete"}, tt.args...)...)
	}
	os.Unsetenv("GANTRY_TOKEN")
	if out := r.wants(nil, "__complete", "runs", "show", ""); strings.Contains(out, "acme") || strings.Contains(out, "token") {
		t.Errorf("without a token it completes %q", out)
	}
}
