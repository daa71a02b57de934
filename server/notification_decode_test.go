package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/openapi"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// needed are the members that accepting reads.
var needed = []string{"account", "state", "stateVersion", "run", "run.id", "run.type", "stack", "stack.id", "stack.labels"}

// TestAnyMemberMayHaveAnyType walks the contract's schema of a notification and
// gives each member every type: an event is accepted whatever those have that
// accepting doesn't need, and decoded but for them.
func TestAnyMemberMayHaveAnyType(t *testing.T) {
	paths := notificationMembers(t)
	if len(paths) < 40 {
		t.Fatalf("the schema has only %d members: %v", len(paths), paths)
	}
	values := map[string]any{
		"string": "x", "number": 7, "fraction": 1.5, "huge": json.Number("1e400"), "boolean": true, "null": nil,
		"list": []any{1, "x", map[string]any{}}, "object": map[string]any{"id": []any{}, "a": "b"},
	}
	r := newRig(t)
	version := 100
	for _, path := range paths {
		for kind, value := range values {
			version++
			body := edited(t, func(b map[string]any) {
				b["stateVersion"] = version
				setMember(b, path, value)
			})
			got := r.receipt(body)
			if !slices.Contains(needed, path) {
				if got.Outcome != api.OutcomeAccepted {
					t.Errorf("%s as %s: %s", path, kind, show(got))
				}
				decodedBut(t, path, kind, body)
				continue
			}
			if got.Outcome == api.OutcomeIgnored && (got.Reason == nil || *got.Reason == "not-json") {
				t.Errorf("%s as %s: %s", path, kind, show(got))
			}
		}
	}
}

// decodedBut checks that the event lacks nothing but a member.
func decodedBut(t *testing.T, path, kind, body string) {
	t.Helper()
	d := archive.Delivery{Run: spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01"}, State: "UNCONFIRMED", StateVersion: 5, ReceivedAt: time.Now()}
	e := server.DecodeNotification(d, []byte(body))
	for _, unread := range e.Unread {
		if !strings.HasPrefix(unread, path) {
			t.Errorf("%s as %s: %s is said to be unreadable", path, kind, unread)
		}
	}
	if e.Run != d.Run || e.State != d.State || e.StateVersion != d.StateVersion || !slices.Contains(e.Labels, spacelift.LabelManaged) {
		t.Errorf("%s as %s: the event is %+v", path, kind, e)
	}
	for of, lost := range map[string]bool{
		"run.branch": e.Branch == "", "stack.name": e.StackName == "", "run.commit.hash": e.Commit.Hash == "", "run.delta": e.Delta == nil,
	} {
		if lost && !strings.HasPrefix(path, of) && !strings.HasPrefix(of, path) {
			t.Errorf("%s as %s: %s is lost", path, kind, of)
		}
	}
}

func TestEachMemberIsDecodedAlone(t *testing.T) {
	at := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	d := archive.Delivery{
		ID: "01KDX4A7B3C5D7E9F1G3H5J7K9", ReceivedAt: at, Run: spacelift.RunRef{Account: "acme", Stack: "network", Run: "01"},
		Type: "TRACKED", State: "UNCONFIRMED", StateVersion: 5,
	}
	base := managed.RunEvent{
		Run: d.Run, Type: d.Type, State: d.State, StateVersion: 5, At: at, Source: managed.SourceWebhook, Delivery: d.ID, ReceivedAt: at,
	}
	with := func(change func(*managed.RunEvent)) managed.RunEvent {
		e := base
		change(&e)
		return e
	}
	for name, tc := range map[string]struct {
		body string
		want managed.RunEvent
	}{
		"no body":     {``, with(func(e *managed.RunEvent) { e.Unread = []string{"the body"} })},
		"no object":   {`["acme"]`, with(func(e *managed.RunEvent) { e.Unread = []string{"the body"} })},
		"another run": {`{"run":{"id":"02"},"state":"FAILED","stateVersion":9}`, base},
		"a time":      {`{"timestamp":"2026-01-01","note":"hi"}`, with(func(e *managed.RunEvent) { e.Unread, e.Note = []string{"timestamp"}, "hi" })},
		"a commit":    {`{"run":{"branch":"main","commit":"9f2c"}}`, with(func(e *managed.RunEvent) { e.Unread, e.Branch = []string{"run.commit"}, "main" })},
		"part of one": {`{"run":{"commit":{"hash":"9f2c","message":["a"],"timestamp":"x"}}}`, with(func(e *managed.RunEvent) {
			e.Unread, e.Commit.Hash = []string{"run.commit.message", "run.commit.timestamp"}, "9f2c"
		})},
		"a label": {`{"stack":{"name":7,"labels":["gantry:managed",7,"gantry:retries=1"]}}`, with(func(e *managed.RunEvent) {
			e.Unread, e.Labels = []string{"stack.labels[1]", "stack.name"}, []string{"gantry:managed", "gantry:retries=1"}
		})},
		"a whole delta": {`{"run":{"delta":{"added":1,"deleted":0}}}`, with(func(e *managed.RunEvent) { e.Delta = &spacelift.Delta{Added: 1} })},
		// A plan that seems to delete nothing, because that can't be read, would mislead.
		"part of a delta": {`{"run":{"delta":{"added":1,"deleted":"3"}}}`, with(func(e *managed.RunEvent) { e.Unread = []string{"run.delta.deleted"} })},
		"another case":    {`{"NOTE":"hi","timestamp":{}}`, with(func(e *managed.RunEvent) { e.Unread, e.Note = []string{"timestamp"}, "hi" })},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, server.DecodeNotification(d, []byte(tc.body))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if e := server.DecodeNotification(d, []byte(`{"stack":{"labels":[`+strings.Repeat("1,", 5000)+`1]}}`)); len(e.Unread) != managed.MaxUnread {
		t.Errorf("%d unreadable members are listed", len(e.Unread))
	}
}

// FuzzDecodeNotification: whatever was accepted is decoded, and what can be read
// as a whole says the same as its parts.
func FuzzDecodeNotification(f *testing.F) {
	f.Add([]byte(`{"run":{"commit":{"hash":"9f2c","message":["a"]},"delta":{"added":1.5}},"stack":{"labels":["a",7]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := archive.Delivery{Run: spacelift.RunRef{Account: "acme", Stack: "s", Run: "1"}, State: "QUEUED", ReceivedAt: time.Unix(1767261661, 0)}
		e := server.DecodeNotification(d, body)
		if e.Run != d.Run || e.State != d.State || len(e.Unread) > managed.MaxUnread {
			t.Errorf("%q: %+v", body, e)
		}
		if json.Unmarshal(body, new(api.Notification)) == nil && e.Unread != nil {
			t.Errorf("%q: %v is unread", body, e.Unread)
		}
		if again := server.DecodeNotification(d, bytes.Clone(body)); !cmp.Equal(e, again) {
			t.Errorf("%q: decoded in two ways", body)
		}
	})
}

// notificationMembers returns the paths of all members of a notification.
func notificationMembers(t *testing.T) (paths []string) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openapi.Document)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(s *openapi3.Schema, prefix string)
	walk = func(s *openapi3.Schema, prefix string) {
		for name, member := range s.Properties {
			paths = append(paths, prefix+name)
			walk(member.Value, prefix+name+".")
		}
	}
	walk(doc.Components.Schemas["Notification"].Value, "")
	slices.Sort(paths)
	return paths
}

// setMember sets the member of a body at a path, making the objects on the way.
func setMember(body map[string]any, path string, value any) {
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		inner, ok := body[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			body[name] = inner
		}
		body = inner
	}
	body[names[len(names)-1]] = value
}

// TestUnreadableEventsAreReadAgain: their bodies are kept, they are a finding, and a
// Gantry that can read them accepts them.
func TestUnreadableEventsAreReadAgain(t *testing.T) {
	r := newRig(t)
	box := r.upgrade()
	good := example(t, "run_tracked_unconfirmed")
	bad := edited(t, func(b map[string]any) { b["stateVersion"] = "five" })
	got := r.receipt(bad)
	if got.Outcome != api.OutcomeIgnored || *got.Reason != "unreadable" || *got.Detail != "stateVersion is a string, not an integer" {
		t.Fatalf("got %s", show(got))
	}
	r.deliveries("") // brings the archive up to date
	found := r.accounts()[0].Findings
	if len(found) != 1 || found[0].Kind != "unreadable-events" || !strings.Contains(found[0].Summary, got.Delivery) {
		t.Errorf("the findings are %+v", found)
	}

	again := func() (int, string) {
		w := r.redeliver(got.Delivery)
		return w.Code, w.Body.String()
	}
	if code, text := again(); code != 409 || !strings.Contains(text, "still-unreadable") || !strings.Contains(text, "stateVersion is a string") {
		t.Errorf("redelivered: %d %s", code, text)
	}
	box.bodies[got.Delivery] = strings.ReplaceAll(good, `"acme"`, `"globex"`)
	if code, text := again(); code != 409 || !strings.Contains(text, "a secret of account acme signed") {
		t.Errorf("redelivered for another account: %d %s", code, text)
	}
	if found := r.accounts()[0].Findings; len(found) != 1 {
		t.Errorf("before it could be read, the findings are %+v", found)
	}
	box.bodies[got.Delivery] = good
	code, text := again()
	var d api.Delivery
	if err := json.Unmarshal([]byte(text), &d); err != nil || code != 202 || d.Outcome != api.OutcomeAccepted || *d.State != "UNCONFIRMED" || *d.Forwarding != api.ForwardingPending {
		t.Errorf("redelivered by a version that can read it: %d %s", code, text)
	}
	if found := r.accounts()[0].Findings; len(found) != 0 {
		t.Errorf("after it was read, the findings are %+v", found)
	}
}

// TestBodiesThatCannotBeReadAreKept: byte for byte; those of other ignored events
// are not.
func TestBodiesThatCannotBeReadAreKept(t *testing.T) {
	r := newRig(t)
	for name, body := range map[string]string{
		"another type": edited(t, func(b map[string]any) { b["stateVersion"] = "five" }),
		"not JSON":     `{"account":"acme","run":{`,
		"no run":       edited(t, func(b map[string]any) { delete(b, "run") }),
	} {
		d := decode[api.DeliveryDetail](t, r.get("/v1/deliveries/"+r.receipt(body).Delivery, viewerToken))
		if !d.Delivery.HasBody || d.Body == nil || *d.Body != body || d.Delivery.Outcome != api.OutcomeIgnored {
			t.Errorf("%s: the delivery shows %s", name, show(d))
		}
	}
	unmanaged := r.receipt(edited(t, func(b map[string]any) { b["stack"].(map[string]any)["labels"] = []any{} }))
	if d := decode[api.DeliveryDetail](t, r.get("/v1/deliveries/"+unmanaged.Delivery, viewerToken)); d.Delivery.HasBody || d.Body != nil {
		t.Errorf("unmanaged: the delivery shows %s", show(d))
	}
}

// TestNoOtherAccountSignsWhatCannotBeRead: an unreadable event of another account
// is refused as a readable one is, or it could be accepted later.
func TestNoOtherAccountSignsWhatCannotBeRead(t *testing.T) {
	r := newRig(t)
	body := edited(t, func(b map[string]any) { b["account"], b["stateVersion"] = "globex", "five" })
	wantProblem(t, r.deliver(acmeSecret, body), 401, "signature-of-other-account")
}

// newerInbox has other bodies in place of some, as if this version could read them.
type newerInbox struct {
	*inbox.Inbox
	bodies map[string]string
}

// upgrade gives the rig another server, over the same inbox, for a newerInbox.
func (r *rig) upgrade() *newerInbox {
	box := &newerInbox{r.inbox, map[string]string{}}
	r.handler = r.serve(box)
	return box
}

func (n *newerInbox) Get(ctx context.Context, id string) (archive.Delivery, []byte, error) {
	d, body, err := n.Inbox.Get(ctx, id)
	if other, ok := n.bodies[id]; ok && body != nil {
		body = []byte(other)
	}
	return d, body, err
}

// redeliver asks for an unreadable delivery to be read again.
func (r *rig) redeliver(id string) *httptest.ResponseRecorder {
	return r.send(http.MethodPost, "/v1/deliveries/"+id+"/redeliveries", "", "Authorization", "Bearer "+operatorToken)
}

// An event that is read again hours later answers nobody: it counts for no latency.
func TestReadingAgainIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		box := r.upgrade()
		id := r.receipt(edited(t, func(b map[string]any) { b["stateVersion"] = "five" })).Delivery
		<-time.After(5 * time.Hour)
		box.bodies[id] = example(t, "run_tracked_unconfirmed")
		d := decode[api.Delivery](t, r.redeliver(id))
		if d.Outcome != api.OutcomeAccepted || d.ID == id || d.LatencyMs > 1000 || time.Since(d.ReceivedAt) < 5*time.Hour {
			t.Errorf("read again as %s", show(d))
		}
		if listed := r.deliveries("?outcome=accepted"); len(listed) != 1 || listed[0].ID != d.ID || listed[0].LatencyMs > 1000 {
			t.Errorf("listed as %s", show(listed))
		}
		if text := r.metrics(); !strings.Contains(text, "gantry_webhook_ack_seconds_count 1\n") {
			t.Errorf("other answers than that to the notification are measured:\n%s", text)
		}
	})
}
