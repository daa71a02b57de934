# A second Gantry receives the notifications of the same runs: two webhooks, one policy.

terraform {
  required_version = ">= 1.11"
  required_providers {
    spacelift = {
      source  = "spacelift-io/spacelift"
      version = ">= 1.44, < 2.0"
    }
  }
}

variable "production_secret" {
  type      = string
  sensitive = true
  ephemeral = true
}

variable "staging_secret" {
  type      = string
  sensitive = true
  ephemeral = true
}

module "production" {
  source = "../.."

  webhook_url    = "https://gantry.example.com/webhook"
  webhook_secret = var.production_secret
}

module "staging" {
  source = "../.."

  name           = "gantry-staging"
  webhook_url    = "https://gantry-staging.example.com/webhook"
  webhook_secret = var.staging_secret
  labels         = ["env:staging"]
  create_policy  = false
}
