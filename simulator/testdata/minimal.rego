package spacelift

webhook contains {"endpoint_id": endpoint.id} if {
	some endpoint in input.webhook_endpoints
	"orchestrator" in endpoint.labels
	some label in input.run_updated.stack.labels
	startswith(label, "orchestrator:")
}
