// Package deploy holds what Gantry needs on Spacelift's side, a named webhook
// and a notification policy, and sets it up: [Inspect] reads what is there,
// [Compare] says what to change and why, [Apply] does it. The folder terraform/
// sets up the same as code.
//
// Stacks are left alone. Updating one replaces all its settings, so labels are
// for the stack's owner to write.
package deploy

import _ "embed"

// Policy is the NOTIFICATION policy that routes the runs of labelled stacks to
// Gantry's named webhook.
//
//go:embed terraform/gantry.rego
var Policy string

// WebhookLabel is the label by which the policy picks the named webhooks it
// routes to, so that one policy serves several.
const WebhookLabel = "gantry"

// DefaultName is the name of webhook and policy unless somebody says
// otherwise.
const DefaultName = "gantry"
