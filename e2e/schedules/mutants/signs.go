package mutants

import "strings"

// Sign says how a mutant shows: the rules that it breaks, and the stories in which it
// can, all of them if there is none.
type Sign struct{ Rules, Stories []string }

// SignOf returns how a mutant shows. A violation of another rule doesn't count as
// catching it: that would be a fault of Gantry's own.
func SignOf(m Mutant) Sign { return signs[m.Name] }

// shows returns a Sign of rules and stories, with spaces between.
func shows(rules, stories string) Sign { return Sign{strings.Fields(rules), strings.Fields(stories)} }

// Stories in which certain things happen.
const (
	inPlans  = "push contest enforced floor resources queue brakes freeze"
	inChains = "chain monorepo dependencies"
)

var signs = map[string]Sign{
	"confirms-blindly":             shows("fresh-check policy approvals freezes brakes order old-plans one-confirmation", inPlans),
	"forgets-parents":              shows("old-plans order", inChains),
	"excuses-urgent-plans":         shows("bypasses", "glass"),
	"alarms-nobody":                shows("alarms", "glass"),
	"believes-signed-out":          shows("sessions streams", "session"),
	"ignores-reloads":              shows("scopes sessions", "session"),
	"streams-everything":           shows("scopes", ""),
	"loses-missed-events":          shows("streams", ""),
	"resumes-early":                shows("streams", ""),
	"confirms-late":                shows("fresh-check policy approvals freezes brakes objections windows", inPlans),
	"resends-mutations":            shows("fresh-check one-confirmation triggers retries once-per-commit", ""),
	"ignores-locks":                shows("brakes", "brakes queue contest"),
	"ignores-disabled-stacks":      shows("brakes", "brakes queue contest"),
	"discards-what-waits":          shows("acts-have-causes", inPlans),
	"gives-up-after-a-refusal":     shows("settled executions current released", inPlans),
	"ignores-freezes":              shows("freezes", "freeze contest"),
	"ignores-windows":              shows("windows", "push contest"),
	"ignores-unreadable-labels":    shows("policy labels", "push contest"),
	"confirms-unasked":             shows("policy approvals", "push contest"),
	"ignores-deletes":              shows("approvals policy", "push contest"),
	"ignores-floors":               shows("policy approvals freezes windows labels", "floor"),
	"ignores-resources":            shows("approvals", "resources"),
	"forgets-holds":                shows("policy", "expressions"),
	"forgets-conditions":           shows("approvals", "expressions"),
	"triggers-twice":               shows("asked-runs", "asked"),
	"forgets-askers":               shows("approvals linearizable", "asked"),
	"forecasts-too-little":         shows("previews", "forecast"),
	"lists-everything":             shows("scopes", "asked"),
	"keeps-answers":                shows("read-your-writes current accepted linearizable", ""),
	"signals-nobody":               shows("current", inChains+" forecast"),
	"ignores-limits":               shows("approvals policy", "push contest"),
	"counts-twice":                 shows("approvals linearizable", inPlans),
	"forgets-aliases":              shows("approvals linearizable", inPlans),
	"lets-authors-approve":         shows("approvals linearizable", inPlans),
	"lets-any-group-approve":       shows("approvals linearizable", inPlans),
	"keeps-approvals-over-replans": shows("approvals linearizable refusals recorded", "contest push reviews"),
	"takes-stale-decisions":        shows("approvals linearizable refusals", "contest push"),
	"forgets-revocations":          shows("approvals linearizable read-your-writes", "contest push"),
	"forgets-rejections":           shows("objections linearizable read-your-writes", "contest push"),
	"forgets-stops":                shows("objections", "contest push failure"),
	"refuses-what-counts":          shows("refusals linearizable recorded objections", "contest push"),
	"answers-before-the-record":    shows("read-your-writes linearizable objections recorded", "contest push"),
	"forgets-keys":                 shows("keys linearizable", "contest push freeze"),
	"forgets-freezes":              shows("freezes read-your-writes keys", "freeze contest"),
	"audits-no-decisions":          shows("audit", "contest push"),
	"audits-another-name":          shows("audit", "contest push"),
	"audits-refusals-as-done":      shows("audit", "contest push"),
	"overlooks-bypasses":           shows("bypasses", "contest reviews enforced push"),
	"reviews-early":                shows("enforced approvals policy freezes objections", "enforced"),
	"releases-blindly":             shows("freezes brakes enforced windows", "enforced freeze"),
	"ignores-scopes":               shows("scopes approvals", ""),
	"breaks-the-audit-chain":       shows("audit", "contest push"),
	"audits-in-memory":             shows("audit", "contest push"),
	"retries-beyond-the-budget":    shows("retries", "failure"),
	"retries-applies":              shows("retries", "failure"),
	"retries-any-cause":            shows("retries", "failure"),
	"retries-twice":                shows("retries fresh-check", "failure"),
	"forgets-chains":               shows("released", inChains),
	"releases-after-failures":      shows("triggers order", inChains),
	"releases-early":               shows("triggers order", inChains),
	"triggers-again":               shows("triggers once-per-commit", inChains),
	"triggers-late":                shows("triggers once-per-commit", inChains),
	"keeps-old-plans":              shows("old-plans", inChains),
	"overtakes-parents":            shows("order", inChains),
	"ignores-failed-parents":       shows("order", inChains),
	"drops-events":                 shows("accepted current settled", "push contest"),
	"believes-ends":                shows("truth executions accepted settled", ""),
	"accepts-any-signature":        shows("front-door truth", ""),
	"repeats-claims":               shows("messages", ""),
	"signs-wrongly":                shows("messages", ""),
	"adopts-nothing":               shows("settled executions current released", ""),
}
