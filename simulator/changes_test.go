package simulator_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/simulator"
)

// Changed signals every change of the account.
func TestChangesAreAnnounced(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net", WorkerPool: ""})
	r.stack(simulator.Stack{ID: "app"})
	r.stack(simulator.Stack{ID: "gone"})
	r.stack(simulator.Stack{ID: "mod", Module: true})
	r.routeAll()
	r.ok(r.AddContext(simulator.Context{ID: "shared"}))
	id := r.push("net", twoAdded)
	fault, err := r.InjectAPI(simulator.APIFault{Kind: simulator.Slow, Field: "stacks"})
	r.ok(err)
	ref := func(_ any, err error) error { return err }
	for name, change := range map[string]func() error{
		"AddSpace":        func() error { return r.AddSpace(simulator.Space{ID: "team"}) },
		"AddWorkerPool":   func() error { return r.AddWorkerPool(simulator.WorkerPool{ID: "pool"}) },
		"AddStack":        func() error { return r.AddStack(simulator.Stack{ID: "new"}) },
		"RemoveStack":     func() error { return ref(r.RemoveStack("jane", "gone", false)) },
		"SetLabels":       func() error { return r.SetLabels("net", "x") },
		"ChangePlan":      func() error { return r.ChangePlan("net", id, func(p *simulator.Plan) { p.IgnoreStop = true }) },
		"AddAPIKey":       func() error { r.AddAPIKey(simulator.APIKey{}); return nil },
		"RemoveAPIKey":    func() error { r.RemoveAPIKey("01KEY"); return nil },
		"RevokeTokens":    func() error { r.RevokeTokens(); return nil },
		"AddNamedWebhook": func() error { return r.AddNamedWebhook(simulator.NamedWebhook{ID: "two"}) },
		"EnableNamedWebhook": func() error {
			return r.EnableNamedWebhook("off")
		},
		"SetWebhookSecret":   func() error { return r.SetWebhookSecret("hook", "new") },
		"SetWebhookEndpoint": func() error { return r.SetWebhookEndpoint("hook", "http://elsewhere") },
		"AddStackWebhook":    func() error { return r.AddStackWebhook(simulator.StackWebhook{Stack: "net", Endpoint: "http://own"}) },
		"AddPolicy":          func() error { return r.AddPolicy(simulator.Policy{ID: "none", Body: "package spacelift"}) },
		"AddContext":         func() error { return r.AddContext(simulator.Context{ID: "new"}) },
		"SetDriftDetection": func() error {
			return r.SetDriftDetection("app", simulator.DriftDetection{Schedule: []string{"0 4 * * *"}})
		},
		"AttachContext":     func() error { return r.AttachContext("shared", "app", 1) },
		"AddDependency":     func() error { return r.AddDependency("app", "net") },
		"MarkExternal":      func() error { return r.MarkExternalDependency("ext", "FINISHED") },
		"InjectDelivery":    func() error { return ref(r.InjectDelivery(simulator.DeliveryFault{Kind: simulator.Drop, Stack: "x"})) },
		"InjectAPI":         func() error { return ref(r.InjectAPI(simulator.APIFault{Kind: simulator.Slow, Field: "x"})) },
		"ClearFaults":       func() error { r.ClearFaults(fault); return nil },
		"Push":              func() error { return ref(r.Push("app", simulator.Commit{}, twoAdded)) },
		"Comment":           func() error { return r.Comment("jane", "net", id, "hm") },
		"Review":            func() error { return r.Review("jane", "net", id, "APPROVE", "") },
		"Lock":              func() error { return r.Lock("jane", "app", "") },
		"Disable":           func() error { return r.Disable("mod") },
		"SendInternalError": func() error { return r.SendInternalError(simulator.InternalError{Title: "oh"}) },
		"PublishModuleVersion": func() error {
			return r.PublishModuleVersion(simulator.ModuleVersion{Module: "mod", Number: "1.0.0"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "EnableNamedWebhook" {
				r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "off", Disabled: true}))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r.ok(r.Flush(ctx))
			changed, before := r.Changed(), r.saved()
			if err := change(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-changed:
			case <-ctx.Done():
				t.Error("no change was signaled")
			}
			if string(before) == string(r.saved()) && name != "PublishModuleVersion" {
				t.Error("the snapshot shows nothing of it")
			}
		})
	}
}

// A plan changed while its run is under way is that run's alone.
func TestChangingAPlanLeavesTheStacksOwnAlone(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net", Plan: simulator.Plan{Delta: twoAdded.Delta, Outputs: map[string]string{"vpc": "old"}}})
	id, err := r.Trigger("jane", simulator.Trigger{Stack: "net"})
	r.ok(err)
	r.ok(r.ChangePlan("net", id, func(p *simulator.Plan) { p.Outputs["vpc"] = "new" }))
	st, err := r.Stack("net")
	r.ok(err)
	if got := r.get("net", id).Plan.Outputs["vpc"]; got != "new" || st.Plan.Outputs["vpc"] != "old" {
		t.Errorf("the run's plan says %s, the stack's %s", got, st.Plan.Outputs["vpc"])
	}
}

func TestLinksLeadToTheURLOfTheAccount(t *testing.T) {
	r := newRig(t, func(o *simulator.Options) { o.URL = "https://spacelift.example" })
	r.stack(simulator.Stack{ID: "net"})
	r.routeAll()
	r.push("net", twoAdded)
	if body := r.hook.all()[0].Body; !strings.Contains(body, `"url":"https://spacelift.example/stack/net"`) {
		t.Errorf("body %s", body)
	}
}
