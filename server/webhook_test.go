package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// TestEveryKnownBodyIsAnsweredWith202 replays every body that Spacelift is
// known to send.
func TestEveryKnownBodyIsAnsweredWith202(t *testing.T) {
	files, err := filepath.Glob("../openapi/examples/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	ignored := map[string]string{
		"audit_trail_stack_create": "audit-event", "audit_trail_webhook_delete": "audit-event", "audit_trail_webhook_set": "audit-event",
		"internal_error": "internal-error", "run_testing_finished": "unmanaged-stack",
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			body := example(t, name)
			got := r.receipt(body)
			if want := ignored[name]; want != "" {
				if got.Outcome != api.OutcomeIgnored || *got.Reason != want {
					t.Fatalf("got %s, want ignored as %s", show(got), want)
				}
				return
			}
			if got.Outcome != api.OutcomeAccepted {
				t.Fatalf("got %s, want accepted", show(got))
			}
			again := r.receipt(body)
			want := api.Receipt{
				Delivery: again.Delivery, Outcome: api.OutcomeDuplicate, Reason: new("seen-before"),
				Detail: new("the same state of this run arrived as delivery " + got.Delivery),
			}
			if diff := cmp.Diff(want, again); diff != "" {
				t.Errorf("a repeat got (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnknownFieldsAreKept: what the contract does not list stays with the
// delivery, byte for byte.
func TestUnknownFieldsAreKept(t *testing.T) {
	r := newRig(t)
	body := edited(t, func(b map[string]any) {
		b["brandNew"] = map[string]any{"nanos": json.Number("1767261661417123456")}
		b["state"], b["run"].(map[string]any)["type"] = "TELEPORTING", "HOLIDAY"
	})
	got := r.receipt(body)
	if got.Outcome != api.OutcomeAccepted {
		t.Fatalf("unknown state and type: %s", show(got))
	}
	kept := decode[api.DeliveryDetail](t, r.get("/v1/deliveries/"+got.Delivery, viewerToken))
	if kept.Body == nil || *kept.Body != body {
		t.Errorf("the body was not kept as it came")
	}
	if *kept.Delivery.State != "TELEPORTING" || *kept.Delivery.Type != "HOLIDAY" {
		t.Errorf("state and type were not kept: %+v", kept.Delivery)
	}
}

func TestNotAuthenticIsRefused(t *testing.T) {
	body := example(t, "run_tracked_unconfirmed")
	good := spacelift.Sign([]byte(acmeSecret), []byte(body))
	const sha1Signature = "sha1=3f2a9c0d5b8e7f6a1c4d2e0b9a8f7c6d5e4b3a21" // as long as one
	for name, tt := range map[string]struct {
		headers []string
		kind    string
	}{
		"no signature":         {nil, "signature-missing"},
		"empty signature":      {[]string{"X-Signature-256", ""}, "signature-missing"},
		"SHA-1 only":           {[]string{"X-Signature", sha1Signature}, "sha1-only"},
		"wrong secret":         {[]string{"X-Signature-256", spacelift.Sign([]byte("guess"), []byte(body))}, "signature-mismatch"},
		"empty secret":         {[]string{"X-Signature-256", spacelift.Sign(nil, []byte(body))}, "signature-mismatch"},
		"of another body":      {[]string{"X-Signature-256", spacelift.Sign([]byte(acmeSecret), []byte(body+" "))}, "signature-mismatch"},
		"too short":            {[]string{"X-Signature-256", good[:len(good)-2]}, "signature-malformed"},
		"too long":             {[]string{"X-Signature-256", good + "00"}, "signature-malformed"},
		"not hex":              {[]string{"X-Signature-256", "sha256=" + strings.Repeat("g", 64)}, "signature-malformed"},
		"without prefix":       {[]string{"X-Signature-256", strings.TrimPrefix(good, "sha256=")}, "signature-malformed"},
		"the secret itself":    {[]string{"X-Signature-256", "secret:" + acmeSecret}, "signature-malformed"},
		"sent twice":           {[]string{"X-Signature-256", good, "X-Signature-256", good}, "signature-malformed"},
		"SHA-1 in its place":   {[]string{"X-Signature-256", sha1Signature}, "signature-malformed"},
		"of an account's peer": {[]string{"X-Signature-256", spacelift.Sign([]byte(globexSecret), []byte(body))}, "signature-of-other-account"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			p := wantProblem(t, r.send(http.MethodPost, "/webhook", body, tt.headers...), http.StatusUnauthorized, tt.kind)
			if accepted := r.deliveries("?outcome=accepted"); len(accepted) != 0 {
				t.Errorf("something was accepted: %+v", accepted)
			}
			logged := r.deliveries("?outcome=refused")
			if len(logged) != 1 || *logged[0].Reason != tt.kind || logged[0].HasBody {
				t.Fatalf("the log shows %+v", logged)
			}
			if want := "v1/deliveries/" + logged[0].ID; p.Instance == nil || *p.Instance != want {
				t.Errorf("the problem does not name its delivery %s", want)
			}
			if strings.Contains(r.log.buf.String(), acmeSecret) {
				t.Errorf("the log holds a secret")
			}
		})
	}
}

func TestAuthenticButUnusableIsIgnored(t *testing.T) {
	run := func(b map[string]any) map[string]any { return b["run"].(map[string]any) }
	stack := func(b map[string]any) map[string]any { return b["stack"].(map[string]any) }
	labels := make([]any, 10_000)
	for i := range labels {
		labels[i] = fmt.Sprintf("team:%d", i)
	}
	edit := func(f func(map[string]any)) string { return edited(t, f) }
	for name, tt := range map[string]struct{ body, reason string }{
		"nothing":                  {"", "body-empty"},
		"not JSON":                 {"stack is on fire", "not-json"},
		"cut off":                  {`{"account":"acme","run":{`, "not-json"},
		"a list":                   {`["acme"]`, "unreadable"},
		"a string":                 {`"acme"`, "unreadable"},
		"null":                     {`null`, "not-a-run-event"},
		"an empty object":          {`{}`, "not-a-run-event"},
		"another shape":            {`{"ref":"refs/heads/main","commits":[]}`, "not-a-run-event"},
		"a number for a state":     {edit(func(b map[string]any) { b["state"] = 7 }), "unreadable"},
		"a string for a run":       {edit(func(b map[string]any) { b["run"] = "01" }), "unreadable"},
		"run missing":              {edit(func(b map[string]any) { delete(b, "run") }), "run-missing"},
		"run null":                 {edit(func(b map[string]any) { b["run"] = nil }), "run-missing"},
		"stack missing":            {edit(func(b map[string]any) { delete(b, "stack") }), "stack-missing"},
		"run id missing":           {edit(func(b map[string]any) { delete(run(b), "id") }), "invalid-id"},
		"run id is a path":         {edit(func(b map[string]any) { run(b)["id"] = "../../etc/passwd" }), "invalid-id"},
		"stack id is a path":       {edit(func(b map[string]any) { stack(b)["id"] = "a/b" }), "invalid-id"},
		"stack id is dots":         {edit(func(b map[string]any) { stack(b)["id"] = ".." }), "invalid-id"},
		"control character in id":  {edit(func(b map[string]any) { stack(b)["id"] = "net\nwork" }), "invalid-id"},
		"a letter beyond ASCII":    {edit(func(b map[string]any) { stack(b)["id"] = "réseau" }), "invalid-id"},
		"an emoji in id":           {edit(func(b map[string]any) { run(b)["id"] = "01😀" }), "invalid-id"},
		"quote in id":              {edit(func(b map[string]any) { stack(b)["id"] = "net'work" }), "invalid-id"},
		"an endless id":            {edit(func(b map[string]any) { run(b)["id"] = strings.Repeat("0", 5000) }), "invalid-id"},
		"account missing":          {edit(func(b map[string]any) { delete(b, "account") }), "invalid-id"},
		"state is a sentence":      {edit(func(b map[string]any) { b["state"] = "on fire; DROP TABLE" }), "invalid-state"},
		"type missing":             {edit(func(b map[string]any) { delete(run(b), "type") }), "invalid-state"},
		"stateVersion missing":     {edit(func(b map[string]any) { delete(b, "stateVersion") }), "invalid-state-version"},
		"stateVersion negative":    {edit(func(b map[string]any) { b["stateVersion"] = -1 }), "invalid-state-version"},
		"stateVersion absurd":      {edit(func(b map[string]any) { b["stateVersion"] = int64(1) << 60 }), "invalid-state-version"},
		"stateVersion fractional":  {edit(func(b map[string]any) { b["stateVersion"] = 1.5 }), "unreadable"},
		"account not configured":   {edit(func(b map[string]any) { b["account"] = "initech" }), "unknown-account"},
		"unmanaged":                {edit(func(b map[string]any) { stack(b)["labels"] = []any{"env:prod"} }), "unmanaged-stack"},
		"10,000 labels, unmanaged": {edit(func(b map[string]any) { stack(b)["labels"] = labels }), "unmanaged-stack"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			got := r.receipt(tt.body)
			if got.Outcome != api.OutcomeIgnored || got.Reason == nil || *got.Reason != tt.reason || got.Detail == nil {
				t.Fatalf("got %s, want ignored as %s", show(got), tt.reason)
			}
			logged := r.deliveries("")
			if len(logged) != 1 || logged[0].ID != got.Delivery || *logged[0].Reason != tt.reason {
				t.Errorf("the log shows %+v", logged)
			}
			if strings.ContainsAny(*got.Detail, "\n\r") {
				t.Errorf("the detail spans lines: %q", *got.Detail)
			}
		})
	}
}

func TestLargeButHonestBodiesAreAccepted(t *testing.T) {
	r := newRig(t)
	got := r.receipt(edited(t, func(b map[string]any) {
		labels := []any{"gantry:managed"}
		for i := range 10_000 {
			labels = append(labels, fmt.Sprintf("team:%d", i))
		}
		b["stack"].(map[string]any)["labels"] = labels
		b["run"].(map[string]any)["commit"].(map[string]any)["message"] = strings.Repeat("é", 100_000)
	}))
	if got.Outcome != api.OutcomeAccepted {
		t.Fatalf("got %s", show(got))
	}
}

func TestBodiesOverAMegabyteAreRefused(t *testing.T) {
	r := newRig(t)
	body := `{"account":"acme","note":"` + strings.Repeat("x", 1<<20) + `"}`
	wantProblem(t, r.deliver(acmeSecret, body), http.StatusRequestEntityTooLarge, "body-too-large")

	// The same without an announced length.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/webhook", struct{ *strings.Reader }{strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = -1
	req.Header.Set(spacelift.SignatureHeader, spacelift.Sign([]byte(acmeSecret), []byte(body)))
	w := newRecorder()
	r.handler.ServeHTTP(w, req)
	wantProblem(t, w, http.StatusRequestEntityTooLarge, "body-too-large")
}

func TestSecretsRotateWithoutAGap(t *testing.T) {
	live := []string{"old"}
	r := newRig(t, func(c *server.Config) {
		c.Accounts = []server.Account{{Name: "acme", Secrets: func() []string { return live }}}
	})
	body := func(version int) string {
		return edited(t, func(b map[string]any) { b["stateVersion"] = version })
	}
	expect := func(secret string, version, status, index int) {
		t.Helper()
		w := r.deliver(secret, body(version))
		if w.Code != status {
			t.Fatalf("secret %s with live %v: %d %s", secret, live, w.Code, w.Body)
		}
		if status == http.StatusAccepted {
			d := decode[api.DeliveryDetail](t, r.get("/v1/deliveries/"+decode[api.Receipt](t, w).Delivery, viewerToken)).Delivery
			if d.Secret == nil || *d.Secret != index {
				t.Errorf("the log names secret %v, want %d", d.Secret, index)
			}
		}
	}
	expect("old", 1, http.StatusAccepted, 1)
	live = []string{"new", "old"}
	expect("old", 2, http.StatusAccepted, 2)
	expect("new", 3, http.StatusAccepted, 1)
	live = []string{"new"}
	expect("old", 4, http.StatusUnauthorized, 0)
	expect("new", 5, http.StatusAccepted, 1)

	counts := r.counter("gantry_webhook_secret_used_total")
	if diff := cmp.Diff(map[string]float64{"account=acme,secret=1": 3, "account=acme,secret=2": 1}, counts); diff != "" {
		t.Errorf("secrets used (-want +got):\n%s", diff)
	}
}

func TestSecretHeaderIsASecondFactor(t *testing.T) {
	r := newRig(t, func(c *server.Config) {
		c.Accounts[0].SecretHeader = "X-Gantry-Token"
		c.Accounts[0].SecretHeaderValue = func() string { return "second" }
	})
	body := example(t, "run_tracked_unconfirmed")
	signature := spacelift.Sign([]byte(acmeSecret), []byte(body))
	wantProblem(t, r.send(http.MethodPost, "/webhook", body, "X-Signature-256", signature), http.StatusUnauthorized, "secret-header-mismatch")
	wantProblem(t, r.send(http.MethodPost, "/webhook", body, "X-Signature-256", signature, "X-Gantry-Token", "first"), http.StatusUnauthorized, "secret-header-mismatch")
	if w := r.send(http.MethodPost, "/webhook", body, "X-Signature-256", signature, "X-Gantry-Token", "second"); w.Code != http.StatusAccepted {
		t.Fatalf("with both factors: %d %s", w.Code, w.Body)
	}
}

// TestFloodsAreBounded: a source that sends rubbish gets 429 and leaves no more traces, and its correctly signed events still come through.
func TestFloodsAreBounded(t *testing.T) {
	r := newRig(t, func(c *server.Config) { c.Refusals = server.RefusalLimit{PerSecond: 0.001, Burst: 3} })
	body := example(t, "run_tracked_unconfirmed")
	for range 3 {
		wantProblem(t, r.deliver("guess", body), http.StatusUnauthorized, "signature-mismatch")
	}
	for range 50 {
		w := r.deliver("guess", body)
		wantProblem(t, w, http.StatusTooManyRequests, "too-many-failures")
		if w.Header().Get("Retry-After") == "" {
			t.Fatal("a 429 without Retry-After")
		}
	}
	if got := r.receipt(body); got.Outcome != api.OutcomeAccepted {
		t.Errorf("a signed event from the same source got %s", show(got))
	}
	if logged := r.deliveries("?outcome=refused"); len(logged) != 3 {
		t.Errorf("the log shows %d refusals, want 3", len(logged))
	}
}

func TestEveryNotificationIsLoggedWithItsReason(t *testing.T) {
	r := newRig(t)
	r.receipt(example(t, "run_tracked_unconfirmed"))
	r.receipt(edited(t, func(b map[string]any) { b["stack"].(map[string]any)["labels"] = []any{} }))
	r.deliver("guess", "{}")

	lines := r.log.entries(t, "notification")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want 3", len(lines))
	}
	for key, want := range map[string]any{
		"account": "acme", "stack": "network-prod", "run": "01KDX3V4T8Q2M5N7P9R1S3T5V7", "type": "TRACKED",
		"state": "UNCONFIRMED", "stateVersion": 5.0, "outcome": "accepted", "secret": 1.0,
	} {
		if lines[0][key] != want {
			t.Errorf("%s is %v, want %v", key, lines[0][key], want)
		}
	}
	if lines[1]["outcome"] != "ignored" || lines[1]["reason"] != "unmanaged-stack" || lines[1]["detail"] == "" {
		t.Errorf("ignored: %v", lines[1])
	}
	if lines[2]["outcome"] != "refused" || lines[2]["reason"] != "signature-mismatch" {
		t.Errorf("refused: %v", lines[2])
	}
}

// A flood doesn't fill the log: it says how many deliveries it leaves out. What needs
// attention has lines nevertheless.
func TestAFloodDoesNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		body := example(t, "run_tracked_unconfirmed")
		for range 1010 {
			r.receipt(body)
		}
		r.deliver("guess", "{}")
		if lines := r.log.entries(t, "notification"); len(lines) != 1001 || lines[1000]["outcome"] != "refused" {
			t.Errorf("%d lines, the last %v", len(lines), lines[len(lines)-1])
		}
		<-time.After(time.Second + time.Millisecond)
		left := r.log.entries(t, "notifications without a line of their own")
		if len(left) != 1 || left[0]["count"] != 10.0 || left[0]["level"] != "INFO" {
			t.Errorf("left out: %v", left)
		}
		r.receipt(body)
		if lines := r.log.entries(t, "notification"); len(lines) != 1002 {
			t.Errorf("%d lines after the flood, want 1002", len(lines))
		}
	})
}

// TestAClosedInboxIsA503: what can't be stored is not acknowledged.
func TestAClosedInboxIsA503(t *testing.T) {
	r := newRig(t)
	if err := r.inbox.Close(); err != nil {
		t.Fatal(err)
	}
	w := r.deliver(acmeSecret, example(t, "run_tracked_unconfirmed"))
	wantProblem(t, w, http.StatusServiceUnavailable, "not-stored")
	if w.Header().Get("Retry-After") == "" {
		t.Error("a 503 without Retry-After")
	}
	ready := r.send(http.MethodGet, "/readyz", "")
	if ready.Code != http.StatusServiceUnavailable || decode[api.Readiness](t, ready).Status != api.ReadinessStatusUnavailable {
		t.Errorf("readyz: %d %s", ready.Code, ready.Body)
	}
}

func TestServerNeedsASecret(t *testing.T) {
	for name, accounts := range map[string][]server.Account{
		"no account":             nil,
		"no secret":              {{Name: "acme", Secrets: fixed()}},
		"an empty secret":        {{Name: "acme", Secrets: fixed("")}},
		"one of two without":     {{Name: "acme", Secrets: fixed("s")}, {Name: "globex", Secrets: fixed("")}},
		"an account twice":       {{Name: "acme", Secrets: fixed("s")}, {Name: "acme", Secrets: fixed("t")}},
		"an empty second factor": {{Name: "acme", Secrets: fixed("s"), SecretHeader: "X", SecretHeaderValue: func() string { return "" }}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := server.New(server.Config{Accounts: accounts}, nil, nil, newRegistry(), discard()); err == nil {
				t.Error("the server was made")
			}
		})
	}
}

// FuzzWebhook: whatever an authentic sender sends, the answer is a 202 that says
// what became of it, and nothing panics. Only what is too large is refused, and
// what another account would have to sign.
func FuzzWebhook(f *testing.F) {
	files, err := filepath.Glob("../openapi/examples/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
		f.Add(bytes.ReplaceAll(content, []byte(`"acme"`), []byte(`"globex"`)))
	}
	f.Add([]byte(`{"run":{},"stack":{},"state":"","stateVersion":-1}`))
	f.Add([]byte("\x00\xff{"))
	f.Add([]byte{})
	f.Add([]byte(strings.Repeat(" ", 1<<20)))
	f.Add([]byte(strings.Repeat(" ", 1<<20+1)))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := newRig(t)
		w := r.deliver(acmeSecret, string(body))
		switch {
		case len(body) > 1<<20:
			wantProblem(t, w, http.StatusRequestEntityTooLarge, "body-too-large")
		case w.Code == http.StatusUnauthorized:
			wantProblem(t, w, http.StatusUnauthorized, "signature-of-other-account")
		case w.Code != http.StatusAccepted:
			t.Errorf("%q got %d %s", body, w.Code, w.Body)
		default:
			if got := decode[api.Receipt](t, w); got.Delivery == "" || !got.Outcome.Valid() || (got.Outcome == api.OutcomeAccepted) == (got.Reason != nil) {
				t.Errorf("receipt %s", w.Body)
			}
		}
		if lines := r.log.entries(t, "request panicked"); len(lines) > 0 {
			t.Errorf("%q: %v", body, lines)
		}
	})
}

func show(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
