package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/gantryhq/gantry/spacelift"
)

// Assumptions about policySimulatev2, which is not documented:
//
//   - The shape of its answer. Every webhook rule has an endpoint_id, so every
//     object of the answer that has one counts as a rule.
//   - The engine it uses. The operation has no parameter for it. A body for the newer
//     engine is sent with imports by which the older engine reads it alike.
//     If the simulation can't compile a body, its effect is unknown.
//   - It changes nothing, and has no helper that the policy itself lacks.
//
// Rules that name one webhook in several ways are several deliveries, and each
// policy is evaluated separately.
// https://docs.spacelift.io/concepts/policy/notification-policy

// Simulator evaluates policies without deploying them; *spaceliftapi.Client is one.
type Simulator interface {
	Account() spacelift.Account
	SimulatePolicy(ctx context.Context, ofType, body, input string) (string, error)
}

// Effect is the set of messages that a notification policy sends for sampled
// events.
type Effect struct {
	Sends   []Sending
	Problem string // why Spacelift could not simulate it; empty if it did
}

// Sending is one delivery by a policy.
type Sending struct {
	Webhook string   // id
	Event   string   // the sampled event, for people
	Run     bool     // whether the event is a run of a managed stack
	Payload bool     // whether it replaces Spacelift's own notification
	Method  string   // POST unless the policy sets another
	Headers []string // names of added or replaced headers, sorted
}

// maxConcurrent limits concurrent simulations.
const maxConcurrent = 4

// effectOf simulates a policy on the samples.
func effectOf(ctx context.Context, api Simulator, p spacelift.Policy, samples []sample) Effect {
	body := forAnyEngine(p)
	sent := make([][]Sending, len(samples))
	run, ctx := errgroup.WithContext(ctx)
	run.SetLimit(maxConcurrent)
	for i, s := range samples {
		run.Go(func() error {
			var err error
			sent[i], err = simulate(ctx, api, body, s)
			return err
		})
	}
	if err := run.Wait(); err != nil {
		return Effect{Problem: err.Error()}
	}
	return Effect{Sends: slices.Concat(sent...)}
}

// Routes reports whether a notification policy with this body would route a run of
// a stack with these labels to the webhook, by Spacelift's simulation.
func Routes(ctx context.Context, api Simulator, body string, to spacelift.NamedWebhook, stackLabels ...string) (bool, error) {
	stack := spacelift.Stack{ID: "gantry-sample", Name: "gantry sample", Labels: stackLabels, Space: to.Space}
	sends, err := simulate(ctx, api, body, runSample(stack, spacelift.RunTypeTracked, spacelift.RunStateUnconfirmed, []spacelift.NamedWebhook{to}))
	return slices.ContainsFunc(sends, func(s Sending) bool { return s.Webhook == to.ID }), err
}

func simulate(ctx context.Context, api Simulator, body string, s sample) ([]Sending, error) {
	input, err := json.Marshal(s.input(api.Account()))
	if err != nil {
		return nil, fmt.Errorf("write policy input: %w", err)
	}
	said, err := api.SimulatePolicy(ctx, spacelift.PolicyTypeNotification, body, string(input))
	if err != nil {
		return nil, err
	}
	var document any
	if err := json.Unmarshal([]byte(said), &document); err != nil {
		return nil, fmt.Errorf("read the simulation's answer: %w", err)
	}
	rules := map[string]map[string]any{}
	collectRules(document, rules)
	var sends []Sending
	for _, same := range slices.Sorted(maps.Keys(rules)) {
		sends = append(sends, sendingOf(rules[same], s))
	}
	slices.SortStableFunc(sends, func(a, b Sending) int {
		return cmp.Or(strings.Compare(a.Webhook, b.Webhook), strings.Compare(a.Method, b.Method))
	})
	return sends, nil
}

// collectRules collects the webhook rules anywhere in an answer, each once.
func collectRules(v any, into map[string]map[string]any) {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["endpoint_id"].(string); ok {
			same, _ := json.Marshal(v) // keys are sorted; a decoded value can be encoded
			into[string(same)] = v
			return
		}
		for _, inner := range v {
			collectRules(inner, into)
		}
	case []any:
		for _, inner := range v {
			collectRules(inner, into)
		}
	case string: // a document within a document
		var inner any
		if len(v) > 0 && (v[0] == '{' || v[0] == '[') && json.Unmarshal([]byte(v), &inner) == nil {
			collectRules(inner, into)
		}
	}
}

func sendingOf(rule map[string]any, of sample) Sending {
	s := Sending{Event: of.event, Run: of.run, Method: "POST"}
	s.Webhook, _ = rule["endpoint_id"].(string)
	if payload, own := rule["payload"]; own && payload != nil {
		s.Payload = true
	}
	if method, _ := rule["method"].(string); method != "" {
		s.Method = cmp.Or(strings.ToUpper(strings.TrimSpace(method)), s.Method)
	}
	if headers, ok := rule["headers"].(map[string]any); ok {
		for name := range headers {
			s.Headers = append(s.Headers, name)
		}
		slices.Sort(s.Headers)
	}
	return s
}

var (
	packageLine = regexp.MustCompile(`(?m)^[ \t]*package[ \t]+[\w.]+`)
	importsV1   = regexp.MustCompile(`(?m)^[ \t]*import[ \t]+(rego\.v1|future\.keywords)\b`)
)

// forAnyEngine returns the policy's body in a form that both engines read alike.
func forAnyEngine(p spacelift.Policy) string {
	at := packageLine.FindStringIndex(p.Body)
	if p.Engine != spacelift.PolicyEngineRegoV1 || at == nil || importsV1.MatchString(p.Body) {
		return p.Body
	}
	return p.Body[:at[1]] + "\nimport future.keywords\n" + p.Body[at[1]:]
}
