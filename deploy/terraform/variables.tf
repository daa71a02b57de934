variable "webhook_url" {
  description = "Where Spacelift reaches Gantry, such as https://gantry.example.com/webhook."
  type        = string

  validation {
    condition     = can(regex("^https?://[^/?#@]+/", var.webhook_url))
    error_message = "Give a whole address such as https://gantry.example.com/webhook."
  }
}

variable "webhook_secret" {
  description = "Secret that signs the notifications; the first one in Gantry's configuration. It is written, never stored in the state."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "webhook_secret_version" {
  description = "Change it to send webhook_secret again, such as after a rotation."
  type        = string
  default     = "1"
}

variable "secret_header_name" {
  description = "Secret header that comes with every notification, as a second factor: secretHeader in Gantry's configuration. None if null."
  type        = string
  default     = null
}

variable "secret_header_value" {
  description = "Value of the secret header. The state holds it: the provider's write-only argument does not work."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = (var.secret_header_name == null) == (var.secret_header_value == null)
    error_message = "Give both secret_header_name and secret_header_value, or neither."
  }
}

variable "name" {
  description = "Name of the webhook; its id is made from it."
  type        = string
  default     = "gantry"
}

variable "space_id" {
  description = "Space of webhook and policy. They serve the stacks of this space and of those below that inherit from it."
  type        = string
  default     = "root"
}

variable "labels" {
  description = "Labels of the webhook beside \"gantry\", by which the policy picks it."
  type        = set(string)
  default     = []
}

variable "create_policy" {
  description = "Whether to create the notification policy. One serves every webhook labelled gantry: with a second policy each notification comes twice."
  type        = bool
  default     = true
}

variable "policy_name" {
  description = "Name of the notification policy."
  type        = string
  default     = "gantry"
}

variable "enforce" {
  description = "Whether Spacelift refuses to confirm plans of managed stacks before Gantry's review."
  type        = bool
  default     = false
}

variable "api_key_ids" {
  description = "Ids of the API keys that Gantry serves with; with enforce, their reviews alone approve."
  type        = list(string)
  default     = []

  validation {
    condition     = !var.enforce || length(var.api_key_ids) > 0
    error_message = "With enforce, give the id of Gantry's API key: no other review approves a plan."
  }
}
