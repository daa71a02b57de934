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

// Notice is a message on its way to one channel.
type Notice struct {
	Channel string         `json:"channel"`
	Message notify.Message `json:"message"`
}

// MaxOutbox bounds the messages on their way. The oldest goes when there are
// more.
const MaxOutbox = 50

// enqueue puts a message on its way to channels. What identifies it, in
// about, makes its id: the same message is never sent twice, and a receiver
// recognizes one that is sent again.
func (r *Record) enqueue(s *Situation, at time.Time, channels []string, m notify.Message, about ...string) {
	shown := r.readFacts()
	m.At = at
	m.Account, m.Stack, m.StackName, m.Run = string(s.Run.Account), string(s.Run.Stack), shown.StackName, string(s.Run.Run)
	m.URL, m.State, m.Thread = shown.URL, string(shown.State), ManageRunID(s.Run)
	m.Facts = append(facts(shown), m.Facts...)
	for _, channel := range channels {
		m.ID = notify.MessageID(append([]string{ManageRunID(s.Run), m.Type, channel}, about...)...)
		if slices.ContainsFunc(r.Outbox, func(n Notice) bool { return n.Message.ID == m.ID }) {
			continue
		}
		r.Outbox = append(r.Outbox, Notice{Channel: channel, Message: m})
		if len(r.Outbox) > MaxOutbox {
			r.Note(at, KindNote, "more messages wait than Gantry keeps: one for the channel %s is dropped", r.Outbox[0].Channel)
			r.Outbox = slices.Delete(r.Outbox, 0, 1)
		}
	}
	r.Spoke = r.Spoke || len(channels) > 0
}

// Delivered takes a message off: it arrived, or sending it was given up.
func (r *Record) Delivered(id string) {
	r.Outbox = slices.DeleteFunc(r.Outbox, func(n Notice) bool { return n.Message.ID == id })
}

// Alarms reports whether alarms wait to be sent.
func (r *Record) Alarms() bool {
	return slices.ContainsFunc(r.Outbox, func(n Notice) bool { return n.Message.Urgency == notify.Alarm })
}

// facts returns the facts that every message about a run carries.
func facts(s *RunStatus) []notify.Fact {
	var list []notify.Fact
	add := func(name, value string) {
		if value != "" {
			list = append(list, notify.Fact{Name: name, Value: value})
		}
	}
	if s.Delta != nil {
		add("Plan", describePlan(s))
	}
	add("Deletes", s.Resources.deleted())
	add("Replaces", s.Resources.replaced())
	if c := s.Commit; c.Hash != "" {
		add("Commit", strings.TrimSpace(ShortHash(c.Hash)+" "+firstLine(c.Message)))
		add("Author", strings.TrimSpace(c.AuthorName+" "+parenthesized(c.AuthorLogin)))
	}
	add("Triggered by", s.TriggeredBy)
	add("Branch", s.Branch)
	return list
}

// ShortHash returns as much of a commit's hash as people compare.
func ShortHash(hash string) string {
	if hash == "" {
		return "unknown"
	}
	return hash[:min(len(hash), 10)]
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(line)
}

func parenthesized(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

// stack returns the name that people use for the run's stack.
func (s *Situation) stack() string {
	if s.StackName != "" {
		return s.StackName
	}
	return string(s.Run.Stack)
}

// what names the thing that waits: a plan, or a run.
func (k StateKey) what() string {
	if k.State == spacelift.RunStateUnconfirmed {
		return "plan"
	}
	return "run"
}

func (k StateKey) String() string { return fmt.Sprintf("%s (%d)", k.State, k.StateVersion) }

// Announce asks people for a decision.
func (r *Record) Announce(at time.Time, n Next) {
	s := r.Situation(at)
	ask := r.pending(s.Key())
	ask.markAsked()
	needs, who, urgency := approvalsOf(s.needed()), n.Who+" may decide", notify.Action
	if s.tooFewApprovers() != "" {
		needs, who, urgency = needs+" that too few people can give", n.Who+", can help", notify.Alarm
	}
	r.enqueue(s, at, s.Policy.Notify.Value, notify.Message{
		Type: notify.RunDecisionNeeded, Urgency: urgency,
		Title: fmt.Sprintf("%s: a %s waits for %s", s.stack(), ask.Key.what(), needs),
		Text:  decide.Sentence(n.Reason) + " " + decide.Sentence(who),
		Facts: due(s.schedule()),
	}, ask.Key.String(), strconv.Itoa(ask.Asked))
}

// due returns the time by which people must decide, if there is one.
func due(dues []policy.Deadline) []notify.Fact {
	for _, d := range dues {
		if d.Kind == policy.DeadlineDiscard || d.Kind == policy.DeadlineTimeout {
			return []notify.Fact{{Name: "Until", Value: d.At.UTC().Format("2006-01-02 15:04 MST")}}
		}
	}
	return nil
}

// notifyUndecided reminds people of a decision that is due, or escalates it.
func (r *Record) notifyUndecided(s *Situation, at time.Time, d policy.Deadline) {
	needs := approvalsOf(s.needed() - s.given())
	m := notify.Message{
		Type: notify.RunReminder, Urgency: notify.Action, Title: fmt.Sprintf("%s: a %s still waits for %s", s.stack(), s.Key().what(), needs),
		Text: decide.Sentence("nobody has decided for " + span(s.Ask.Since, d.At)), Facts: due(s.schedule()),
	}
	if d.Kind == policy.DeadlineEscalate {
		m.Type, m.Urgency = notify.RunEscalated, notify.Alarm
		m.Title = fmt.Sprintf("%s: a %s waits for %s and nobody decides", s.stack(), s.Key().what(), needs)
	}
	r.enqueue(s, at, channelsOf(s, d), m, s.Key().String(), d.At.UTC().Format(time.RFC3339))
}

func (r *Record) notifyKept(s *Situation, at time.Time, d policy.Deadline) {
	r.enqueue(s, at, channelsOf(s, d), notify.Message{
		Type: notify.RunEscalated, Urgency: notify.Alarm,
		Title: fmt.Sprintf("%s: the time for a %s is over", s.stack(), s.Key().what()),
		Text:  decide.Sentence(s.timeOver(d.Kind)) + " It is kept and still waits.",
	}, s.Key().String(), "kept")
}

// channelsOf are the channels of a due.
func channelsOf(s *Situation, d policy.Deadline) []string {
	if len(d.Notify) > 0 {
		return d.Notify
	}
	return s.Policy.Notify.Value
}

// notifyHeld says once for each state that labels, or refusals, keep it.
func (r *Record) notifyHeld(at time.Time, n Next) {
	s := r.Situation(at)
	if r.Entered.Held || n.What == WaitGate {
		return
	}
	r.Entered.Held = true
	r.enqueue(s, at, s.Policy.Notify.Value, notify.Message{
		Type: notify.RunHeld, Urgency: notify.Alarm,
		Title: fmt.Sprintf("%s: a %s is held", s.stack(), s.Key().what()),
		Text:  decide.Sentence(n.Reason) + " " + decide.Sentence(n.Who+" can fix that"),
	}, s.Key().String())
}

// notifyUnseen raises the alarm about a plan that was confirmed and that nobody had
// judged.
func (r *Record) notifyUnseen(at time.Time, plan int, why string) {
	s := r.Situation(at)
	r.enqueue(s, at, s.Policy.Notify.Value, notify.Message{
		Type: notify.RunConfirmedUnseen, Urgency: notify.Alarm,
		Title: s.stack() + ": a plan was confirmed that nobody had judged",
		Text:  decide.Sentence(why) + " Look at what it changes, and stop the run in Spacelift if need be.",
	}, strconv.Itoa(plan))
}

// notifyOverdue says once for each state that the run stays in it.
func (r *Record) notifyOverdue(s *Situation, at time.Time) {
	r.enqueue(s, at, s.Policy.Notify.Value, notify.Message{
		Type: notify.RunHeld, Urgency: notify.Alarm,
		Title: fmt.Sprintf("%s: a run stays in %s", s.stack(), s.State),
		Text:  decide.Sentence(fmt.Sprintf("it has been there for %s, longer than %s (%s)", span(s.Entered.At, at), policy.Duration(s.Deadline()), s.Policy.Deadlines.Origin)),
	}, s.Key().String(), "overdue")
}

// notifyResolved follows up where people were asked.
func (r *Record) notifyResolved(s *Situation, at time.Time, a pendingDecision) {
	if !a.Notified {
		return
	}
	text := decide.Sentence(a.Resolved)
	if a.Stage == stageExpired {
		text = decide.Sentence(a.Why) + " " + text
	}
	r.enqueue(s, at, s.Policy.Notify.Value, notify.Message{
		Type: notify.RunDecided, Title: fmt.Sprintf("%s: the %s is decided", s.stack(), a.Key.what()), Text: text,
	}, a.Key.String())
}

// notifyFailed reports the failure of a run that changes, or was about to change,
// resources. The failure of a preview or a module test is its author's, whom
// Spacelift and version control inform: it goes into no channel unless Gantry
// asked people about the run, and then as its end.
func (r *Record) notifyFailed(s *Situation, at time.Time) {
	if s.Type == spacelift.RunTypeProposed || s.Type == spacelift.RunTypeTesting {
		return
	}
	text := decide.Sentence(outcome(s.RunStatus))
	if s.Retry != nil && s.Retry.State == RetryPlanned {
		text += fmt.Sprintf(" It is tried again at %s, attempt %d of %d.", s.Retry.At.UTC().Format("15:04 MST"), s.Retry.Attempt, s.Retry.Of)
	}
	m := notify.Message{
		Type: notify.RunFailed, Urgency: notify.Alarm, Title: s.stack() + ": the run failed", Text: text,
		Facts: []notify.Fact{{Name: "Cause", Value: string(s.Failure.Cause)}},
	}
	r.enqueue(s, at, s.Policy.Notify.Value, m, s.Key().String())
	r.Farewell = true
}

// SendFarewell reports the end of the run, once: of every run that applied changes, and
// of every other that people have received messages about.
func (r *Record) SendFarewell(at time.Time) {
	s := r.Situation(at)
	if r.Farewell || r.Again != nil || !r.Spoke && !s.applied() {
		return
	}
	r.Farewell = true
	r.enqueue(s, at, s.Policy.Notify.Value, notify.Message{
		Type: notify.RunEnded, Title: fmt.Sprintf("%s: the run is %s", s.stack(), s.State), Text: decide.Sentence(s.Next().Reason),
	}, s.Key().String())
}

// applied reports whether the run changed resources, or may have.
func (s *Situation) applied() bool {
	if s.State != spacelift.RunStateFinished || !s.Managed {
		return false
	}
	switch s.Type {
	case spacelift.RunTypeTracked:
		return s.Delta == nil || s.Delta.Added+s.Delta.Changed+s.Delta.Deleted > 0
	case spacelift.RunTypeTask, spacelift.RunTypeDestroy:
		return true
	}
	return false
}
