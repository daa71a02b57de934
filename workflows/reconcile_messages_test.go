package workflows_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/simulator"
)

// people receive messages.
type people struct {
	mu      sync.Mutex
	fails   map[string]error // by channel
	arrived []string         // "channel: title"
	last    notify.Message
	ids     map[string]int
	tries   int
}

func (p *people) Send(_ context.Context, channel string, m notify.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tries++
	if err := p.fails[channel]; err != nil {
		return err
	}
	if p.ids == nil {
		p.ids = map[string]int{}
	}
	p.ids[m.ID]++
	p.arrived, p.last = append(p.arrived, channel+": "+m.Title), m
	return nil
}

func (p *people) receive(t *testing.T, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.arrived) // channels receive at the same time
	if diff := cmp.Diff(want, p.arrived); diff != "" {
		t.Errorf("people received (-want +got):\n%s", diff)
	}
	for id, n := range p.ids {
		if n > 1 {
			t.Errorf("message %s was sent %d times", id, n)
		}
	}
	p.arrived = nil
}

// guarded is an account whose webhook Gantry may not switch on, and people who
// are notified.
func guarded(t *testing.T, channels ...string) *accountRig {
	r := newAccountRig(t)
	r.in.Reenable, r.in.Notify = false, channels
	return r
}

func (r *accountRig) enable() {
	r.Helper()
	r.must(r.sim.EnableNamedWebhook("gantry"))
}

// People are notified of a finding once, and once that it is over.
func TestFindingsAreSent(t *testing.T) {
	r := guarded(t, "deploys", "oncall")
	r.tick()
	r.people.receive(t)
	r.switchOff()
	r.tick()
	r.people.receive(t, "deploys: Spacelift switched Gantry's webhook off", "oncall: Spacelift switched Gantry's webhook off")
	if m := r.people.last; m.Type != notify.AccountFinding || m.Urgency != notify.Alarm || m.Account != "acme" || !strings.Contains(m.Text, "enable it in Spacelift") {
		t.Errorf("people received %+v", m)
	}
	r.tick()
	r.tick()
	r.people.receive(t)
	r.enable()
	r.tick()
	r.people.receive(t, "deploys: Over: Spacelift switched Gantry's webhook off", "oncall: Over: Spacelift switched Gantry's webhook off")
	if m := r.people.last; m.Urgency != notify.Info {
		t.Errorf("people received %+v", m)
	}
	r.tick()
	r.people.receive(t)

	// The next time is another one.
	r.switchOff()
	r.tick()
	r.people.receive(t, "deploys: Spacelift switched Gantry's webhook off", "oncall: Spacelift switched Gantry's webhook off")
}

// A channel that is away is notified later; it keeps neither the others nor
// Reconcile.
func TestFindingsAreSentLater(t *testing.T) {
	r := guarded(t, "deploys", "oncall")
	r.people.fails = map[string]error{"deploys": &notify.UnavailableError{Channel: "deploys", Status: 503}}
	r.switchOff()
	for range 3 {
		if report := r.tick(); report.Outcome != done {
			t.Errorf("the tick ended %s: %s", report.Outcome, report.Reason)
		}
	}
	r.people.receive(t, "oncall: Spacelift switched Gantry's webhook off")
	r.people.fails = nil
	r.tick()
	r.people.receive(t, "deploys: Spacelift switched Gantry's webhook off")

	// A finding that is over before it could be sent needs no message.
	r.enable()
	r.tick()
	r.people.receive(t, "deploys: Over: Spacelift switched Gantry's webhook off", "oncall: Over: Spacelift switched Gantry's webhook off")
	r.people.fails = map[string]error{"deploys": errors.New("no route to host")}
	r.switchOff()
	r.tick()
	r.enable()
	r.tick()
	r.people.fails = nil
	r.tick()
	r.people.receive(t, "oncall: Over: Spacelift switched Gantry's webhook off", "oncall: Spacelift switched Gantry's webhook off")
}

// A finding that comes back before people knew that it was over has continued.
func TestFindingsThatComeBack(t *testing.T) {
	r := guarded(t, "deploys")
	r.switchOff()
	r.tick()
	r.people.receive(t, "deploys: Spacelift switched Gantry's webhook off")
	r.people.fails = map[string]error{"deploys": errors.New("no route to host")}
	r.enable()
	r.tick()
	r.switchOff()
	r.people.fails = nil
	r.tick()
	r.people.receive(t)
	r.enable()
	r.tick()
	r.people.receive(t, "deploys: Over: Spacelift switched Gantry's webhook off")
}

// A channel that will not take it is not asked again; one that is always away
// not for ever.
func TestFindingsAreGivenUp(t *testing.T) {
	for name, tc := range map[string]struct {
		err   error
		tries int
	}{
		"refused": {&notify.RefusedError{Channel: "deploys", Status: 404}, 1},
		"away":    {&notify.UnavailableError{Channel: "deploys", Status: 503}, 30},
	} {
		t.Run(name, func(t *testing.T) {
			r := guarded(t, "deploys")
			r.people.fails = map[string]error{"deploys": tc.err}
			r.switchOff()
			for range 33 {
				r.tick()
			}
			if r.people.tries != tc.tries {
				t.Errorf("it was tried %d times, want %d", r.people.tries, tc.tries)
			}
		})
	}
}

// While Gantry makes no calls to Spacelift, channels are notified all the same.
func TestFindingsAreSentWhileBackingOff(t *testing.T) {
	r := guarded(t, "deploys")
	r.people.fails = map[string]error{"deploys": errors.New("no route to host")}
	r.switchOff()
	r.tick()
	_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.RateLimited, RetryAfter: simulator.Duration(time.Hour)})
	r.must(err)
	r.tick()
	r.people.fails = nil
	r.tick()
	r.people.receive(t, "deploys: Spacelift switched Gantry's webhook off")
}

// A channel that is no longer configured receives no more of it.
func TestFindingsOfAChannelThatIsGone(t *testing.T) {
	r := guarded(t, "deploys", "oncall")
	r.switchOff()
	r.tick()
	r.people.receive(t, "deploys: Spacelift switched Gantry's webhook off", "oncall: Spacelift switched Gantry's webhook off")
	r.in.Notify = []string{"oncall"}
	r.enable()
	r.tick()
	r.people.receive(t, "oncall: Over: Spacelift switched Gantry's webhook off")
	r.in.Notify = nil
	r.switchOff()
	if report := r.tick(); len(report.Carried.Announcements) > 0 {
		t.Errorf("carried on: %+v", report.Carried.Announcements)
	}
	r.people.receive(t)
}
