package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// hostile sets the title of a terminal, clears its screen, changes the colour in
// two ways and reverses the reading order.
const hostile = "a\x1b]0;title\x07b\x1b[2Jc\x1b[31md\u009b32me\u202ef\x7fg\rh"

// wantPrintable checks that a terminal only prints a text.
func wantPrintable(t *testing.T, args []string, out string) {
	t.Helper()
	for _, r := range out {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control)) {
			t.Errorf("%q prints %q:\n%q", args, r, out)
			return
		}
	}
}

// TestNothingControlsTheTerminal runs every command against a Gantry whose answers
// hold escape sequences wherever there is text.
func TestNothingControlsTheTerminal(t *testing.T) {
	commands := map[string][]string{
		"accounts list": nil, "findings list": nil, "windows list": nil, "channels test": {hostile}, "man": {filepath.Join(t.TempDir(), hostile)}, "version": nil, "stacks trigger": {"b"},
		"events": {"--timeout", "300ms"}, "chains preview": {"b"}, "waiting": nil, "approve": {"a/b/c"}, "reject": {"a/b/c"}, "runs open": {"a/b/c"}, "runs list": nil, "runs show": {"a/b/c", "--timeline"}, "runs watch": {"a/b/c"}, "runs explain": {"a/b/c"}, "runs resources": {"a/b/c"}, "runs approve": {"a/b/c", "--wait"},
		"runs reject": {"a/b/c"}, "runs revoke": {"a/b/c"}, "runs retry": {"a/b/c", "--wait"}, "runs stop": {"a/b/c"},
		"stacks list": nil, "stacks policy": {"b"},
		"freezes list": nil, "freezes declare": {"--reason", "x", "--stack", hostile}, "freezes lift": {"x"},
		"chains list": nil, "chains show": {"c"}, "chains skip": {"c", "b"}, "chains stop": {"c"},
		"deliveries list": nil, "deliveries show": {"x"}, "deliveries redeliver": {"x"},
		"lint": {"--labels", "gantry:managed,gantry:" + hostile}, "token create": {hostile}, "token list": nil, "token revoke": {hostile, "--config", hostile}, "context list": nil, "context use": {hostile}, "context add": {hostile, "--url", "http://127.0.0.1:1"}, "context remove": {hostile}, "whoami": nil, "login": nil, "logout": nil, "health": nil, "serve": {"--print-config"}, "schema": nil,
		"help": {hostile}, "audit list": nil, "audit export": nil, "audit verify": {hostile},
		"doctor": nil, "setup": {"--url", "http://127.0.0.1:1/" + hostile},
	}
	offline := []string{"help", "channels test", "man", "context list", "context use", "context add", "context remove", "audit verify", "lint", "token create", "token revoke", "logout", "health", "serve", "schema", "doctor", "setup"}
	r := newAPIRig(t)
	t.Setenv("GANTRY_ACCOUNT", hostile)
	t.Setenv("GANTRY_DATA", filepath.Join(t.TempDir(), hostile))
	for name, args := range commands {
		args = append(strings.Fields(name), args...)
		for _, args := range [][]string{args, append(slices.Clone(args), "-o", "json"), append(slices.Clone(args), "--"+hostile)} {
			t.Setenv("GANTRY_URL", hostileGantry(t, http.StatusOK))
			out, complaints, _ := r.run(args...)
			wantPrintable(t, args, out+complaints)
			if slices.Contains(offline, name) {
				continue
			}
			t.Setenv("GANTRY_URL", hostileGantry(t, http.StatusConflict))
			_, complaints, _ = r.run(args...)
			wantPrintable(t, args, complaints)
		}
		if !slices.Contains(offline, name) {
			t.Setenv("GANTRY_URL", hostileGantry(t, http.StatusOK))
			out, _, _ := r.run(append([]string{"__complete"}, append(strings.Fields(name), "")...)...)
			wantPrintable(t, args, out)
		}
	}
	var walk func(*cobra.Command)
	known := slices.Collect(maps.Keys(commands))
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if name := strings.TrimPrefix(c.CommandPath(), "gantry "); !c.HasSubCommands() && !slices.Contains(known, name) && c.Parent().Name() != "completion" {
			t.Errorf("add the command %q to this test", name)
		}
	}
	walk(newRootCommand())
}

// hostileGantry answers every request with hostile texts, in the type of its path.
func hostileGantry(t *testing.T, status int) string {
	t.Helper()
	answers := map[string]any{
		"GET /v1/accounts": &api.AccountList{}, "GET /v1/accounts/{a}/stacks/{s}/followers": &api.FollowersPreview{}, "GET /v1/findings": &api.FindingList{}, "GET /v1/version": &api.Version{}, "GET /v1/accounts/{a}/windows": &api.Calendar{},
		"POST /v1/accounts/{a}/stacks/{s}/runs": &api.Trigger{}, "GET /v1/runs": &api.RunList{}, "GET /v1/audit": &api.AuditList{}, "GET /v1/deliveries": &api.DeliveryList{},
		"GET /v1/deliveries/{id}": &api.DeliveryDetail{}, "POST /v1/deliveries/{id}/redeliveries": &api.Delivery{},
		"GET /v1/accounts/{a}/stacks/{s}/runs/{r}/explain": &api.Explanation{}, "POST /v1/accounts/{a}/stacks/{s}/runs/{r}/retry": &api.Retry{},
		"/v1/accounts/{a}/stacks/{s}/runs/{r}/{rest...}": &api.Run{}, "GET /v1/accounts/{a}/stacks": &api.StackList{},
		"GET /v1/accounts/{a}/stacks/{s}/policy": &api.Stack{}, "GET /v1/accounts/{a}/freezes": &api.FreezeList{},
		"POST /v1/accounts/{a}/freezes": &api.Freeze{}, "DELETE /v1/accounts/{a}/freezes/{f}": &api.Freeze{},
		"GET /v1/accounts/{a}/stacks/{s}/runs/{r}/resources": &api.ResourceList{},
		"GET /v1/accounts/{a}/chains":                        &api.ChainList{}, "/v1/accounts/{a}/chains/{r}/{rest...}": &api.Chain{},
	}
	mux := http.NewServeMux()
	answer := func(pattern string, body any) {
		fill(reflect.ValueOf(body).Elem(), 0)
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(body)
		})
	}
	if status == http.StatusOK {
		for pattern, body := range answers {
			answer(pattern, body)
		}
		run := api.Run{}
		fill(reflect.ValueOf(&run).Elem(), 0)
		mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, _ *http.Request) {
			for kind, v := range map[string]any{"run": &api.RunSummary{}, "chain": &api.ChainSummary{}, "account": &api.Account{}, hostile: &api.Account{}} {
				fill(reflect.ValueOf(v).Elem(), 0)
				body, _ := json.Marshal(v)
				fmt.Fprintf(w, "event: %s\nid: 1\ndata: %s\n\n", kind, body)
			}
		})
		mux.HandleFunc("GET /v1/accounts/{a}/stacks/{s}/runs/{r}/events", func(w http.ResponseWriter, _ *http.Request) {
			body, _ := json.Marshal(run)
			fmt.Fprintf(w, "event: end\ndata: %s\n\n", body)
		})
	} else {
		p := &api.Problem{}
		answer("/", p)
		p.Type, p.Status = "urn:gantry:problem:"+hostile, status
	}
	gantry := fakeGantry(t, mux)
	t.Cleanup(gantry.Close)
	return gantry.URL
}

// fill gives every text of a value hostile content, and every list one item.
func fill(v reflect.Value, depth int) {
	switch {
	case depth > 8 || v.Type() == reflect.TypeFor[time.Time]():
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "NextPageToken" {
				fill(v.Field(i), depth+1)
			}
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1)
	case v.Kind() == reflect.String:
		v.SetString(hostile)
	}
}

// Labels of stacks and names of policies, which others wrote, are printed by
// doctor and setup.
func TestSpaceliftDoesNotControlTheTerminal(t *testing.T) {
	r := newRig(t)
	newTemporal(t)
	r.setUp()
	r.ok(r.spacelift.AddStack(simulator.Stack{ID: "network", Labels: []string{"gantry:managed", "gantry:confirm=" + hostile}}))
	_, err := r.client().CreatePolicy(t.Context(), spacelift.PolicyInput{
		Name: hostile, Type: "NOTIFICATION", Space: "root",
		Body: "package spacelift\nwebhook[{\"endpoint_id\": \"gantry\"}] { true }\n",
	})
	r.ok(err)
	for args, says := range map[string]string{"doctor --url " + r.gantry.url: "gantry:confirm=a", "setup --url " + r.gantry.url: "note: policy", "setup --check -o json --url " + r.gantry.url: "policy"} {
		out, _ := r.run(strings.Fields(args)...)
		wantPrintable(t, strings.Fields(args), out)
		if !strings.Contains(out, says) {
			t.Errorf("%s does not print the hostile text:\n%s", args, out)
		}
	}
	t.Setenv("GANTRY_ACCOUNT", hostile)
	for _, args := range [][]string{{"doctor"}, {"setup", "--url", "https://gantry.example.com/webhook"}, {"health"}} {
		out, _ := r.run(args...)
		wantPrintable(t, args, out)
	}
}
