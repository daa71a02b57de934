# One Gantry for a whole account, and a stack it manages.

terraform {
  required_version = ">= 1.11"
  required_providers {
    spacelift = {
      source  = "spacelift-io/spacelift"
      version = ">= 1.44, < 2.0"
    }
  }
}

variable "webhook_secret" {
  type      = string
  sensitive = true
  ephemeral = true
}

variable "header_value" {
  type      = string
  sensitive = true
}

module "gantry" {
  source = "../.."

  webhook_url         = "https://gantry.example.com/webhook"
  webhook_secret      = var.webhook_secret
  secret_header_name  = "X-Gantry-Token"
  secret_header_value = var.header_value
}

resource "spacelift_stack" "network" {
  name       = "network / prod"
  repository = "infra"
  branch     = "main"
  labels     = [module.gantry.managed_label, "gantry:confirm=auto"]
}
