package activities

import (
	"regexp"
	"strings"

	"github.com/gantryhq/gantry/decide/policy"
)

// cause is a cause of failures with the text that shows it.
type cause struct {
	is    policy.Cause
	shows *regexp.Regexp
}

// byWeight orders the search for causes: first those that retrying can't fix.
var byWeight = []policy.Cause{
	policy.CausePolicy, policy.CauseCredentials, policy.CauseCode, policy.CauseCapacity, policy.CauseTransient,
}

// shown returns the pattern by which a line shows a cause, nil if it does not.
func shown(is policy.Cause, line string) *regexp.Regexp {
	for _, c := range causes {
		if c.is == is && c.shows.MatchString(line) {
			return c.shows
		}
	}
	return nil
}

// causes lists the texts that show causes. A quota that an operator must raise is
// not among them: waiting does not refill it.
//
// Terraform and OpenTofu word their errors alike; the texts are those of their
// sources (internal/configs, internal/terraform, internal/command/clistate).
var causes = []cause{
	// Assumption: how Spacelift words the note of a run that a plan or approval
	// policy failed is not documented; it can hardly do without these words.
	{policy.CausePolicy, words(
		`(plan|approval|access|push|trigger|initiali[sz]ation) polic(y|ies)`, `(denied|rejected|failed|blocked) by( a| the| your)? (\w+ )?polic(y|ies)`,
		`policy check(s)? failed`,
	)},

	// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
	// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
	{policy.CauseCredentials, words(
		`ExpiredToken(Exception)?`, `InvalidClientTokenId`, `UnrecognizedClientException`, `SignatureDoesNotMatch`, `InvalidAccessKeyId`,
		`AccessDenied(Exception)?`, `AuthFailure`, `UnauthorizedOperation`, `MissingAuthenticationToken`, `OptInRequired`,
	)},
	// https://cloud.google.com/apis/design/errors#handling_errors
	// https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors
	// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
	{policy.CauseCredentials, words(
		`PERMISSION_DENIED`, `UNAUTHENTICATED`, `invalid_grant`, `could not find default credentials`,
		`AuthorizationFailed`, `InvalidAuthenticationToken\w*`, `AADSTS\d+`,
		`no valid credential sources`, `failed to refresh cached credentials`, `error configuring .*credentials`,
	)},
	// https://git-scm.com/docs/git-credential, ssh(1), and RFC 9110's phrase.
	{policy.CauseCredentials, words(
		`authentication failed for`, `could not read (username|password) for`, `permission denied \(publickey`, `401 unauthorized`,
	)},

	// https://developer.hashicorp.com/terraform/language/syntax/configuration
	{policy.CauseCode, words(
		`(un)?supported (argument|attribute|block type)`, `missing required (argument|provider|variable)`, `reference to undeclared`,
		`invalid (reference|expression|template|value for|function argument|index|count argument|for_each argument|resource type|provider configuration)`,
		`argument or block definition required`, `duplicate (resource|variable|provider|output|module|data)\b.*`, `no value for required variable`,
		`module not (installed|found)`, `unreadable module directory`, `inconsistent dependency lock file`, `invalid legacy provider address`,
		`error: cycle`, `no available releases match`, `unsupported terraform core version`, `resource precondition failed`, `check block assertion failed`,
	)},
	// https://docs.spacelift.io/concepts/stack/stack-dependencies: an output that
	// no run has made yet.
	{policy.CauseCode, words(`the following inputs are missing`)},
	// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html,
	// what the caller sent.
	{policy.CauseCode, words(
		`InvalidParameter(Value|Combination|Exception)?`, `ValidationE(rror|xception)`, `MalformedPolicyDocument(Exception)?`, `MissingParameter`,
		`(Entity|Bucket|Resource)Already(Exists|OwnedByYou)(Exception)?`, `INVALID_ARGUMENT`, `ALREADY_EXISTS`,
	)},

	// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/throttling.html
	// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
	{policy.CauseCapacity, words(
		`Throttling(Exception)?`, `ThrottledException`, `RequestLimitExceeded`, `RequestThrottled(Exception)?`, `TooManyRequests(Exception)?`, `SlowDown`,
		`ProvisionedThroughputExceeded(Exception)?`, `Insufficient(Instance|Host|Volume|Address)?Capacity\w*`, `rate exceeded`,
	)},
	// https://cloud.google.com/apis/design/errors#handling_errors
	// https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-vm-creation
	// https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/allocation-failure
	// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
	// and RFC 6585's phrase.
	{policy.CauseCapacity, words(
		`RESOURCE_EXHAUSTED`, `rateLimitExceeded`, `userRateLimitExceeded`, `ZONE_RESOURCE_POOL_EXHAUSTED\w*`, `AllocationFailed`, `ZonalAllocationFailed`,
		`rate limit exceeded`, `429 too many requests`,
	)},
	// Assumption: how Spacelift words that it had no worker is not documented.
	{policy.CauseCapacity, words(`no (available |free |idle )?workers?( is| are)?( available)?`, `worker pool (is )?(exhausted|full|at capacity)`)},

	// A lock that another run holds and returns:
	// https://developer.hashicorp.com/terraform/language/state/locking
	{policy.CauseTransient, words(`error acquiring the state lock`)},
	// Network errors in the words of Go's net, net/http and golang.org/x/net/http2:
	// most tools that run here are written in Go.
	{policy.CauseTransient, words(
		`connection (refused|reset by peer|timed out)`, `i/o timeout`, `TLS handshake timeout`, `no route to host`, `network is unreachable`,
		`temporary failure in name resolution`, `server misbehaving`, `unexpected EOF`, `broken pipe`, `http2: (client connection lost|server sent GOAWAY).*`,
		`Client\.Timeout exceeded while awaiting headers`, `context deadline exceeded`,
	)},
	// A server in trouble: RFC 9110's phrases, AWS's and Google's names for it,
	// and the registry of providers.
	{policy.CauseTransient, words(
		`500 internal server error`, `502 bad gateway`, `503 service unavailable`, `504 gateway time-?out`, `StatusCode: 50[0234]`,
		`ServiceUnavailable(Exception)?`, `InternalE(rror|rrorException|xception)`, `InternalServerE(rror|xception)`, `RequestTimeout(Exception)?`,
		`code = Unavailable`, `backendError`, `could not connect to registry`, `failed to (download|install) provider`,
	)},
	// Assumption: how Spacelift words that a worker was lost is not documented.
	{policy.CauseTransient, words(`worker (crashed|died|was lost|disappeared|lost connection|stopped responding)`, `lost connection to (the )?worker`)},
}

// words matches any of some wordings, as whole words and in any case.
func words(any ...string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:^|[^\w-])(?:` + strings.Join(any, "|") + `)(?:[^\w-]|$)`)
}
