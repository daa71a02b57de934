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
