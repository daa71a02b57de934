// Package deploy holds what Gantry needs on Spacelift's side: the notification
// policy here, and in terraform/ the same as code.
package deploy

import _ "embed"

// Policy is the NOTIFICATION policy, in Rego v1, that routes the runs of
// labelled stacks to Gantry's named webhook.
//
//go:embed terraform/gantry.rego
var Policy string

// WebhookLabel is the label by which the policy picks the named webhooks it
// routes to, so that one policy serves several.
const WebhookLabel = "gantry"
