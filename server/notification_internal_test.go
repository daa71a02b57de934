package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

// reference is a notification as encoding/json reads it.
type reference struct {
	Account      *string `json:"account"`
	State        *string `json:"state"`
	StateVersion *int64  `json:"stateVersion"`
	Action       *string `json:"action"`
	Run          *struct {
		ID   *string `json:"id"`
		Type *string `json:"type"`
	} `json:"run"`
	Stack *struct {
		ID     *string         `json:"id"`
		Labels json.RawMessage `json:"labels"`
	} `json:"stack"`
}

// read returns the same as readNotification, by encoding/json. It is not ok if a
// needed member has another type.
func (r reference) read(body []byte) (n notification, ok bool) {
	if json.Unmarshal(body, &r) != nil {
		return n, false
	}
	known := func(s *string) text { return text{deref(s), s != nil} }
	n.account, n.state, n.action = known(r.Account), known(r.State), known(r.Action)
	n.stateVersion, n.hasStateVersion = deref(r.StateVersion), r.StateVersion != nil
	if n.run = r.Run != nil; n.run {
		n.runID, n.runType = known(r.Run.ID), known(r.Run.Type)
	}
	if n.stack = r.Stack != nil; !n.stack {
		return n, true
	}
	n.stackID = known(r.Stack.ID)
	var labels []any
	if r.Stack.Labels != nil && json.Unmarshal(r.Stack.Labels, &labels) != nil {
		return n, false
	}
	for _, l := range labels {
		s, _ := l.(string)
		n.managed = n.managed || spacelift.Managed([]string{s})
	}
	return n, true
}

// agree compares readNotification with encoding/json.
func agree(t *testing.T, body []byte) {
	t.Helper()
	before := bytes.Clone(body)
	got, err := readNotification(body)
	if !bytes.Equal(before, body) {
		t.Fatal("the body was changed")
	}
	if valid := json.Valid(body); (err == nil) != valid {
		t.Fatalf("%.300q: encoding/json says valid %t, readNotification %v", body, valid, err)
	}
	if err != nil {
		if !errors.Is(err, errNotJSON) {
			t.Fatalf("the error is %v", err)
		}
		return
	}
	want, ok := reference{}.read(body)
	if ok != (got.mistyped == "") {
		// encoding/json also minds an action of another type; accepting doesn't.
		var action struct {
			Action json.RawMessage `json:"action"`
		}
		var s *string
		_ = json.Unmarshal(body, &action)
		if got.mistyped != "" || action.Action == nil || json.Unmarshal(action.Action, &s) == nil {
			t.Fatalf("%.300q: encoding/json reads every needed member: %t; readNotification says %q", body, ok, got.mistyped)
		}
		return
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(notification{}, text{})); ok && diff != "" {
		t.Fatalf("%.300q (-encoding/json +readNotification):\n%s", body, diff)
	}
}

var awkward = []string{
	``, ` `, `null`, `{}`, `[]`, `"acme"`, `7`, `{"account":"acme"`, `{"account":"acme"}}`, `{"account":"acme"} {}`, `{"account":"acme"}x`, "\ufeff{}", "{}\x00",
	`{"account":"acme","account":"globex"}`, `{"account":"acme","account":null}`, `{"account":null,"account":"acme"}`, `{"account":"acme","account":7}`, `{"account":7,"account":"acme"}`,
	`{"ACCOUNT":"acme"}`, `{"account":"a","Account":"b"}`, `{"\u0061ccount":"acme"}`, `{"ſtate":"A","ſtack":{"id":"x"}}`, "{\"stac\u212a\":{\"id\":\"x\"}}", "{\"acc\xffount\":\"a\"}",
	`{"run":{"id":"1"},"run":{"type":"T"}}`, `{"run":{"id":"1"},"run":null}`, `{"run":{"id":"1"},"run":null,"run":{"type":"T"}}`, `{"run":"1"}`, `{"run":[]}`, `{"run":{"id":{}}}`,
	`{"stack":{"labels":["gantry:managed"]}}`, `{"stack":{"labels":[" gantry:managed "]}}`, `{"stack":{"labels":["gantry\u003amanaged"]}}`, `{"stack":{"labels":"gantry:managed"}}`,
	`{"stack":{"labels":["gantry:managed"],"labels":[]}}`, `{"stack":{"labels":["gantry:managed"],"labels":null}}`, `{"stack":{"labels":[null,"gantry:managed"]}}`,
	`{"stack":{"id":"a","labels":["gantry:managed"]},"stack":null}`, `{"stack":null,"stack":{"labels":[["gantry:managed"]]}}`,
	`{"stateVersion":5}`, `{"stateVersion":-0}`, `{"stateVersion":5.0}`, `{"stateVersion":5e0}`, `{"stateVersion":9223372036854775807}`, `{"stateVersion":9223372036854775808}`, `{"stateVersion":1e999}`,
	`{"stateVersion":"5"}`, `{"stateVersion":05}`, `{"stateVersion":+5}`, `{"stateVersion":5,"stateVersion":null}`, `{"stateVersion":NaN}`,
	"{\"state\":\"A\xff\xfe\"}", `{"state":"\ud800"}`, `{"state":"\ud800\udc00"}`, `{"state":"\udc00\ud800"}`, `{"state":"\ud800\u0041"}`, "{\"state\":\"\x1f\"}", "{\"state\":\"\u2028\"}", `{"state":"\x"}`, `{"state":"\u12"}`,
	`{"action":7}`, `{"action":7,"state":"A"}`, `{"a":1e999,"b":-0.0,"c":[1,[2,{"d":null}]]}`, `{"a":1,}`, `[1,]`, `{"a":}`, `{a:1}`, `{'a':1}`, `{"a":tru}`, `{"a":true false}`, `/**/{}`, `{"a":01}`, `{"a":.5}`, `{"a":1.}`, `{"a":-}`,
	`{"account":"acme","x":` + strings.Repeat("[", 9_998) + strings.Repeat("]", 9_998) + `}`,
	`{"account":"acme","x":` + strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999) + `}`,
	`{"account":"acme","x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`,
	strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), strings.Repeat("[", 500_000), strings.Repeat(`{"a":`, 100_000),
	`{"note":"` + strings.Repeat(`\`, 9_999) + `"}`, `{"stateVersion":` + strings.Repeat("9", 100_000) + `}`,
}

func TestNotificationsAreReadLikeEncodingJSON(t *testing.T) {
	for _, body := range awkward {
		agree(t, []byte(body))
	}
	for _, body := range knownBodies(t) {
		agree(t, body)
		for i := range len(body) / 7 { // cut off anywhere
			agree(t, body[:i*7])
		}
	}
}

func FuzzReadNotification(f *testing.F) {
	for _, body := range awkward {
		if len(body) < 1000 {
			f.Add([]byte(body))
		}
	}
	for _, body := range knownBodies(f) {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { agree(t, body) })
}

// FuzzDecodeLikeEncodingJSON: a body that encoding/json decodes says the same here.
func FuzzDecodeLikeEncodingJSON(f *testing.F) {
	for _, body := range awkward {
		if len(body) < 1000 {
			f.Add([]byte(body))
		}
	}
	for _, body := range knownBodies(f) {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want api.Notification
		err := json.Unmarshal(body, &want)
		got, unread := decodeNotification(body)
		if err != nil {
			return // FuzzDecodeNotification
		}
		if diff := cmp.Diff(want, got); diff != "" || unread != nil {
			t.Fatalf("%.300q, unread %q (-encoding/json +decodeNotification):\n%s", body, unread, diff)
		}
	})
}

// knownBodies returns every body that Spacelift is known to send.
func knownBodies(t testing.TB) (bodies [][]byte) {
	t.Helper()
	files, err := filepath.Glob("../openapi/examples/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, body)
	}
	return bodies
}

func BenchmarkReadNotification(b *testing.B) {
	body, err := os.ReadFile("../openapi/examples/run_tracked_unconfirmed.json")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readNotification(body); err != nil {
			b.Fatal(err)
		}
	}
}
