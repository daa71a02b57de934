package simulator

import (
	"reflect"
	"slices"
	"testing"
)

// Whoever adds a field to what an account is made of decides here whether a
// snapshot holds it: save.go and restore*.go, or not at all.
func TestSnapshotsKnowEveryField(t *testing.T) {
	for _, c := range []struct {
		of      reflect.Type
		saved   []string
		derived []string // from the others when an account is restored
	}{
		{
			reflect.TypeFor[Simulator](),
			[]string{
				"source", "spaces", "pools", "stacks", "order", "runs", "dependencies", "external", "webhooks", "policies", "attachments",
				"contexts", "contextBonds",
				"inbox", "keys", "tokenKey", "timers", "lanes", "deliveries", "deliveryFaults", "apiFaults", "faultCount", "requests",
			},
			[]string{
				"opts", "clock", "log", "client", "handler", "ctx", "cancel", "senders", "transmit", "mu", "closed", "resting", "random",
				"changed", "timerCount", "sending",
			},
		},
		{
			reflect.TypeFor[stack](),
			[]string{
				"Stack", "settings", "createdAt", "state", "stateAt", "blocker", "runs", "waiting", "nextPlans", "outputs", "tracked",
				"trackedSetBy", "lockedBy", "lockedAt", "lockNote", "disabled", "deleting", "deleted", "webhooks", "config", "managesState",
			},
			nil,
		},
		{
			reflect.TypeFor[run](),
			[]string{
				"id", "kind", "plan", "commit", "command", "createdAt", "updatedAt", "history", "delta", "planned", "triggeredBy", "by", "session",
				"drift", "metadata", "reviews", "comments", "skipInit", "retried", "prioritized", "forceApply", "settled", "chain",
				"upstream", "downstream", "pushed", "released", "external", "applied", "changedBy",
			},
			[]string{"sim", "stack", "timer"},
		},
		{reflect.TypeFor[timer](), []string{"what", "at", "run", "version", "by", "note", "lane"}, []string{"seq", "stop"}},
		{reflect.TypeFor[dependency](), []string{"id", "stack", "on", "triggerAlways", "references"}, nil},
		{reflect.TypeFor[namedWebhook](), []string{"NamedWebhook", "health", "createdAt"}, nil},
		{reflect.TypeFor[stackWebhook](), []string{"StackWebhook", "health"}, nil},
		{reflect.TypeFor[health](), []string{"failures"}, []string{"key", "disabled"}},
		{reflect.TypeFor[policy](), []string{"Policy", "createdAt", "updatedAt", "samples"}, []string{"query"}},
		{reflect.TypeFor[policySample](), []string{"key", "outcome", "input", "body", "at"}, nil},
		{reflect.TypeFor[attachment](), []string{"id", "policy", "stack"}, nil},
		{reflect.TypeFor[bundle](), []string{"Context", "config", "createdAt", "updatedAt"}, nil},
		{reflect.TypeFor[contextAttachment](), []string{"id", "context", "stack", "priority"}, nil},
		{reflect.TypeFor[configElement](), []string{"id", "kind", "value", "description", "writeOnly", "createdAt"}, nil},
		{reflect.TypeFor[delivery](), []string{"Delivery", "id", "target", "notBefore"}, nil},
		// Of a target, what is used after the request is made up.
		{reflect.TypeFor[target](), []string{"health", "query", "retry"}, []string{"endpoint", "secret", "method", "headers"}},
		{reflect.TypeFor[lane](), []string{"queue", "held"}, []string{"busy", "timer"}},
		{reflect.TypeFor[armed[APIFault]](), []string{"id", "fault", "probability", "left"}, nil},
	} {
		for f := range c.of.Fields() {
			if !slices.Contains(c.saved, f.Name) && !slices.Contains(c.derived, f.Name) {
				t.Errorf("%s.%s is neither saved nor derived", c.of, f.Name)
			}
		}
		for _, name := range slices.Concat(c.saved, c.derived) {
			if _, ok := c.of.FieldByName(name); !ok {
				t.Errorf("%s has no field %s any more", c.of, name)
			}
		}
	}
}

// What snapshots take over whole has to survive JSON: a field that JSON leaves
// out needs a place of its own in the snapshot.
func TestWholesaleTypesSurviveJSON(t *testing.T) {
	own := map[reflect.Type][]string{ // saved beside the type
		reflect.TypeFor[APIKey]():       {"Secret"},
		reflect.TypeFor[NamedWebhook](): {"Secret", "Headers"},
		reflect.TypeFor[StackWebhook](): {"Secret"},
	}
	for _, of := range []reflect.Type{
		reflect.TypeFor[Space](), reflect.TypeFor[WorkerPool](), reflect.TypeFor[APIKey](), reflect.TypeFor[Stack](), reflect.TypeFor[Plan](),
		reflect.TypeFor[Commit](), reflect.TypeFor[Review](), reflect.TypeFor[Comment](), reflect.TypeFor[NamedWebhook](),
		reflect.TypeFor[StackWebhook](), reflect.TypeFor[Reference](), reflect.TypeFor[Policy](), reflect.TypeFor[Delivery](),
		reflect.TypeFor[Attempt](), reflect.TypeFor[Notice](), reflect.TypeFor[Request](), reflect.TypeFor[DeliveryFault](),
		reflect.TypeFor[APIFault](), reflect.TypeFor[stackSettings](), reflect.TypeFor[vendorInput](),
		reflect.TypeFor[session](), reflect.TypeFor[Context](), reflect.TypeFor[Hooks](), reflect.TypeFor[ConfigElement](),
		reflect.TypeFor[DriftDetection](),
	} {
		for f := range of.Fields() {
			hidden := f.Tag.Get("json") == "-" || !f.IsExported() && !f.Anonymous // JSON sees the fields of what is embedded
			if hidden != slices.Contains(own[of], f.Name) {
				t.Errorf("%s.%s: in JSON %v, saved beside it %v", of, f.Name, !hidden, hidden)
			}
		}
	}
}
