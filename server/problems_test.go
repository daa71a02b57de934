package server_test

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/authority/issuertest"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/openapi/conformance"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// provoked has a request for each kind of problem but the refusals of executions.
var provoked = map[string]func(t *testing.T) *httptest.ResponseRecorder{
	"bad-request":     func(t *testing.T) *httptest.ResponseRecorder { return newRig(t).get("/v1/runs?stak=x", viewerToken) },
	"unauthenticated": func(t *testing.T) *httptest.ResponseRecorder { return newRig(t).get("/v1/runs", "wrong") },
	"forbidden":       func(t *testing.T) *httptest.ResponseRecorder { return newRig(t).post(viewerToken, decisions, approve) },
	"not-found":       func(t *testing.T) *httptest.ResponseRecorder { return newRig(t).get(runPath, viewerToken) },
	"method-not-allowed": func(t *testing.T) *httptest.ResponseRecorder {
		return newRig(t).send(http.MethodDelete, "/v1/runs", "", "Authorization", "Bearer "+viewerToken)
	},
	"body-too-large": func(t *testing.T) *httptest.ResponseRecorder {
		return newRig(t).post(approverToken, decisions, `{"note":"`+strings.Repeat("x", 200<<10)+`"}`)
	},
	"unmatched-freeze": func(t *testing.T) *httptest.ResponseRecorder {
		return withStacks(t, &account{}).post(operatorToken, freezes, `{"reason":"audit","stacks":["network-prod"]}`)
	},
	"unsupported-media-type": func(t *testing.T) *httptest.ResponseRecorder {
		return newRig(t).send(http.MethodPost, decisions, approve, "Authorization", "Bearer "+approverToken)
	},
	"signature-missing": func(t *testing.T) *httptest.ResponseRecorder {
		return newRig(t).send(http.MethodPost, "/webhook", "{}")
	},
	"sha1-only": func(t *testing.T) *httptest.ResponseRecorder {
		return newRig(t).send(http.MethodPost, "/webhook", "{}", spacelift.SignatureSHA1Header, "sha1=00")
	},
	"signature-malformed": func(t *testing.T) *httptest.ResponseRecorder {
		return newRig(t).send(http.MethodPost, "/webhook", "{}", spacelift.SignatureHeader, "none")
	},
	"signature-mismatch": func(t *testing.T) *httptest.ResponseRecorder { return newRig(t).deliver("guess", "{}") },
	"signature-of-other-account": func(t *testing.T) *httptest.ResponseRecorder {
		return newRig(t).deliver(globexSecret, example(t, "run_tracked_queued"))
	},
	"secret-header-mismatch": func(t *testing.T) *httptest.ResponseRecorder {
		return newRig(t, func(c *server.Config) {
			c.Accounts[0].SecretHeader, c.Accounts[0].SecretHeaderValue = "X-Gantry-Token", func() string { return "second" }
		}).deliver(acmeSecret, "{}")
	},
	"too-many-failures": func(t *testing.T) *httptest.ResponseRecorder {
		r := newRig(t, func(c *server.Config) { c.Refusals = server.RefusalLimit{PerSecond: 0.001, Burst: 1} })
		r.deliver("guess", "{}")
		return r.deliver("guess", "{}")
	},
	"not-stored": func(t *testing.T) *httptest.ResponseRecorder {
		r := newRig(t)
		_ = r.inbox.Close()
		return r.deliver(acmeSecret, example(t, "run_tracked_queued"))
	},
	"not-recorded": func(t *testing.T) *httptest.ResponseRecorder {
		r, full := auditRig(t)
		full.Store(true)
		r.post(approverToken, decisions, approve)
		return r.post(approverToken, decisions, approve)
	},
	"not-redeliverable": func(t *testing.T) *httptest.ResponseRecorder {
		r := newRig(t)
		return r.post(operatorToken, "/v1/deliveries/"+r.receipt("{}").Delivery+"/redeliveries", "")
	},
	"still-unreadable": func(t *testing.T) *httptest.ResponseRecorder {
		r := newRig(t)
		got := r.receipt(edited(t, func(b map[string]any) { b["stateVersion"] = "five" }))
		return r.post(operatorToken, "/v1/deliveries/"+got.Delivery+"/redeliveries", "")
	},
	"too-many-large-bodies": func(t *testing.T) (w *httptest.ResponseRecorder) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			leave := r.stall(8) // as many megabytes as one source may have in flight
			synctest.Wait()
			w = r.deliver(acmeSecret, sized(t, 6, 17<<10))
			leave()
		})
		return w
	},
	"replica-unavailable": func(t *testing.T) *httptest.ResponseRecorder {
		replicas := newReplicas(t, 2)
		replicas[1].http.Close()
		return replicas[0].get("/v1/deliveries/01KDX4A7B3C5D7E9F1G3H5J7K9", viewerToken)
	},
	"run-ended": func(t *testing.T) *httptest.ResponseRecorder {
		r := newRig(t)
		ended := asking()
		ended.Phase, ended.Outcome = managed.PhaseDone, "the plan was discarded by bob"
		r.temporal.set(ended)
		return r.post(approverToken, decisions, approve)
	},
	"chain-ended": func(t *testing.T) *httptest.ResponseRecorder {
		r := chainRig(t)
		r.temporal.update = nil
		done := aChain()
		done.Phase, done.Summary = chain.PhaseDone, "joe stopped the chain"
		r.temporal.chains["chain/acme/01ROOT"] = done
		return r.post(operatorToken, chainPath+"/stop", `{}`)
	},
	"not-failed": func(t *testing.T) *httptest.ResponseRecorder {
		r := newRig(t)
		r.temporal.set(asking())
		return r.post(operatorToken, retry, ``)
	},
	"retry-refused": func(t *testing.T) *httptest.ResponseRecorder {
		return failedRun(t, &managed.RetryRunOutcome{Reason: "a newer commit is there"}).post(operatorToken, retry, ``)
	},
	"trigger-refused": func(t *testing.T) *httptest.ResponseRecorder {
		return triggerRig(t, &managed.TriggerRunOutcome{Reason: "the stack is disabled"}).post(operatorToken, triggers, ``)
	},
	"already-retried": func(t *testing.T) *httptest.ResponseRecorder {
		r := failedRun(t, as(""))
		r.post(operatorToken, retry, ``)
		return r.post(operatorToken, retry, ``)
	},
	"temporal-unavailable": func(t *testing.T) *httptest.ResponseRecorder {
		r := newRig(t)
		r.temporal.err = serviceerror.NewUnavailable("down")
		return r.get(runPath, viewerToken)
	},
	"internal": func(t *testing.T) *httptest.ResponseRecorder {
		r := newRig(t)
		r.temporal.err = errors.New("nobody planned for this")
		return r.get(runPath, viewerToken)
	},
	"spacelift-refused": func(t *testing.T) *httptest.ResponseRecorder {
		return withStacks(t, &account{err: spacelift.ErrUnauthorized}).get("/v1/accounts/acme/stacks", viewerToken)
	},
	"cross-site": func(t *testing.T) *httptest.ResponseRecorder {
		b := newBrowser(t)
		b.signIn()
		return b.ask(http.MethodPost, decisions, approve)
	},
	"issuer-unavailable": func(t *testing.T) *httptest.ResponseRecorder {
		i := issuertest.New(t)
		token := i.Sign(map[string]any{"aud": "gantry"})
		i.Close()
		return newRig(t, trusts(i)).get("/v1/runs", token)
	},
	"spacelift-unavailable": func(t *testing.T) *httptest.ResponseRecorder {
		return withStacks(t, &account{err: errors.New("down")}).get("/v1/accounts/acme/stacks", viewerToken)
	},
	"unanswered": func(t *testing.T) (w *httptest.ResponseRecorder) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.temporal.update = func(client.UpdateWorkflowOptions) (any, error) { return nil, errNobodyWorks }
			w = r.post(approverToken, decisions, approve, keyed("k")...)
		})
		return w
	},
	"too-many-streams": func(t *testing.T) (w *httptest.ResponseRecorder) {
		inBubble(t, func(t *testing.T, r *rig) {
			for range 10 {
				defer r.follow().leave()
			}
			refused := r.follow()
			refused.over()
			answersAsDocumented(t, refused.req, refused.w)
			w = refused.w
		})
		return w
	},
}

// TestEveryProblemSaysTwoThings: the title of a problem says what kind it is, and
// its detail what is wrong with this request. Programs show both, one behind the
// other. Each answer is held against the contract, and with it against this.
func TestEveryProblemSaysTwoThings(t *testing.T) {
	kinds := map[string]bool{}
	saw := func(t *testing.T, w *httptest.ResponseRecorder) string {
		t.Helper()
		kind := strings.TrimPrefix(decode[api.Problem](t, w).Type, "urn:gantry:problem:")
		kinds[kind] = true
		return kind
	}
	for kind, provoke := range provoked {
		t.Run(kind, func(t *testing.T) {
			if got := saw(t, provoke(t)); got != kind {
				t.Errorf("it is answered as %s", got)
			}
		})
	}
	for errType, sentences := range sentencesOfRefusals(t) {
		t.Run(errType, func(t *testing.T) {
			for _, sentence := range sentences {
				r := newRig(t)
				r.temporal.update = func(client.UpdateWorkflowOptions) (any, error) {
					return nil, temporal.NewNonRetryableApplicationError(sentence, errType, nil)
				}
				saw(t, r.post(approverToken, decisions, approve))
			}
		})
	}
	manual, err := os.ReadFile("../docs/reference/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|").FindAllSubmatch(manual, -1) {
		listed = append(listed, string(m[1]))
	}
	slices.Sort(listed)
	if diff := cmp.Diff(listed, slices.Sorted(maps.Keys(kinds))); diff != "" {
		t.Errorf("problems (-listed in the manual +provoked here):\n%s", diff)
	}
}

// sentencesOfRefusals returns what executions say when they refuse, by the type of
// the refusal.
func sentencesOfRefusals(t *testing.T) map[string][]string {
	t.Helper()
	var files []string
	for _, folder := range []string{"../decide/*.go", "../decide/*/*.go", "../workflows/*.go"} {
		more, err := filepath.Glob(folder)
		if err != nil || len(more) == 0 {
			t.Fatal(folder, more, err)
		}
		files = append(files, more...)
	}
	var source strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") {
			source.Write(text)
		}
	}
	types := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(?:\t|const )(ErrType\w+)\s*= "(\w+)"`).FindAllStringSubmatch(source.String(), -1) {
		types[m[1]] = m[2]
	}
	sentences := map[string][]string{}
	for errType := range refusals {
		sentences[errType] = []string{"because of something else"}
	}
	for _, m := range regexp.MustCompile(`\(\s*(?:\w+\.)?(ErrType\w+),\s*"((?:[^"\\]|\\.)*)"`).FindAllStringSubmatch(source.String(), -1) {
		if _, refuses := refusals[types[m[1]]]; refuses {
			sentences[types[m[1]]] = append(sentences[types[m[1]]], regexp.MustCompile(`%[a-z]`).ReplaceAllString(m[2], "X"))
		}
	}
	if n := len(slices.Concat(slices.Collect(maps.Values(sentences))...)); n < 40 {
		t.Errorf("only %d sentences were found", n)
	}
	return sentences
}

func TestRepeatedTitles(t *testing.T) {
	for name, tt := range map[string]struct {
		title, detail string
		want          bool
	}{
		"the same":              {"The request does not fit the contract", "the request does not fit the contract; errors names each place", true},
		"in other order":        {"Method not allowed", "the method DELETE is not allowed; allowed: GET", true},
		"a cause twice":         {"Run has ended", "the run failed, and the cause is capacity (Error: no capacity): Error: no capacity", true},
		"the kind and the case": {"Method not allowed", "/v1/runs takes GET, HEAD", false},
		"a word of the title":   {"Run not stoppable", "Spacelift does not stop a run that is PREPARING", false},
	} {
		if got := conformance.SaysTwice(tt.title, tt.detail); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
