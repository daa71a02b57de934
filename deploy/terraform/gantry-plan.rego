package spacelift

# Gantry's policy: gantry setup and Gantry's Terraform module overwrite it.
#
# With autodeploy on, Spacelift applies a plan at once, unless a plan policy warns.
# This one warns, so that the run waits for Gantry. It says nothing of previews,
# which a warning would send to review.
import future.keywords.contains
import future.keywords.if
import future.keywords.in

warn contains "Gantry decides about this plan" if {
	input.spacelift.stack.autodeploy
	input.spacelift.run.type in {"TRACKED", "DESTROY"}
}
