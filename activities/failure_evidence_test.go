package activities

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// failed is a run that failed after these states.
func failed(states ...spacelift.RunState) spacelift.Run {
	run := spacelift.Run{State: spacelift.RunStateFailed}
	for i, s := range append(states, spacelift.RunStateFailed) {
		run.History = append(run.History, spacelift.Transition{State: s, StateVersion: i})
		run.StateVersion = i
	}
	return run
}

var planning = []spacelift.RunState{"QUEUED", "READY", "PREPARING", "INITIALIZING", "PLANNING"}

func TestDiagnose(t *testing.T) {
	for _, tc := range []struct {
		name, note, log string
		cause           policy.Cause
		evidence        string // part of it
		source          string
	}{
		{name: "a state lock", log: "╷\n│ Error: Error acquiring the state lock\n│ \n│ Error message: ConditionalCheckFailedException\n╵", cause: policy.CauseTransient, evidence: "Error acquiring the state lock", source: "log"},
		{name: "a refused connection", log: `Error: Get "https://api.example.com/v1": dial tcp 10.0.0.1:443: connect: connection refused`, cause: policy.CauseTransient, evidence: "connection refused", source: "log"},
		{name: "a lost connection", log: "Error: read tcp 10.0.0.2:5432: read: connection reset by peer", cause: policy.CauseTransient, evidence: "reset by peer", source: "log"},
		{name: "a slow name server", log: "Error: dial tcp: lookup sts.amazonaws.com: i/o timeout", cause: policy.CauseTransient, evidence: "i/o timeout", source: "log"},
		{name: "a provider in trouble", log: "Error: reading EC2 Subnet: operation error EC2: DescribeSubnets, https response error StatusCode: 503, RequestID: 7a1b", cause: policy.CauseTransient, evidence: "StatusCode: 503", source: "log"},
		{name: "a gateway in trouble", log: "Error: unexpected response: 502 Bad Gateway", cause: policy.CauseTransient, evidence: "502 Bad Gateway", source: "log"},
		{name: "a registry that is away", log: "Error: Failed to query available provider packages\n\nCould not retrieve the list of available versions for provider hashicorp/aws: could not connect to registry.terraform.io", cause: policy.CauseTransient, evidence: "could not connect to registry", source: "log"},
		{name: "a lost worker", note: "worker crashed", cause: policy.CauseTransient, evidence: "worker crashed", source: "note"},

		{name: "throttled", log: "Error: creating IAM Role: ThrottlingException: Rate exceeded", cause: policy.CauseCapacity, evidence: "Throttling", source: "log"},
		{name: "no machines", log: "Error: InsufficientInstanceCapacity: We currently do not have sufficient m5.large capacity", cause: policy.CauseCapacity, evidence: "InsufficientInstanceCapacity", source: "log"},
		{name: "a quota per minute", log: "Error: googleapi: Error 429: Quota exceeded, rateLimitExceeded", cause: policy.CauseCapacity, evidence: "rateLimitExceeded", source: "log"},
		{name: "GitHub's limit", log: "Error: GET https://api.github.com/repos: 403 API rate limit exceeded for installation", cause: policy.CauseCapacity, evidence: "rate limit exceeded", source: "log"},
		{name: "no worker", note: "no available workers", cause: policy.CauseCapacity, evidence: "no available workers", source: "note"},

		{name: "expired", log: "Error: validating provider credentials: ExpiredToken: The security token included in the request is expired", cause: policy.CauseCredentials, evidence: "ExpiredToken", source: "log"},
		{name: "denied by AWS", log: "Error: AccessDenied: User is not authorized to perform: s3:PutObject", cause: policy.CauseCredentials, evidence: "AccessDenied", source: "log"},
		{name: "denied by Google", log: "Error: rpc error: code = PermissionDenied desc = PERMISSION_DENIED", cause: policy.CauseCredentials, evidence: "PERMISSION_DENIED", source: "log"},
		{name: "denied by Azure", log: "Error: AuthorizationFailed: The client does not have authorization", cause: policy.CauseCredentials, evidence: "AuthorizationFailed", source: "log"},
		{name: "no key for git", note: "git@github.com: Permission denied (publickey).", cause: policy.CauseCredentials, evidence: "publickey", source: "note"},

		{name: "a plan policy", note: "denied by a plan policy", cause: policy.CausePolicy, evidence: "denied by a plan policy", source: "note"},
		{name: "an approval policy", note: "rejected by an approval policy", cause: policy.CausePolicy, evidence: "approval policy", source: "note"},

		{name: "a wrong argument", log: "│ Error: Unsupported argument\n│   on main.tf line 3", cause: policy.CauseCode, evidence: "Unsupported argument", source: "log"},
		{name: "a wrong reference", log: "Error: Reference to undeclared resource", cause: policy.CauseCode, evidence: "undeclared", source: "log"},
		{name: "a version that does not exist", log: "Error: Failed to query available provider packages: no available releases match the given constraints", cause: policy.CauseCode, evidence: "no available releases", source: "log"},
		{name: "an output that nobody made", note: "job assignment failed: the following inputs are missing: vpc_id", cause: policy.CauseCode, evidence: "inputs are missing", source: "note"},
		{name: "a value that the provider refuses", log: "Error: InvalidParameterValue: CIDR block is malformed", cause: policy.CauseCode, evidence: "InvalidParameterValue", source: "log"},

		{name: "nothing is known", cause: policy.CauseUnknown},
		{name: "something else", note: "exit status 3", cause: policy.CauseUnknown, evidence: "exit status 3", source: "note"},
		{name: "something else in the log", log: "$ make\nfine so far\nError: the moon is full", cause: policy.CauseUnknown, evidence: "Error: the moon is full", source: "log"},
		{name: "an account's limit, which waiting does not raise", log: "Error: VpcLimitExceeded: The maximum number of VPCs has been reached.", cause: policy.CauseUnknown, evidence: "VpcLimitExceeded", source: "log"},

		{name: "what can't be fixed wins", log: "Error: connection reset by peer\nError: Unsupported argument", cause: policy.CauseCode, evidence: "Unsupported argument", source: "log"},
		{name: "trouble that passed does not count", log: "connection reset by peer, retrying\nok\nError: the moon is full", cause: policy.CauseUnknown, evidence: "the moon is full", source: "log"},
		{name: "what a plan quotes does not count", log: "  + policy = \"AccessDenied\"\nError: Error acquiring the state lock", cause: policy.CauseTransient, evidence: "state lock", source: "log"},
		{name: "words within words don't count", log: "Error: my-slowdown-alarm is red", cause: policy.CauseUnknown, evidence: "my-slowdown-alarm", source: "log"},
		{name: "colours", log: "\x1b[31m│\x1b[0m \x1b[1m\x1b[31mError: \x1b[0m\x1b[1mUnsupported block type\x1b[0m", cause: policy.CauseCode, evidence: "Error: Unsupported block type", source: "log"},
		{name: "the note comes first", note: "no available workers", log: "Error: ThrottlingException", cause: policy.CauseCapacity, evidence: "no available workers", source: "note"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := diagnose(failed(planning...), tc.note, tc.log)
			if got.Cause != tc.cause || !strings.Contains(got.Evidence, tc.evidence) || (tc.evidence == "") != (got.Evidence == "") || got.Source != tc.source {
				t.Errorf("%s because of %q in the %q, want %s because of %q in the %q", got.Cause, got.Evidence, got.Source, tc.cause, tc.evidence, tc.source)
			}
			if got.Phase != "PLANNING" || got.ApplyBegan {
				t.Errorf("failed in %s, apply began: %t", got.Phase, got.ApplyBegan)
			}
		})
	}
}

// Whose act failed a run decides before any text: who rejects a plan may quote
// what the plan was about.
func TestDiagnoseByWhoFailedIt(t *testing.T) {
	const quoted = "503 Service Unavailable is what this would cause"
	for _, tc := range []struct {
		name     string
		phases   []spacelift.RunState
		who      string
		note     string
		cause    policy.Cause
		evidence string
		byUs     bool
	}{
		{name: "nothing but a rejection fails a plan that waits", phases: append(planning[:5:5], "UNCONFIRMED"), cause: policy.CausePolicy, evidence: "UNCONFIRMED (5), then FAILED (6)"},
		{name: "a rejection that quotes trouble", phases: append(planning[:5:5], "UNCONFIRMED"), note: quoted, cause: policy.CausePolicy, evidence: "UNCONFIRMED (5), then FAILED (6): " + quoted},
		{name: "by a person", phases: append(planning[:5:5], "UNCONFIRMED"), who: "jane", note: quoted, cause: policy.CausePolicy, evidence: "UNCONFIRMED (5), then FAILED (6) by jane: " + quoted},
		{name: "of a preview", phases: append(planning[:5:5], "PENDING_REVIEW"), note: "no available workers", cause: policy.CausePolicy, evidence: "PENDING_REVIEW (5), then FAILED (6): no available workers"},
		{name: "through Gantry", phases: append(planning[:5:5], "UNCONFIRMED"), who: "api::01KEY", note: "Rejected through Gantry by jane: " + quoted + " [gantry: reject 5]", cause: policy.CausePolicy, evidence: "UNCONFIRMED (5), then FAILED (6) by api::01KEY: Rejected through Gantry by jane: " + quoted, byUs: true},
		{name: "in the queue", phases: planning[:1], note: "worker crashed", cause: policy.CausePolicy, evidence: "QUEUED (0), then FAILED (1): worker crashed"},
		{name: "killed by a person while it planned", phases: planning, who: "jane", note: "connection refused, I've seen enough", cause: policy.CausePolicy, evidence: "PLANNING (4), then FAILED (5) by jane: connection refused, I've seen enough"},
		{name: "the note may hold a secret", phases: planning, who: "jane", note: "password=hunter22", cause: policy.CausePolicy, evidence: "PLANNING (4), then FAILED (5) by jane: password=***"},

		{name: "inputs that are missing in the queue", phases: planning[:1], note: "job assignment failed: the following inputs are missing: vpc_id", cause: policy.CauseCode, evidence: "job assignment failed: the following inputs are missing: vpc_id"},
		{name: "trouble of a machine", phases: planning, note: "worker crashed", cause: policy.CauseTransient, evidence: "worker crashed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := failed(tc.phases...)
			end := &run.History[len(run.History)-1]
			end.Username, end.Note = tc.who, tc.note
			got := diagnose(run, tc.note, "Error: 503 Service Unavailable")
			if got.Cause != tc.cause || got.Evidence != tc.evidence || got.Actor != tc.who || got.ByUs != tc.byUs {
				t.Errorf("%s because of %q by %q (us: %t), want %s because of %q", got.Cause, got.Evidence, got.Actor, got.ByUs, tc.cause, tc.evidence)
			}
		})
	}
}

// Not knowing whether an apply began is knowing that it may have.
func TestApplyBegan(t *testing.T) {
	applied := append(planning[:5:5], "UNCONFIRMED", "CONFIRMED")
	hole := failed(planning...)
	hole.History = append(hole.History[:2:2], hole.History[3:]...)
	headless := failed(planning...)
	headless.History = headless.History[1:]
	short := failed(planning...)
	short.History = short.History[:5]
	for _, tc := range []struct {
		name string
		run  spacelift.Run
		want bool
	}{
		{"planning", failed(planning...), false},
		{"in the queue", failed("QUEUED"), false},
		{"unconfirmed", failed(append(planning[:5:5], "UNCONFIRMED")...), false},
		{"replanned", failed(append(planning[:5:5], "UNCONFIRMED", "REPLAN_REQUESTED", "PREPARING_REPLAN", "PLANNING")...), false},
		{"confirmed", failed(applied...), true},
		{"second hand-over", failed(append(applied, "PREPARING_APPLY")...), true},
		{"applying", failed(append(planning[:5:5], "APPLYING")...), true},
		{"a task", failed("QUEUED", "READY", "PREPARING", "INITIALIZING", "PERFORMING"), true},
		{"destroying", failed("QUEUED", "READY", "PREPARING", "INITIALIZING", "DESTROYING"), true},
		{"a state nobody knows", failed("QUEUED", "APPLYING_SOMEHOW"), true},
		{"no history", spacelift.Run{State: spacelift.RunStateFailed}, true},
		{"a hole in the history", hole, true},
		{"a history without its beginning", headless, true},
		{"a history without its end", short, true},
	} {
		if got := applyBegan(tc.run); got != tc.want {
			t.Errorf("%s: %t, want %t", tc.name, got, tc.want)
		}
	}
}

// The names of these are put together here, so that nobody's scanner takes the
// examples for the real thing.
func TestEvidenceHidesSecrets(t *testing.T) {
	for _, secret := range []string{
		"AKIA" + "IOSFODNN7EXAMPLE", "ghp_" + "0123456789abcdefABCDEF0123456789abcd", "glpat-" + "abcdefghij0123456789", "xoxb-" + "123456789012-abcdefghijkl",
		"eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEYabcdefgh",
		"d41d8cd98f00b204" + "e9800998ecf8427e",
	} {
		for _, line := range []string{"Error: bad key " + secret, secret, `{"x":"` + secret + `"}`, "https://host/path?x=" + secret + "&y=1"} {
			if got := diagnose(failed(planning...), line, "").Evidence; strings.Contains(got, secret) || !strings.Contains(got, "***") {
				t.Errorf("%q is quoted as %q", line, got)
			}
		}
	}
	for _, line := range []string{
		"Error: password = hunter22", `Error: {"password": "hunter22"}`, "Error: db_password: hunter22 is wrong", "Error: TF_VAR_api_key=hunter22", "Error: --token hunter22",
		"Error: Authorization: Bearer hunter22hunter22", "Error: postgres://admin:hunter22@db.example.com/x", "Error: client secret is \"hunter22\"",
	} {
		if got := diagnose(failed(planning...), line, "").Evidence; strings.Contains(got, "hunter22") || !strings.HasPrefix(got, "Error: ") {
			t.Errorf("%q is quoted as %q", line, got)
		}
	}
	plain := "Error: reading EC2 Subnet (subnet-0a1b2c3d): RequestID: 5e1f0c7c-8b7b-4c3e-9d1f-2a6b7c8d9e0f, ServiceUnavailable"
	if got := diagnose(failed(planning...), plain, "").Evidence; got != plain {
		t.Errorf("%q is quoted as %q", plain, got)
	}
}

// Whatever a log holds, evidence is short, readable and from it.
func FuzzDiagnose(f *testing.F) {
	f.Add("note", "Error: Unsupported argument")
	f.Add("", strings.Repeat("x", 5000)+" ThrottlingException "+strings.Repeat("ä", 500))
	f.Add("\xff\xfe\x1b[31m", "\x1b[")
	f.Fuzz(func(t *testing.T, note, log string) {
		d := diagnose(failed(planning...), note, log)
		if len(d.Evidence) > maxEvidence || !utf8.ValidString(d.Evidence) || strings.ContainsAny(d.Evidence, "\n\r\x1b\x00") {
			t.Errorf("evidence %q", d.Evidence)
		}
		if (d.Evidence == "") != (d.Source == "") {
			t.Errorf("evidence %q from %q", d.Evidence, d.Source)
		}
		if d.Cause != policy.CauseUnknown && d.Evidence == "" {
			t.Errorf("%s without evidence", d.Cause)
		}
	})
}
