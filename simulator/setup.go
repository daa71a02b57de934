package simulator

import (
	"fmt"
	"io"

	"github.com/gantryhq/gantry/spacelift"
)

// The types in this file are the bodies of the control API and of SetUp: objects
// with the secrets that are never shown.
type keyInput struct {
	APIKey
	Secret string `json:"secret"`
}

func (in keyInput) key() APIKey {
	in.APIKey.Secret = in.Secret
	return in.APIKey
}

type namedHookInput struct {
	NamedWebhook
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
}

func (in namedHookInput) webhook() NamedWebhook {
	in.NamedWebhook.Secret, in.NamedWebhook.Headers = in.Secret, in.Headers
	return in.NamedWebhook
}

type stackHookInput struct {
	StackWebhook
	Secret string `json:"secret"`
}

func (in stackHookInput) webhook() StackWebhook {
	in.StackWebhook.Secret = in.Secret
	return in.StackWebhook
}

type edgeInput struct {
	Stack      spacelift.StackID `json:"stack"`
	DependsOn  spacelift.StackID `json:"dependsOn"`
	References []Reference       `json:"references"`
}

type shareInput struct {
	Stack    spacelift.StackID `json:"stack"`
	Context  string            `json:"context"`
	Priority int               `json:"priority"`
}

type setup struct {
	Spaces        []Space          `json:"spaces"`
	WorkerPools   []WorkerPool     `json:"workerPools"`
	APIKeys       []keyInput       `json:"apiKeys"`
	Webhooks      []namedHookInput `json:"webhooks"`
	Policies      []Policy         `json:"policies"`
	Stacks        []Stack          `json:"stacks"`
	StackWebhooks []stackHookInput `json:"stackWebhooks"`
	Dependencies  []edgeInput      `json:"dependencies"`
	Contexts      []Context        `json:"contexts"`
	Attachments   []shareInput     `json:"contextAttachments"`
}

// SetUp adds what a JSON object lists under spaces, workerPools, apiKeys,
// webhooks (named ones), policies, stacks, stackWebhooks, dependencies, contexts
// and contextAttachments, in this order. The entries are bodies of the control
// API; those that belong to a stack name it. An error names the entry that is
// wrong; those before it stay.
func (s *Simulator) SetUp(from io.Reader) error {
	body, err := io.ReadAll(from)
	if err != nil {
		return fmt.Errorf("read set-up: %w", err)
	}
	var in setup
	if err := strictJSON(body, &in); err != nil {
		return fmt.Errorf("read set-up: %w", err)
	}
	for _, k := range in.APIKeys {
		s.AddAPIKey(k.key())
	}
	each(&err, "spaces", in.Spaces, s.AddSpace)
	each(&err, "workerPools", in.WorkerPools, s.AddWorkerPool)
	each(&err, "webhooks", in.Webhooks, func(w namedHookInput) error { return s.AddNamedWebhook(w.webhook()) })
	each(&err, "policies", in.Policies, s.AddPolicy)
	each(&err, "stacks", in.Stacks, s.AddStack)
	each(&err, "stackWebhooks", in.StackWebhooks, func(w stackHookInput) error { return s.AddStackWebhook(w.webhook()) })
	each(&err, "dependencies", in.Dependencies, func(e edgeInput) error { return s.AddDependency(e.Stack, e.DependsOn, e.References...) })
	each(&err, "contexts", in.Contexts, s.AddContext)
	each(&err, "contextAttachments", in.Attachments, func(a shareInput) error { return s.AttachContext(a.Context, a.Stack, a.Priority) })
	return err
}

// each adds the entries of a list until one fails, unless one has failed before.
func each[T any](failed *error, name string, list []T, add func(T) error) {
	for i, entry := range list {
		if *failed != nil {
			return
		}
		if err := add(entry); err != nil {
			*failed = fmt.Errorf("%s[%d]: %w", name, i, err)
		}
	}
}
