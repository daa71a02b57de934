package checker

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// Rule is a promise and how a history breaks it.
type Rule struct {
	Name     string // stable
	Group    Group  // a column of the matrix
	Promises string // a sentence
	check    func(*index) []Violation
}

// Group is a kind of promise.
type Group string

// The groups of rules.
const (
	Acts    Group = "Acts"
	Policy  Group = "Policy"
	People  Group = "People"
	Chains  Group = "Chains"
	Events  Group = "Events"
	Answers Group = "Answers"
	Ends    Group = "Ends"
)

// Groups are the groups in the order of the matrix.
var Groups = []Group{Acts, Policy, People, Chains, Events, Answers, Ends}

// Violation is a broken promise, with the records that show it.
type Violation struct {
	Rule     string           `json:"rule"`
	Schedule int              `json:"schedule,omitempty"`
	Subject  string           `json:"subject"` // such as the run it concerns
	Says     string           `json:"says"`
	Evidence []history.Record `json:"evidence"`
}

func (v Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s", v.Rule, v.Subject, v.Says)
	for _, r := range v.Evidence {
		b.WriteString("\n    " + quote(r))
	}
	return b.String()
}

// Rules are all rules, in the order of the matrix.
var Rules = []Rule{
	{"fresh-check", Acts, "Gantry reads a run right before it acts on it, and sends nothing twice without a read that shows that nothing happened", freshCheck},
	{"one-confirmation", Acts, "a plan is confirmed at most once", oneConfirmation},
	{"policy", Policy, "nothing is confirmed that the labels leave to people, to Spacelift or to nobody", confirmsByPolicy},
	{"enforced", Policy, "with enforcement, no plan is confirmed or applied that Gantry hasn't reviewed", enforcedBinds},
	{"approvals", People, "approvals are bound to plan, person, group and authorship, and each person counts once", approvalsBind},
	{"objections", People, "a rejection or a stop that was answered binds until the run has ended", objectionsBind},
	{"freezes", Policy, "a freeze that was answered binds", freezesBind},
	{"windows", Policy, "nothing is confirmed while a window is closed", windowsBind},
	{"brakes", Policy, "nothing is confirmed, retried or triggered on a stack that somebody else locked, disabled or deletes", brakesBind},
	{"order", Chains, "a plan is confirmed after all that goes first on its commit, never below a failure", orderHolds},
	{"old-plans", Chains, "a plan from before a parent applied is never confirmed", oldPlans},
	{"once-per-commit", Chains, "each stack applies once per commit", oncePerCommit},
	{"triggers", Chains, "a stack is triggered once in a chain, after all that it follows", triggersFollow},
	{"previews", Chains, "a chain triggers nothing that the preview of followers left out, while nothing changes", previewsComeTrue},
	{"released", Chains, "what follows a run that finished runs too", followersRun},
	{"retries", Acts, "a run is retried once, by the policy or a person", retriesAllowed},
	{"asked-runs", Acts, "Gantry triggers one run for each request of a person, and names that one", runsAreMadeOnce},
	{"acts-have-causes", Acts, "every act of Gantry's has a cause: a decision, a time limit or an old plan", actsHaveCauses},
	{"recorded", People, "what was done is recorded, with whose decision", actsAreRecorded},
	{"audit", People, "every change that was answered is in its replica's audit log, as it was asked and answered, and the log is whole", auditIsComplete},
	{"bypasses", People, "a plan that was applied past people and Gantry is shown as a bypass, and no other", bypassesAreShown},
	{"alarms", People, "each bypass raises an alarm, is in the audit log, on the timeline and in the list of them, and no other run is", bypassesAlarm},
	{"worth", Answers, "no answer calls a stack enforced from which Gantry's policy was taken, once Gantry has read the run again", worthIsShown},
	{"scopes", People, "a request is taken where a role of the person holds for the stack, and refused elsewhere, and to strangers", scopesBind},
	{"sessions", People, "a session counts until it is signed out of or its token is revoked, on every replica, and not after", sessionsEnd},
	{"refusals", People, "a decision that was refused never counts", refusalsAreNone},
	{"read-your-writes", People, "an answer shows all decisions that were answered before it was asked", readYourWrites},
	{"linearizable", People, "the decisions about a plan have an order that explains every answer", linearizable},
	{"keys", People, "a request that is repeated under its key counts once, and another one under it is refused", keysCountOnce},
	{"accepted", Events, "an accepted notification is reflected in its run", acceptedIsReflected},
	{"streams", Answers, "a reader of the event stream, on any replica, receives the latest form of each run, none of them backwards, until the session ends", streamsAreWhole},
	{"truth", Answers, "no answer shows what never was, or an end that only a notification claims", answersAreTrue},
	{"current", Answers, "no answer is older than a tick once nothing goes wrong", answersAreCurrent},
	{"messages", Answers, "messages show people what Spacelift showed, once, and signed", messagesAreTrue},
	{"labels", Policy, "answers name exactly the labels that can't be followed", labelsAreExplained},
	{"front-door", Events, "an authentic notification is never refused, another one never accepted", frontDoor},
	{"settled", Ends, "nothing is stuck: every run that may continue has ended", nothingStuck},
	{"executions", Ends, "no execution is open whose run has ended, none is closed whose run continues, none has failed", executionsFit},
	{"contract", Answers, "every answer fits the contract", answersFitTheContract},
	{"budgets", Ends, "calls to Spacelift, histories and the memory of processes stay within their budgets", withinBudgets},
}

// Patient are the rules that need a batch in which everything has ended, or is stuck.
var Patient = []string{"settled", "accepted", "executions", "released", "current"}

// Check judges a history by all rules.
func Check(records []history.Record) []Violation {
	return Judge(records).Violations
}

// judge applies one rule.
func (x *index) judge(r Rule) []Violation {
	x.rule = r.Name
	found := r.check(x)
	if x.moving && slices.Contains(Patient, r.Name) {
		return nil
	}
	for i := range found {
		found[i].Rule = r.Name
		for _, e := range found[i].Evidence {
			found[i].Schedule = max(found[i].Schedule, e.Schedule)
		}
		x.tally(x.runs[found[i].Subject], found[i].span(), Count{Broken: 1})
	}
	return found
}

// span is the time of the evidence.
func (v Violation) span() span {
	if len(v.Evidence) == 0 {
		return span{}
	}
	last := v.Evidence[len(v.Evidence)-1]
	return span{v.Evidence[0].Began, last.Ended}
}

// violation builds one; evidence without a number is left out.
func violation(subject, says string, evidence ...history.Record) Violation {
	evidence = slices.DeleteFunc(slices.Clone(evidence), func(r history.Record) bool { return r.N == 0 })
	slices.SortFunc(evidence, func(a, b history.Record) int { return a.N - b.N })
	return Violation{Subject: subject, Says: says, Evidence: slices.CompactFunc(evidence, func(a, b history.Record) bool { return a.N == b.N })}
}
