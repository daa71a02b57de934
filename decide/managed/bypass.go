package managed

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/spacelift"
)

// Bypass is a plan that was confirmed or applied against the policy in effect.
type Bypass struct {
	StateVersion int       `json:"stateVersion"` // of the state by which the run continued
	At           time.Time `json:"at"`           // by Spacelift's clock
	Actor        string    `json:"actor,omitempty"`
	Reason       string    `json:"reason"` // a sentence: what the policy demanded
}

// application is the moment at which a plan was confirmed, or applied without a
// confirmation.
type application struct {
	entry RunEvent  // the state by which the run continued
	plan  *StateKey // the plan that waited for it; nil if Spacelift asked nobody
}

// Unjudged returns the time of a confirmation or an apply that wasn't Gantry's and that
// is to be compared with the policy in effect then; zero if there is none. Only the
// API's word counts.
func (s *Situation) Unjudged() time.Time {
	if a := s.unjudged(); a != nil {
		return a.entry.At
	}
	return time.Time{}
}

func (s *Situation) unjudged() *application {
	if !s.Managed || s.Type != spacelift.RunTypeTracked {
		return nil
	}
	var found *application
	for i, e := range s.readEvents {
		if i == 0 || !e.State.Applies() {
			continue
		}
		switch before := s.readEvents[i-1]; before.State {
		case spacelift.RunStateUnconfirmed:
			found = &application{entry: e, plan: new(keyOfState(before))}
		case spacelift.RunStatePlanning:
			found = &application{entry: e}
		}
	}
	if found == nil || s.judged != nil && *s.judged == keyOfState(found.entry) || s.gantryApplied(*found) {
		return nil
	}
	return found
}

// gantryApplied reports whether the confirmation was Gantry's: by the record, or by
// the mark that the API shows. One of a person's isn't, even after the API had answered
// that Gantry's took effect.
func (s *Situation) gantryApplied(a application) bool {
	if a.plan == nil || a.entry.Actor != "" && !spacelift.IsAPIKey(a.entry.Actor) {
		return false
	}
	mark, ours := spacelift.MarkOf(spacelift.Transition{Note: a.entry.Note, Username: a.entry.Actor})
	return ours && mark.Verb == spacelift.VerbConfirm || slices.ContainsFunc(s.Plans, func(p Plan) bool {
		return p.StateVersion == a.plan.StateVersion && (p.Result == PlanConfirmed || p.Result == PlanUnseen)
	})
}

// appliesUnasked reports whether Spacelift applies a plan of a stack that promises
// people or times, as far as notifications say, and nobody was asked. The run is read
// then, because people should know before the apply ends.
func (s *Situation) appliesUnasked() bool {
	return s.Managed && s.rules != nil && s.Type == spacelift.RunTypeTracked && s.State.Applies() && !s.read &&
		len(s.Plans) == 0 && s.open == nil && s.judged == nil && len(s.Policy.Promises()) > 0
}

// judging reads the rules in effect, for what was confirmed or applied without Gantry.
func judging(s *Situation, n Next) Next {
	n.Reason = "the run continued without Gantry, which compares that with the policy in effect"
	return s.attempt(n.to(DoRules))
}

// judgeApplication compares a confirmation or an apply that wasn't Gantry's with the
// rules in effect, and the gate as it was then. It raises an alarm if they forbid it.
func (r *Record) judgeApplication(at time.Time, rules Rules) {
	s := r.Situation(at)
	a := s.unjudged()
	if a == nil {
		return
	}
	r.Judged = new(keyOfState(a.entry))
	reason := r.against(s, *a, rules)
	if reason == "" {
		return
	}
	r.Bypass = &Bypass{StateVersion: a.entry.StateVersion, At: a.entry.At, Actor: a.entry.Actor, Reason: decide.Fit(reason, decide.MaxText)}
	r.journal(at, KindBypass, a.entry.Actor, "%s against the policy in effect: %s", r.Bypass.what(a.plan != nil), r.Bypass.Reason)
	r.notifyBypassed(at, a.plan != nil)
}

// what says who went around Gantry, and how.
func (b Bypass) what(asked bool) string {
	who := b.Actor
	switch {
	case !asked:
		return "Spacelift applied the plan, without asking anyone,"
	case who == "":
		who = "somebody"
	}
	return who + " confirmed the plan in Spacelift"
}

// against returns why the policy in effect forbade an application; empty if it did not.
func (r *Record) against(s *Situation, a application, in Rules) string {
	facts, gate := s.plan(), in.Gate
	facts.Verdicts = in.Verdicts // of the plan that was applied
	alone, considered := s.Policy.AutoConfirms(facts)
	var asks []string
	for _, rule := range considered {
		if rule.Effect == policy.EffectAsks {
			asks = append(asks, fmt.Sprintf("%s (%s)", rule.Detail, rule.Origin))
		}
	}
	switch rejected := s.objection != nil && s.objection.Verdict == Reject; {
	case len(s.Policy.Problems) > 0:
		p := s.Policy.Problems[0]
		return fmt.Sprintf("%s can't be followed (%s), so Gantry held the plan", p.Label, p.Problem)
	case r.Stopping != nil:
		return r.Stopping.By + " wanted the run stopped"
	case rejected:
		return s.objection.By + " rejected it through Gantry" + decide.AfterColon(s.objection.Note)
	case !gate.At.IsZero() && !gate.Open:
		return gate.Reason
	case alone && s.objection == nil:
		return ""
	case a.plan == nil && len(s.Policy.Promises()) > 0:
		return "autodeploy is on, and the policy leaves the plan to people: " + strings.Join(asks, "; ")
	case a.plan == nil:
		return ""
	}
	demands := s.demandsOf(in.Verdicts, r.approvalsFor(*a.plan))
	if given, needed := sums(demands); given < needed {
		text := fmt.Sprintf("%d of %s", given, approvalsOf(needed))
		if len(asks) > 0 {
			text += ", and " + strings.Join(asks, "; ")
		}
		return text
	}
	return ""
}

// approvalsFor returns the approvals of a state that counted, one of each person.
func (r *Record) approvalsFor(key StateKey) (by []decision) {
	for _, d := range r.Decisions {
		known := slices.ContainsFunc(by, func(b decision) bool { return b.person().Is(d.person()) })
		if d.Discounted == "" && d.approves(key, d.person()) && !known {
			by = append(by, d)
		}
	}
	return by
}

// notifyBypassed raises the alarm in the stack's channels and in those of the guardian.
func (r *Record) notifyBypassed(at time.Time, asked bool) {
	s, b := r.Situation(at), *r.Bypass
	channels := Distinct(append(slices.Clone(s.Policy.Notify.Value), r.Rules.Alarms...))
	remedy := "Check what it changes."
	if s.Enforcement == nil || s.Enforcement.Level != policy.Enforced {
		remedy += " gantry setup --enforce makes Spacelift refuse this."
	}
	r.enqueue(s, at, channels, notify.Message{
		Type: notify.RunBypassed, Urgency: notify.Alarm,
		Title: s.stack() + ": a plan was applied against its policy",
		Text:  decide.Sentence(b.what(asked)+": "+b.Reason) + " " + remedy,
	}, strconv.Itoa(b.StateVersion))
}
