package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/gen/api"
)

// A test message goes to the channel as gantry serve would send it.
func TestChannelsTest(t *testing.T) {
	newRig(t)
	var received []string
	status := http.StatusOK
	channel := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		received = append(received, r.Header.Get("Webhook-Signature")+" "+string(body))
		w.WriteHeader(status)
	}))
	defer channel.Close()
	file := filepath.Join(t.TempDir(), "gantry.yaml")
	config := "channels:\n  - {name: deploys, kind: webhook, url: " + channel.URL + ", secret: c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0, allowPrivate: true}\n" +
		"  - {name: broken, kind: webhook, url: " + strings.Replace(channel.URL, "http:", "https:", 1) + ", secret: c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0, allowPrivate: true}\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	test := func(name string) (string, string, int) {
		return runProgram(t, "channels", "test", name, "--config", file)
	}
	out, complaints, code := test("deploys")
	if code != 0 || out != "deploys accepted the message\n" || len(received) != 1 || !strings.HasPrefix(received[0], "v1,") || !strings.Contains(received[0], `"channel.test"`) || !strings.Contains(received[0], "nobody has to do anything") {
		t.Errorf("exit code %d: %s%s; received %v", code, out, complaints, received)
	}
	status = http.StatusForbidden
	for name, says := range map[string]string{"deploys": "403", "broken": "send to channel broken", "deplois": "did you mean deploys?", "other": "there are [deploys broken]"} {
		if _, complaints, code := test(name); code != 1 || !strings.Contains(complaints, says) {
			t.Errorf("%s: exit code %d: %s", name, code, complaints)
		}
	}
	if out, _, _ := runProgram(t, "__complete", "channels", "test", "--config", file, ""); !strings.Contains(out, "deploys\nbroken\n") {
		t.Errorf("completes %s", out)
	}
	if _, complaints, code := runProgram(t, "channels", "test", "deploys"); code != 1 || !strings.Contains(complaints, "has no channels; name the file") {
		t.Errorf("exit code %d: %s", code, complaints)
	}
}

func TestManualPages(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "man1")
	t.Setenv("SOURCE_DATE_EPOCH", "1767614400")
	if out, complaints, code := runProgram(t, "man", folder); code != 0 || !strings.Contains(out, "pages are in "+folder) {
		t.Fatalf("exit code %d: %s%s", code, out, complaints)
	}
	for page, says := range map[string]string{"gantry.1": "gantry-runs(1)", "gantry-runs-approve.1": `"Jan 2026"`, "gantry-waiting.1": "arrow keys"} {
		text, err := os.ReadFile(filepath.Join(folder, page))
		if err != nil || !strings.Contains(string(text), says) {
			t.Errorf("%s doesn't say %s: %v\n%.300s", page, says, err, text)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "today")
	if _, complaints, code := runProgram(t, "man", folder); code != 1 || !strings.Contains(complaints, "is not a number of seconds") {
		t.Errorf("exit code %d: %s", code, complaints)
	}
}

// The version of the program is printed even where no Gantry answers.
func TestVersions(t *testing.T) {
	newAPIRig(t)
	t.Setenv("GANTRY_URL", "http://127.0.0.1:1")
	for _, args := range [][]string{{"version"}, {"version", "--client"}, {"version", "--client", "--jq", ".client"}} {
		out, complaints, code := runProgram(t, args...)
		if !strings.Contains(out, version) || code == 0 != (len(args) > 1) || code == 1 && !strings.Contains(complaints, "call Gantry") {
			t.Errorf("%v: exit code %d: %s%s", args, code, out, complaints)
		}
	}
	os.Unsetenv("GANTRY_TOKEN")
	if out, complaints, code := runProgram(t, "version"); code != 1 || !strings.Contains(out, version) || !strings.Contains(complaints, "no token") {
		t.Errorf("exit code %d: %s%s", code, out, complaints)
	}
}

// A run is triggered once, however often Gantry is asked for its name.
func TestTrigger(t *testing.T) {
	newAPIRig(t)
	var asked []string
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/accounts/{a}/stacks/{s}/runs", func(w http.ResponseWriter, r *http.Request) {
		var body api.TriggerRequest
		_ = json.NewDecoder(r.Body).Decode(&body)
		asked = append(asked, fmt.Sprintf("%s/%s %s %s %s", r.PathValue("a"), r.PathValue("s"), deref(body.Type), deref(body.Commit), deref(body.Note)))
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"account":"acme","stack":"network","type":"TRACKED","run":"01A"}`)
	})
	mux.HandleFunc("GET /v1/accounts/{a}/stacks/{s}/runs/{r}/events", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "event: end\nid: 1\ndata: {\"account\":\"acme\",\"stack\":\"network\",\"run\":\"01A\",\"state\":\"FAILED\",\"outcome\":\"it failed\"}\n\n")
	})
	gantry := fakeGantry(t, mux)
	defer gantry.Close()
	t.Setenv("GANTRY_URL", gantry.URL)
	for _, tt := range []struct {
		args []string
		asks string
		out  string
		code int
	}{
		{[]string{"acme/network"}, "acme/network   ", "acme/network/01A is triggered\n", 0},
		{[]string{"network", "--account", "acme", "--preview", "--note", "a test", "-o", "name"}, "acme/network PROPOSED  a test", "acme/network/01A\n", 0},
		{[]string{"network", "--account", "acme", "--commit", "9f2c", "--wait"}, "acme/network  9f2c ", "acme/network/01A is triggered\n", 10},
	} {
		asked = nil
		out, complaints, code := runProgram(t, append([]string{"stacks", "trigger"}, tt.args...)...)
		if code != tt.code || !strings.HasPrefix(out, tt.out) || len(asked) != 1 || asked[0] != tt.asks {
			t.Errorf("%v: exit code %d: %s%s; asked %q", tt.args, code, out, complaints, asked)
		}
	}
}
