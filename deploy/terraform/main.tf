# What Gantry needs on Spacelift's side: the same that `gantry setup` makes.
# Names of arguments: https://search.opentofu.org/provider/spacelift-io/spacelift

resource "spacelift_named_webhook" "gantry" {
  name     = var.name
  space_id = var.space_id
  endpoint = var.webhook_url

  # Spacelift switches a webhook off after ten failures in a row; applying
  # switches it on again.
  enabled = true

  # Off by default, and then a notification that Gantry could not store is lost.
  retry_on_failure = true

  # The policy picks webhooks by this label.
  labels = setunion(["gantry"], var.labels)

  secret_wo         = var.webhook_secret
  secret_wo_version = var.webhook_secret_version
}

resource "spacelift_named_webhook_secret_header" "gantry" {
  count = var.secret_header_name == null ? 0 : 1

  webhook_id = spacelift_named_webhook.gantry.id
  key        = var.secret_header_name

  # Not value_wo: the provider, up to 1.53.5 at least, sends an empty value for
  # it (its ExtractWriteOnlyField looks for "value:value_wo_version"), and Gantry
  # would refuse every notification.
  value = var.secret_header_value
}

resource "spacelift_policy" "gantry" {
  count = var.create_policy ? 1 : 0

  name        = var.policy_name
  description = "Routes the runs of stacks labelled gantry:managed to webhooks labelled gantry."
  type        = "NOTIFICATION"
  engine_type = "REGO_V1"
  space_id    = var.space_id
  body        = file("${path.module}/gantry.rego")

  # The first notification must already carry what Gantry asks for.
  depends_on = [spacelift_named_webhook_secret_header.gantry]
}

# The policies that make Gantry's decisions binding: Spacelift confirms a plan of a
# managed stack only after Gantry's review. The label attaches them, so a stack whose
# label goes is free.
resource "spacelift_policy" "approval" {
  count = var.enforce ? 1 : 0

  name        = "gantry-approval" # Gantry finds it by this name
  description = "Spacelift confirms plans of managed stacks only after Gantry's review."
  type        = "APPROVAL"
  engine_type = "REGO_V1"
  space_id    = var.space_id
  labels      = ["autoattach:gantry:managed"]
  body        = templatefile("${path.module}/gantry-approval.rego", { keys = jsonencode(formatlist("api::%s", var.api_key_ids)) })
}

resource "spacelift_policy" "plan" {
  count = var.enforce ? 1 : 0

  name        = "gantry-plan" # Gantry finds it by this name
  description = "Makes managed stacks with autodeploy wait for Gantry's review."
  type        = "PLAN"
  engine_type = "REGO_V1"
  space_id    = var.space_id
  labels      = ["autoattach:gantry:managed"]
  body        = file("${path.module}/gantry-plan.rego")
}
