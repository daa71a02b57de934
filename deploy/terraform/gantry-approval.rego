package spacelift

# Gantry's policy: gantry setup and Gantry's Terraform module overwrite it.
#
# A plan that waits for confirmation is approved by Gantry's review alone, so
# Spacelift refuses every confirmation before Gantry has decided. Everything else
# passes: queued runs, previews, tasks and module tests.
#
# Both of Spacelift's engines read these imports; older installations refuse
# rego.v1.
import future.keywords.contains
import future.keywords.if
import future.keywords.in

# Gantry's API keys, as Spacelift names them in reviews.
gantry := ${keys}

approve if input.run.state != "UNCONFIRMED"

approve if {
	some review in input.reviews.current.approvals
	review.author in gantry
	not rejected
}

reject if {
	input.run.state == "UNCONFIRMED"
	rejected
}

rejected if {
	some review in input.reviews.current.rejections
	review.author in gantry
}
