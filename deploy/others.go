package deploy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

// noteOthers adds notes about other webhooks and policies that send notifications
// to Gantry.
func (p *Plan) noteOthers(w Wanted, f Found, hook *spacelift.NamedWebhook) {
	gantrys := []spacelift.NamedWebhook{f.target(w)}
	for _, other := range f.Webhooks {
		if hook != nil && other.ID == hook.ID || !other.Enabled || !SameAddress(other.Endpoint, gantrys[0].Endpoint) {
			continue
		}
		gantrys = append(gantrys, other)
		if slices.Contains(other.Labels, WebhookLabel) {
			p.note(NoteDouble, "webhook %s has the label %s and the same address: every notification comes twice", other.Name, WebhookLabel)
		}
	}
	unknown := map[string][]string{} // policies, by the reason
	var reasons []string
	for _, policy := range f.Policies {
		effect, asked := f.Effects[policy.ID]
		switch {
		case !asked:
		case effect.Problem == "":
			for _, to := range gantrys {
				p.noteSendings(policy, to, effect.Sends, w)
			}
		default:
			if unknown[effect.Problem] == nil {
				reasons = append(reasons, effect.Problem)
			}
			unknown[effect.Problem] = append(unknown[effect.Problem], policy.Name)
		}
	}
	for _, reason := range reasons {
		p.note(NoteNotAsked, "Spacelift could not simulate the policies %s, so they may send notifications to Gantry too: %s", list(unknown[reason]), reason)
	}
}

// noteSendings adds notes about a policy's deliveries to a webhook of Gantry's, but
// not about the one notification of each event that our own policy sends.
func (p *Plan) noteSendings(policy spacelift.Policy, to spacelift.NamedWebhook, sends []Sending, w Wanted) {
	secretHeader, noted := w.Header, map[string]bool{}
	sent := map[string]bool{} // events that our own policy sent once
	ours := policy.Name == w.Policy || policy.ID == w.Policy
	note := func(kind NoteKind, about string, s Sending, means string) {
		if !noted[about] {
			noted[about] = true
			p.note(kind, "policy %s %s, such as for %s: %s", policy.Name, about, s.Event, means)
		}
	}
	for _, s := range sends {
		if s.Webhook != to.ID {
			continue
		}
		if s.Run && (!ours || sent[s.Event]) {
			note(NoteDouble, "routes runs of managed stacks to webhook "+to.Name+" too", s, "every such notification comes twice")
		}
		sent[s.Event] = true
		if s.Method != http.MethodPost {
			note(NoteRefused, "calls webhook "+to.Name+" by "+s.Method, s, "Gantry accepts only POST and answers 405, and ten failures in a row switch the webhook off")
		}
		if i := slices.IndexFunc(s.Headers, func(h string) bool { return secretHeader != "" && strings.EqualFold(h, secretHeader) }); i >= 0 {
			note(NoteRefused, "replaces the secret header "+s.Headers[i]+" of webhook "+to.Name, s, "Gantry refuses the notification, and ten failures in a row switch the webhook off")
		}
		if s.Payload {
			note(NotePayload, "sends a payload of its own to webhook "+to.Name, s, "Gantry reads Spacelift's own notification, and ignores what it can't read")
		}
	}
}
