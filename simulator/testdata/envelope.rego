package spacelift

# Stack side:    label "orchestrator:<flow>" opts a stack in and names a flow.
# Receiver side: label "orchestrator" on a named webhook makes it a target.
flows contains flow if {
	some label in input.run_updated.stack.labels
	startswith(label, "orchestrator:")
	flow := trim_prefix(label, "orchestrator:")
}

targets contains endpoint.id if {
	some endpoint in input.webhook_endpoints
	"orchestrator" in endpoint.labels
}

ru := input.run_updated

history := object.get(ru.run, "states_history", [])

planned(action) := count([c |
	some c in ru.run.changes
	c.phase == "plan"
	c.action == action
])

envelope := {
	"schema": "orchestrator/v1",
	"account": input.account.name,
	"flows": sort([f | some f in flows]),
	"state": ru.state,
	"state_version": count(history) - 1,
	"updated_at_ms": floor(ru.run.updated_at / 1000000),
	"note": object.get(ru, "note", ""),
	"username": object.get(ru, "username", ""),
	"run": {
		"id": ru.run.id,
		"type": ru.run.type,
		"url": object.get(ru, ["urls", "run"], ""),
		"branch": object.get(ru.run, "branch", ""),
		"commit": object.get(ru.run, ["commit", "hash"], ""),
		"drift_detection": object.get(ru.run, "drift_detection", false),
		"triggered_by": object.get(ru.run, "triggered_by", null),
		"metadata": object.get(ru.run, "user_provided_metadata", []),
	},
	"stack": {
		"id": ru.stack.id,
		"space": object.get(ru.stack, ["space", "id"], ""),
		"labels": ru.stack.labels,
		"autodeploy": object.get(ru.stack, "autodeploy", false),
	},
	"plan": {a: planned(a) | some a in ["added", "changed", "deleted"]},
}

webhook contains {"endpoint_id": id, "payload": envelope} if {
	count(flows) > 0
	some id in targets
}

# Spacelift's own failures, in the stock payload.
webhook contains {"endpoint_id": id} if {
	input.internal_error
	some id in targets
}

sample if ru.state in {"UNCONFIRMED", "FAILED"}
