package simulator

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/types"

	"github.com/gantryhq/gantry/spacelift"
)

// The engines a policy can be written for. Spacelift's default is the old one.
const (
	RegoV0 = "REGO_V0"
	RegoV1 = "REGO_V1"
)

// The types of policies that are evaluated here.
const (
	PolicyNotification = "NOTIFICATION"
	PolicyApproval     = "APPROVAL"
	PolicyPlan         = "PLAN"
)

// Policy is a policy of a space. Its body is Rego in package spacelift. Types
// other than the three above are compiled and kept, not evaluated. Plan and Stack
// script more decisions of plan and approval policies.
type Policy struct {
	ID          string   `json:"id"`    // a slug of Name when empty
	Name        string   `json:"name"`  // ID when empty
	Type        string   `json:"type"`  // NOTIFICATION when empty
	Space       string   `json:"space"` // "root" when empty
	Body        string   `json:"body"`
	Engine      string   `json:"engine"` // REGO_V0 when empty, as in Spacelift
	Labels      []string `json:"labels,omitempty"`
	Description string   `json:"description,omitempty"`
}

type policy struct {
	Policy

	CreatedAt time.Time      `json:"createdAt"`
	UpdatedAt time.Time      `json:"updatedAt"`
	Samples   []policySample `json:"samples,omitempty"` // newest last

	query rego.PreparedEvalQuery
}

type policySample struct {
	Key     string    `json:"key"`
	Outcome string    `json:"outcome"`
	Input   string    `json:"input"`
	Body    string    `json:"body"`
	At      time.Time `json:"at"`
}

const maxSamples = 100

// AddPolicy adds a policy; a body that does not compile is refused.
func (s *Simulator) AddPolicy(p Policy) error {
	return s.act(func() error { _, err := s.addPolicy(s.ctx, p); return err })
}

// LabelPolicy replaces the labels of a policy, by which it attaches itself to stacks.
func (s *Simulator) LabelPolicy(id string, labels ...string) error {
	return s.act(func() error {
		p, err := s.findPolicy(id)
		if err != nil {
			return err
		}
		p.Labels, p.UpdatedAt = slices.Clone(labels), s.clock.Now()
		return nil
	})
}

func (s *Simulator) addPolicy(ctx context.Context, p Policy) (*policy, error) {
	p.Name = cmp.Or(p.Name, p.ID)
	p.ID = cmp.Or(p.ID, slug(p.Name))
	p.Type = cmp.Or(p.Type, PolicyNotification)
	p.Space = cmp.Or(p.Space, rootSpace)
	p.Engine = cmp.Or(p.Engine, RegoV0)
	switch {
	case p.ID == "":
		return nil, refuse("a policy needs a name")
	case exists(s.findPolicy(p.ID)):
		return nil, refuse("policy %s exists", p.ID)
	}
	if _, err := s.findSpace(p.Space); err != nil {
		return nil, err
	}
	query, err := compile(ctx, p.Engine, p.Body)
	if err != nil {
		return nil, refuse("policy %s: %v", p.ID, err)
	}
	now := s.clock.Now()
	made := &policy{Policy: p, query: query, CreatedAt: now, UpdatedAt: now}
	s.policies = append(s.policies, made)
	s.touch()
	return made, nil
}

func (s *Simulator) findPolicy(id string) (*policy, error) {
	return find(s.policies, "policy", id, func(p *policy) string { return p.ID })
}

// forbidden are the functions that Spacelift denies to policies: they reach
// outside the input (https://docs.spacelift.io/concepts/policy).
var forbidden = []string{"http.send", "time.now_ns", "opa.runtime", "rego.parse_module", "trace"}

func compile(ctx context.Context, engine, body string) (rego.PreparedEvalQuery, error) {
	version := ast.RegoV0
	if engine == RegoV1 {
		version = ast.RegoV1
	}
	able := ast.CapabilitiesForThisVersion()
	able.Builtins = slices.DeleteFunc(slices.Clone(able.Builtins), func(b *ast.Builtin) bool {
		return slices.Contains(forbidden, b.Name)
	})
	if version == ast.RegoV0 {
		// Spacelift's documentation says that policies may not import rego.v1, and its
		// newer engine came later.
		able.Features = slices.DeleteFunc(slices.Clone(able.Features), func(f string) bool { return f == ast.FeatureRegoV1Import })
	}
	return rego.New(
		rego.Query("data.spacelift"),
		rego.Module("policy.rego", body),
		rego.SetRegoVersion(version),
		rego.Capabilities(able),
		rego.Function1(&rego.Function{Name: "sanitized", Decl: types.NewFunction(types.Args(types.S), types.S)}, sanitized),
	).PrepareForEval(ctx)
}

// sanitized hides a text as Spacelift hides secrets, behind the last 8 bytes of its SHA-256 hash
// (https://docs.spacelift.io/concepts/policy/terraform-plan-policy).
// Assumption: the bytes are written as lower-case hex.
func sanitized(_ rego.BuiltinContext, term *ast.Term) (*ast.Term, error) {
	text, ok := term.Value.(ast.String)
	if !ok {
		return nil, nil // undefined, as for every built-in of Rego
	}
	sum := sha256.Sum256([]byte(text))
	return ast.StringTerm(hex.EncodeToString(sum[len(sum)-8:])), nil
}

// evaluateRego evaluates a policy and returns the rules of package spacelift.
func evaluateRego(ctx context.Context, query rego.PreparedEvalQuery, input any) (object, error) {
	value, err := ast.InterfaceToValue(input)
	if err != nil {
		return nil, fmt.Errorf("read policy input: %w", err)
	}
	results, err := query.Eval(ctx, rego.EvalParsedInput(value))
	if err != nil {
		return nil, fmt.Errorf("evaluate policy: %w", err)
	}
	if len(results) == 0 || len(results[0].Expressions) == 0 {
		return object{}, nil
	}
	rules, ok := results[0].Expressions[0].Value.(object)
	if !ok {
		return object{}, nil
	}
	return rules, nil
}

// event is the subject of a notification.
type event struct {
	kind     string
	run      spacelift.RunRef
	state    spacelift.RunState
	version  int
	terminal bool
}

func eventOf(r *run) event {
	return event{kind: "run_updated", run: r.ref(), state: r.state(), version: len(r.History) - 1, terminal: r.terminal()}
}

// evaluate runs the notification policies that an event in this space reaches,
// one by one: two policies that name the same webhook send two deliveries.
// body is the default body; fill completes a policy's own.
func (s *Simulator) evaluate(ev event, space, kind string, describe func() any, body any, fill func(any) any) {
	reach := s.reach(space)
	var input object
	for _, p := range s.policies {
		if p.Type != PolicyNotification || !slices.Contains(reach, p.Space) {
			continue
		}
		if input == nil {
			input = s.policyInput(kind, describe(), s.endpoints(space))
		}
		rules, err := evaluateRego(s.ctx, p.query, input)
		if err != nil {
			s.log.Warn("notification policy failed", "policy", p.ID, "reason", err)
			s.notice("Notification policy failed", "policy "+p.ID+": "+err.Error(), "ERROR")
			continue
		}
		if sampled, _ := rules["sample"].(bool); sampled {
			p.sample(s.newID(), s.clock.Now(), input, rules)
		}
		for _, rule := range s.objects(p, rules, "webhook") {
			s.route(p, ev, space, rule, body, fill)
		}
		for _, rule := range s.objects(p, rules, "inbox") {
			s.notice(text(rule["title"]), text(rule["body"]), text(rule["severity"]))
		}
	}
}

// objects returns the members of a rule, which is a set of objects. Anything else
// is a mistake that would go unnoticed, so it gets a notice.
func (s *Simulator) objects(p *policy, rules object, name string) []object {
	value, defined := rules[name]
	if !defined {
		return nil
	}
	list, isSet := value.([]any)
	if !isSet {
		s.notice("Unusable rule", fmt.Sprintf("rule %s of policy %s is not a set of objects, so it is ignored: %s", name, p.ID, encode(value)), "ERROR")
		return nil
	}
	found := make([]object, 0, len(list))
	for _, member := range list {
		if o, ok := member.(object); ok {
			found = append(found, o)
			continue
		}
		s.notice("Unusable rule", fmt.Sprintf("rule %s of policy %s has a member that is not an object, so it is ignored: %s", name, p.ID, encode(member)), "ERROR")
	}
	return found
}

// webhookRule lists the fields of a webhook rule. All but query_params are those
// of https://docs.spacelift.io/concepts/policy/notification-policy.
// Assumption: query_params, which no source describes, are added to the query of
// the endpoint as headers are to its headers.
var webhookRule = []string{"endpoint_id", "headers", "method", "payload", "query_params"}

// route carries out one webhook rule.
func (s *Simulator) route(p *policy, ev event, space string, rule object, body any, fill func(any) any) {
	id := text(rule["endpoint_id"])
	w, err := s.findWebhook(id)
	wrong := func(format string, args ...any) {
		s.notice("Unusable rule", fmt.Sprintf("policy %s, webhook %q: %s", p.ID, id, fmt.Sprintf(format, args...)), "ERROR")
	}
	switch {
	case err != nil || !slices.Contains(s.reach(space), w.Space):
		s.notice("Unknown webhook", fmt.Sprintf("policy %s names webhook %q, which does not exist or is out of reach", p.ID, id), "ERROR")
		return
	case w.Disabled:
		return
	}
	for _, field := range sortedKeys(rule) {
		if !slices.Contains(webhookRule, field) {
			wrong("a webhook rule has no field %q; use %s", field, strings.Join(webhookRule, ", "))
		}
	}
	t := target{
		health: &w.health, endpoint: w.Endpoint, secret: w.Secret, method: text(rule["method"]),
		headers: maps.Clone(w.Headers), retry: w.RetryOnFailure,
	}
	if own := texts("headers", rule, wrong); len(own) > 0 {
		if t.headers == nil {
			t.headers = map[string]string{}
		}
		maps.Copy(t.headers, own)
	}
	query := url.Values{}
	for name, value := range texts("query_params", rule, wrong) {
		query.Set(name, value)
	}
	t.query = query.Encode()
	if payload, ok := rule["payload"]; ok {
		if fill != nil {
			payload = fill(payload)
		}
		s.send(ev, t, nil, encode(payload))
		return
	}
	switch b := body.(type) {
	case *runBody:
		s.send(ev, t, b, nil)
	case nil:
		wrong("Spacelift documents no default body of the event %s, so nothing is sent; give the rule a payload", ev.kind)
	default:
		s.send(ev, t, nil, encode(b))
	}
}

// texts returns a field of a rule that maps names to texts. Numbers and truth
// values become text; anything else is reported and left out.
func texts(field string, rule object, wrong func(format string, args ...any)) map[string]string {
	value, given := rule[field]
	if !given || value == nil {
		return nil
	}
	entries, ok := value.(object)
	if !ok {
		wrong("%s is not an object, so it is ignored: %s", field, encode(value))
		return nil
	}
	found := map[string]string{}
	for _, name := range sortedKeys(entries) {
		switch entries[name].(type) {
		case object, []any, nil:
			wrong("%s.%s is not a text, so it is left out: %s", field, name, encode(entries[name]))
		default:
			found[name] = text(entries[name])
		}
	}
	return found
}

func (p *policy) sample(key string, at time.Time, input, rules object) {
	matched := slices.Sorted(maps.Keys(rules))
	p.Samples = append(p.Samples, policySample{
		Key: key, At: at, Outcome: strings.Join(matched, ","), Input: string(encode(input)), Body: p.Body,
	})
	if len(p.Samples) > maxSamples {
		p.Samples = slices.Delete(p.Samples, 0, len(p.Samples)-maxSamples)
	}
}

// simulatePolicy evaluates a body that is not installed.
func simulatePolicy(ctx context.Context, engine, body, data string) (string, error) {
	query, err := compile(ctx, engine, body)
	if err != nil {
		return "", fmt.Errorf("compile policy: %w", err)
	}
	var input any
	decoder := json.NewDecoder(strings.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&input); err != nil {
		return "", fmt.Errorf("read policy input: %w", err)
	}
	rules, err := evaluateRego(ctx, query, input)
	if err != nil {
		return "", err
	}
	return string(encode(rules)), nil
}

// text returns a value of a rule as text: a text as it is, nothing as "", and
// anything else as JSON writes it.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return ""
	}
	return string(encode(v))
}
