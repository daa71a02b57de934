package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// notification returns a body such as Spacelift sends, for a stack that Gantry
// confirms.
func (w *world) notification(stack spacelift.StackID, run spacelift.RunID, state spacelift.RunState, version int) string {
	body, err := json.Marshal(map[string]any{
		"account": "acme", "state": state, "stateVersion": version,
		"timestamp": time.Now().Unix(), "timestamp_millis": time.Now().UnixMilli(),
		"run": map[string]any{
			"id": run, "type": "TRACKED", "branch": "main", "createdAt": time.Now().Unix(), "driftDetection": false,
			"commit": map[string]any{"hash": "9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12", "authorLogin": "jdoe", "authorName": "Jane Doe", "message": "Widen private subnets"},
			"delta":  map[string]any{"added": 1, "changed": 0, "deleted": 0, "resources": 1},
		},
		"stack": map[string]any{"id": stack, "name": stack, "labels": []string{"gantry:managed", "gantry:confirm=auto"}},
	})
	w.must(err)
	return string(body)
}

// signed returns the request that delivers a notification.
func (w *world) signed(ctx context.Context, body string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url()+"/webhook", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(spacelift.SignatureHeader, spacelift.Sign([]byte(secret), []byte(body)))
	return req, nil
}

// deliver sends a signed notification and returns the answer.
func (w *world) deliver(body string) (status int, answer string) {
	w.t.Helper()
	req, err := w.signed(w.t.Context(), body)
	w.must(err)
	res, err := http.DefaultClient.Do(req)
	w.must(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	w.must(err)
	return res.StatusCode, string(b)
}
