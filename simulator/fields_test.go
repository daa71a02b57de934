package simulator

import (
	"reflect"
	"slices"
	"testing"
)

// A new field of what an account is made of needs a decision here: a snapshot
// holds it (save.go and restore*.go), or it is derived.
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
				"opts", "clock", "log", "client", "handler", "ctx", "cancel", "senders", "transmit", "mu", "closed", "restoring", "random",
				"changed", "timerCount", "sending",
			},
		},
		{reflect.TypeFor[stack](), []string{"stackRecord", "settings", "blocker", "runs", "waiting", "webhooks"}, nil},
		{reflect.TypeFor[run](), []string{"runRecord", "upstream", "downstream"}, []string{"sim", "stack", "timer"}},
		{reflect.TypeFor[timer](), []string{"What", "At", "run", "Version", "By", "Note", "Lane"}, []string{"seq", "stop"}},
		{reflect.TypeFor[namedWebhook](), []string{"NamedWebhook", "health", "CreatedAt"}, nil},
		{reflect.TypeFor[stackWebhook](), []string{"StackWebhook", "health"}, nil},
		{reflect.TypeFor[health](), []string{"failures"}, []string{"key", "disabled"}},
		{reflect.TypeFor[policy](), []string{"Policy", "CreatedAt", "UpdatedAt", "Samples"}, []string{"query"}},
		{reflect.TypeFor[bundle](), []string{"Context", "Elements", "CreatedAt", "UpdatedAt"}, nil},
		{reflect.TypeFor[contextAttachment](), []string{"ID", "context", "Stack", "Priority"}, nil},
		{reflect.TypeFor[delivery](), []string{"Delivery", "id", "target", "notBefore"}, nil},
		// Of a target, what is used after the request is made up.
		{reflect.TypeFor[target](), []string{"health", "query", "retry"}, []string{"endpoint", "secret", "method", "headers"}},
		{reflect.TypeFor[lane](), []string{"queue", "held"}, []string{"busy", "timer"}},
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
		reflect.TypeFor[DriftDetection](), reflect.TypeFor[stackRecord](), reflect.TypeFor[runRecord](), reflect.TypeFor[dependency](),
		reflect.TypeFor[policySample](), reflect.TypeFor[attachment](), reflect.TypeFor[configElement](), reflect.TypeFor[laneKey](),
		reflect.TypeFor[armed[APIFault]](), reflect.TypeFor[shownSettings](), reflect.TypeFor[terragrunt](), reflect.TypeFor[tool](),
	} {
		for f := range of.Fields() {
			hidden := f.Tag.Get("json") == "-" || !f.IsExported() && !f.Anonymous // JSON sees the fields of what is embedded
			if hidden != slices.Contains(own[of], f.Name) {
				t.Errorf("%s.%s: in JSON %v, saved beside it %v", of, f.Name, !hidden, hidden)
			}
		}
	}
}
