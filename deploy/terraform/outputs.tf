output "webhook_id" {
  description = "Id of the named webhook."
  value       = spacelift_named_webhook.gantry.id
}

output "policy_id" {
  description = "Id of the notification policy; null where create_policy is false."
  value       = one(spacelift_policy.gantry[*].id)
}

output "managed_label" {
  description = "Label that opts a stack in."
  value       = "gantry:managed"
}

output "enforcement_policy_ids" {
  description = "Ids of the policies that make Gantry's decisions binding; empty where enforce is false."
  value       = concat(spacelift_policy.approval[*].id, spacelift_policy.plan[*].id)
}
