package deploy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

// Item is the subject of a change. Scripts that read plans and the checks of gantry
// doctor rely on the names.
type Item string

// The items of a plan.
const (
	ItemWebhook         Item = "webhook" // it is missing
	ItemWebhookEndpoint Item = "webhook.endpoint"
	ItemWebhookEnabled  Item = "webhook.enabled"
	ItemWebhookRetry    Item = "webhook.retryOnFailure"
	ItemWebhookLabels   Item = "webhook.labels"
	ItemWebhookSpace    Item = "webhook.space"
	ItemWebhookSecret   Item = "webhook.secret"
	ItemWebhookHeader   Item = "webhook.secretHeader"
	ItemPolicy          Item = "policy" // it is missing
	ItemPolicyBody      Item = "policy.body"
	ItemPolicyEngine    Item = "policy.engine"
	ItemPolicySpace     Item = "policy.space"
	ItemPolicyLabels    Item = "policy.labels"
	ItemPolicyGone      Item = "policy.gone" // it is there, and unwanted
)

// Change is one difference between the present and the desired setup. It holds no
// secrets.
type Change struct {
	Item   Item   `json:"item"`
	Name   string `json:"name"`             // of the webhook or policy
	Now    string `json:"now,omitempty"`    // empty if it is missing
	Wanted string `json:"wanted,omitempty"` // in a form for people
	Why    string `json:"why"`

	// Diff shows what changes in a policy's body: lines that go begin with -, new ones
	// with +.
	Diff string `json:"diff,omitempty"`

	// Old is the text that is lost: a policy's body, a webhook's settings.
	Old string `json:"-"`

	// Foreign says that the webhook or policy isn't Gantry's: Apply needs
	// Wanted.Replace.
	Foreign bool `json:"foreign,omitempty"`
}

// Note is a warning that no change fixes.
type Note struct {
	Kind NoteKind `json:"kind"`
	Text string   `json:"text"`
}

// NoteKind is the kind of a note.
type NoteKind string

// The kinds of notes.
const (
	NoteNotCompared NoteKind = "not-compared" // Spacelift doesn't show the present value
	NoteNotAsked    NoteKind = "not-asked"    // the effect of a policy is unknown
	NoteDouble      NoteKind = "double"       // notifications arrive twice
	NotePayload     NoteKind = "payload"      // a policy sends another payload than Gantry reads
	NoteRefused     NoteKind = "refused"      // Gantry refuses the request, and refusals switch the webhook off
	NoteUnasked     NoteKind = "unasked"      // the webhook sends headers that Gantry doesn't require
)

// Plan is the list of changes that an account needs.
type Plan struct {
	Changes []Change `json:"changes"`
	Notes   []Note   `json:"notes,omitempty"`

	// A pointer, because printing doesn't follow pointers, and ignores the methods of
	// a Secret in an unexported field.
	wanted    *Wanted
	webhookID string // of the existing one
	webhook   *webhookStep
	setHeader bool
	policies  []policyStep
}

// Empty reports whether there is nothing to do.
func (p Plan) Empty() bool { return len(p.Changes) == 0 }

// Unchecked returns the notes about things that could not be checked.
func (p Plan) Unchecked() []Note { return p.Of(NoteNotCompared, NoteNotAsked) }

// Of returns the notes of some kinds.
func (p Plan) Of(kinds ...NoteKind) (notes []Note) {
	for _, n := range p.Notes {
		if slices.Contains(kinds, n.Kind) {
			notes = append(notes, n)
		}
	}
	return notes
}

// Change returns the plan's change of an item, or nil.
func (p Plan) Change(of Item) *Change {
	i := slices.IndexFunc(p.Changes, func(c Change) bool { return c.Item == of })
	if i < 0 {
		return nil
	}
	return &p.Changes[i]
}

// webhookStep creates or updates a webhook. The secret is added to its input only
// for sending.
type webhookStep struct {
	id    string // empty means create it
	input spacelift.NamedWebhookInput
}

type policyStep struct {
	id     string // empty means create it
	input  spacelift.PolicyInput
	remove bool
}

// Foreign returns the names of webhooks and policies that the plan would change and
// that aren't Gantry's.
func (p Plan) Foreign() (names []string) {
	for _, c := range p.Changes {
		object, _, _ := strings.Cut(string(c.Item), ".")
		if name := object + " " + c.Name; c.Foreign && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Compare returns the plan that changes an account to the desired setup. It
// returns an error if the plan is unknown or would be harmful.
func Compare(w Wanted, f Found) (Plan, error) {
	plan := Plan{Changes: []Change{}, wanted: &w}
	hook, policy := f.Webhook(w.Webhook), f.Policy(w.Policy)
	switch {
	case (hook == nil || policy == nil) && !f.Complete:
		return Plan{}, errors.New("the account has more webhooks or policies than could be listed, and ours is not among those listed; it may or may not exist")
	case f.Taken != nil:
		return Plan{}, fmt.Errorf("the name %q belongs to a policy of type %s; choose another name for ours", w.Policy, f.Taken.Type)
	}
	plan.compareWebhook(w, hook, f.Secret, f.Header)
	plan.comparePolicy(notificationPolicy(w), policy)
	if err := plan.compareEnforcement(w, f); err != nil {
		return Plan{}, err
	}
	plan.noteOthers(w, f, hook)
	if !f.Complete {
		plan.note(NoteNotAsked, "the account has more webhooks or policies than could be listed; the others may send to Gantry too")
	}
	return plan, nil
}

func (p *Plan) change(item Item, name, now, wanted, why string) {
	p.Changes = append(p.Changes, Change{Item: item, Name: name, Now: now, Wanted: wanted, Why: why})
}

func (p *Plan) note(kind NoteKind, format string, args ...any) {
	p.Notes = append(p.Notes, Note{kind, fmt.Sprintf(format, args...)})
}

func (p *Plan) compareWebhook(w Wanted, have *spacelift.NamedWebhook, secret, header SecretMatch) {
	if have == nil {
		in := spacelift.NamedWebhookInput{
			Name: w.Webhook, Endpoint: w.Endpoint, Enabled: true, Labels: []string{WebhookLabel},
			Space: cmp.Or(w.Space, rootSpace), RetryOnFailure: true,
		}
		p.change(ItemWebhook, w.Webhook, "", fmt.Sprintf("%s in space %s, labelled %s, with a secret, sent again on failure", in.Endpoint, in.Space, WebhookLabel),
			"notifications go through it")
		p.webhook = &webhookStep{input: in}
		p.compareHeader(w, nil, header)
		return
	}

	p.webhookID = have.ID
	in := spacelift.NamedWebhookInput{
		Name: have.Name, Endpoint: cmp.Or(w.Endpoint, have.Endpoint), Enabled: true, Labels: have.Labels,
		Space: cmp.Or(w.Space, have.Space), RetryOnFailure: true,
	}
	before := len(p.Changes)
	switch {
	case SameAddress(in.Endpoint, have.Endpoint):
		in.Endpoint = have.Endpoint
	case SameAddress(in.Endpoint, NormalAddress(have.Endpoint)):
		p.change(ItemWebhookEndpoint, have.Name, have.Endpoint, in.Endpoint, "Gantry answers 404 at a path with doubled slashes or dots")
	default:
		p.change(ItemWebhookEndpoint, have.Name, have.Endpoint, in.Endpoint, "notifications go elsewhere")
	}
	if !have.Enabled {
		p.change(ItemWebhookEnabled, have.Name, "off", "on", "it sends nothing; Spacelift switches a webhook off after ten failures in a row")
	}
	if !have.RetryOnFailure {
		p.change(ItemWebhookRetry, have.Name, "off", "on", "a notification that Gantry could not store is lost unless it is sent again")
	}
	if !slices.Contains(have.Labels, WebhookLabel) {
		in.Labels = append(slices.Clone(have.Labels), WebhookLabel)
		p.change(ItemWebhookLabels, have.Name, list(have.Labels), list(in.Labels), "the policy picks webhooks by the label "+WebhookLabel)
	}
	if in.Space != have.Space {
		p.change(ItemWebhookSpace, have.Name, have.Space, in.Space, "the configured space is another one")
	}
	switch {
	case w.Secret == "":
	case secret == SecretOther, secret == SecretRefused:
		p.change(ItemWebhookSecret, have.Name, "another one", "the first one configured", "Gantry refuses what is signed with a secret it doesn't know")
	case secret == SecretNotShown && w.SendSecrets:
		p.change(ItemWebhookSecret, have.Name, "not shown", "the first one configured", "you asked to send it in any case")
	case secret == SecretNotShown:
		p.note(NoteNotCompared, "the secret of webhook %s can't be compared: Spacelift hides it from this key, or there is none, "+
			"and without one Gantry refuses everything; gantry setup --send-secrets --yes sends it again", have.Name)
	}
	if len(p.Changes) > before {
		// An update replaces everything, so the secret goes along.
		p.webhook = &webhookStep{id: have.ID, input: in}
		if foreign := !slices.Contains(have.Labels, WebhookLabel); foreign {
			p.mark(before, true)
			if old, err := json.MarshalIndent(have, "", "  "); err == nil {
				p.Changes[before].Old = string(old)
			}
		}
	}
	p.compareHeader(w, have, header)
}

func (p *Plan) compareHeader(w Wanted, have *spacelift.NamedWebhook, match SecretMatch) {
	if w.Header == "" {
		if have != nil && len(have.SecretHeaders) > 0 {
			p.note(NoteUnasked, "webhook %s sends secret headers that Gantry doesn't ask for: %s", have.Name, list(have.SecretHeaders))
		}
		return
	}
	there := have != nil && slices.ContainsFunc(have.SecretHeaders, func(h string) bool { return strings.EqualFold(h, w.Header) })
	switch {
	case !there:
		p.change(ItemWebhookHeader, w.Webhook, "", w.Header, "Gantry refuses notifications that come without it")
	case match == SecretRefused:
		p.change(ItemWebhookHeader, w.Webhook, "another value of "+w.Header, "the one configured", "Gantry refuses notifications that come with another value")
	case w.SendSecrets:
		p.change(ItemWebhookHeader, w.Webhook, w.Header, w.Header, "you asked to send its value in any case")
	case match == SecretSame:
		return
	default:
		p.note(NoteNotCompared, "the value of secret header %s can't be compared: Spacelift never shows it; gantry setup --send-secrets --yes sends it again", w.Header)
		return
	}
	p.setHeader = true
}

// ownPolicy is a policy of Gantry's.
type ownPolicy struct {
	input spacelift.PolicyInput // with an empty Space for "unchanged", and root for new ones
	why   string
}

// notificationPolicy returns the policy that routes events to the webhook.
func notificationPolicy(w Wanted) ownPolicy {
	return ownPolicy{spacelift.PolicyInput{
		Name: w.Policy, Type: spacelift.PolicyTypeNotification, Engine: spacelift.PolicyEngineRegoV1, Body: Policy,
		Description: "Routes the runs of stacks labelled gantry:managed to webhooks labelled gantry.", Space: w.Space,
	}, "it routes the runs of labelled stacks to the webhook"}
}

// comparePolicy compares a policy of Gantry's with the one there is.
func (p *Plan) comparePolicy(own ownPolicy, have *spacelift.Policy) {
	want := own.input
	if have == nil {
		want.Space = cmp.Or(want.Space, rootSpace)
		p.change(ItemPolicy, want.Name, "", fmt.Sprintf("%s %s policy in space %s", article(want.Type), want.Type, want.Space), own.why)
		p.policies = append(p.policies, policyStep{input: want})
		return
	}
	in := want
	in.Name, in.Description, in.Labels, in.Space = have.Name, cmp.Or(have.Description, want.Description), have.Labels, cmp.Or(want.Space, have.Space)
	before := len(p.Changes)
	if line := firstDifference(have.Body, in.Body); line > 0 {
		p.change(ItemPolicyBody, have.Name, fmt.Sprintf("another one, from line %d on", line), "the one of this version of Gantry", own.why)
		c := &p.Changes[before]
		c.Old, c.Diff = have.Body, diff(have.Body, in.Body)
	}
	if have.Engine != in.Engine {
		p.change(ItemPolicyEngine, have.Name, have.Engine, in.Engine, "the policy is written and tested for "+in.Engine)
	}
	if in.Space != have.Space {
		p.change(ItemPolicySpace, have.Name, have.Space, in.Space, "the configured space is another one")
	}
	for _, l := range want.Labels {
		if !slices.Contains(in.Labels, l) {
			in.Labels = append(slices.Clone(in.Labels), l)
		}
	}
	if len(in.Labels) > len(have.Labels) {
		p.change(ItemPolicyLabels, have.Name, list(have.Labels), list(in.Labels), "the label attaches the policy to managed stacks")
	}
	if len(p.Changes) > before {
		p.mark(before, !strings.Contains(have.Body, Marker))
		p.policies = append(p.policies, policyStep{id: have.ID, input: in})
	}
}

// mark says of the changes from an index on whether they concern something that isn't
// Gantry's.
func (p *Plan) mark(from int, foreign bool) {
	for i := range p.Changes[from:] {
		p.Changes[from+i].Foreign = foreign
	}
}

func article(word string) string {
	if word != "" && strings.ContainsRune("AEIOU", rune(word[0])) {
		return "an"
	}
	return "a"
}

// diff shows what changes between two texts: the lines that differ, without those that
// both begin or end with.
func diff(old, now string) string {
	a, b := lines(old), lines(now)
	first := 0
	for first < min(len(a), len(b)) && a[first] == b[first] {
		first++
	}
	for len(a) > first && len(b) > first && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var text strings.Builder
	fmt.Fprintf(&text, "@@ line %d @@\n", first+1)
	for _, l := range a[first:] {
		text.WriteString("-" + l + "\n")
	}
	for _, l := range b[first:] {
		text.WriteString("+" + l + "\n")
	}
	return text.String()
}

// lines splits a text. Line ends and surrounding space don't count: forms and APIs
// change them.
func lines(s string) []string {
	all := strings.Split(strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")), "\n")
	for i := range all {
		all[i] = strings.TrimRight(all[i], " \t")
	}
	return all
}

// firstDifference returns the number of the first line that differs, or 0.
func firstDifference(a, b string) int {
	la, lb := lines(a), lines(b)
	for i := range max(len(la), len(lb)) {
		if i >= len(la) || i >= len(lb) || la[i] != lb[i] {
			return i + 1
		}
	}
	return 0
}

// rootSpace is the space at the top of every account's tree.
const rootSpace = "root"

func list(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
