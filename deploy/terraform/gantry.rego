package spacelift

# Routes every run of a stack labelled gantry:managed to the named webhooks
# labelled gantry, with Spacelift's default body. Spacelift evaluates this for
# each state change in the policy's space and in those that inherit from it;
# autoattach labels play no part in notification policies.
webhook contains {"endpoint_id": endpoint.id} if {
	some endpoint in input.webhook_endpoints
	"gantry" in endpoint.labels
	"gantry:managed" in input.run_updated.stack.labels
}
