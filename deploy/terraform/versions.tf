terraform {
  # Write-only arguments: secrets stay out of the state. OpenTofu has them from 1.11 on too.
  required_version = ">= 1.11"

  required_providers {
    spacelift = {
      source  = "spacelift-io/spacelift"
      version = ">= 1.44, < 2.0"
    }
  }
}
