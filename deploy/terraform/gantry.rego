package spacelift

# Gantry's policy: gantry setup and Gantry's Terraform module overwrite it.
#
# Both of Spacelift's engines read these imports: policies made by hand get the
# old one, and a simulation names none. Older installations refuse rego.v1.
import future.keywords.contains
import future.keywords.if
import future.keywords.in

# Routes every state change of a stack labelled gantry:managed to the named
# webhooks labelled gantry, with Spacelift's default body and nothing added.
# Spacelift evaluates it for each event in the policy's space and in those that
# inherit from it; autoattach labels play no part in notification policies.
#
# Only types of runs that Gantry cannot manage are left out: a module's test
# case has no stack to read it from, and PARSE is undocumented. A type that is
# missing or new goes through, because Gantry says what it does not know, while
# an event that is not sent is lost without a word; hence object.get, as a
# missing key would make the whole rule undefined.
webhook contains {"endpoint_id": endpoint.id} if {
	some endpoint in input.webhook_endpoints
	"gantry" in endpoint.labels
	some label in input.run_updated.stack.labels
	trim_space(label) == "gantry:managed"
	not object.get(input.run_updated, ["run", "type"], "") in {"TESTING", "PARSE"}
}
