// Package deploy sets up Gantry's webhook and notification policy in Spacelift:
// [Inspect] reads the account, [Compare] returns the changes with their reasons,
// and [Apply] makes them. The folder terraform/ does the same as code.
//
// It never changes stacks. An update replaces all settings of a stack, so its
// owner writes the labels.
package deploy

import _ "embed"

// Policy is the NOTIFICATION policy that routes the runs of labelled stacks to
// Gantry's named webhook.
//
//go:embed terraform/gantry.rego
var Policy string

// WebhookLabel is the label by which the policy selects named webhooks, so that
// one policy serves several.
const WebhookLabel = "gantry"

// DefaultName is the default name of the webhook and the policy.
const DefaultName = "gantry"
