package spaceliftapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// read and mutate are one call of each kind, for rules that differ between them.
func read(ctx context.Context, c *spaceliftapi.Client) error {
	_, err := c.Viewer(ctx)
	return err
}

func mutate(ctx context.Context, c *spaceliftapi.Client) error {
	_, err := c.ConfirmRun(ctx, testRun, "")
	return err
}

func good(r request) reply {
	if r.Operation == "Viewer" {
		return data(me)
	}
	return data(confirmed)
}

func TestWhatIsRepeated(t *testing.T) {
	for _, c := range []struct {
		name     string
		trouble  reply // once, then all is well
		read     int   // requests for a read that succeeds; negative when it fails
		mutation int   // likewise: never more than one, whatever the trouble
	}{
		{"502", reply{status: http.StatusBadGateway, body: "<html>"}, 2, -1},
		{"500 with GraphQL errors", reply{status: http.StatusInternalServerError, body: refusal("oops").body}, 2, -1},
		{"408", reply{status: http.StatusRequestTimeout}, 2, -1},
		{"401", reply{status: http.StatusUnauthorized}, 2, -1},
		{"429", reply{status: http.StatusTooManyRequests}, 2, -1},
		{"429 with a date", reply{status: http.StatusTooManyRequests, header: map[string]string{"Retry-After": "Sat, 01 Jan 2000 00:00:02 GMT"}}, 2, -1},
		{"rate limit as a GraphQL error", refusal("rate limit exceeded"), 2, -1},
		{"internal GraphQL error", refusal("internal server error"), 2, -1},
		{"cut off", reply{body: `{"data":{"vie`}, 2, -1},
		{"neither data nor errors", reply{body: `{}`}, 2, -1},
		{"HTML with 200", reply{body: "<html>maintenance</html>"}, 2, -1},
		{"404", reply{status: http.StatusNotFound, body: "<html>"}, -1, -1},
		{"302", reply{status: http.StatusFound, header: map[string]string{"Location": "/login"}}, -1, -1},
		{"403", reply{status: http.StatusForbidden, body: "<html>"}, -1, -1},
		{"400", reply{status: http.StatusBadRequest, body: refusal("Cannot query field \"x\"").body}, -1, -1},
		{"a refusal", refusal("run is not in an unconfirmed state"), -1, -1},
	} {
		for kind, call := range map[string]func(context.Context, *spaceliftapi.Client) error{"read": read, "mutation": mutate} {
			t.Run(c.name+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := &api{t: t, answer: func(r request) reply {
						if r.n == 0 {
							return c.trouble
						}
						return good(r)
					}}
					want := c.read
					if kind == "mutation" {
						want = c.mutation
					}
					err := call(t.Context(), newClient(t, a))
					if (err == nil) != (want > 0) {
						t.Errorf("got error %v, want success: %t", err, want > 0)
					}
					if got := len(a.seen()); got != max(want, -want) {
						t.Errorf("%d requests, want %d", got, max(want, -want))
					}
				})
			})
		}
	}
}

func TestAnUnclearMutationIsAmbiguousAndSentOnce(t *testing.T) {
	partly := `{"data":{"runConfirm":null},"errors":[{"message":"unauthorized","path":["runConfirm","state"]}]}`
	for _, c := range []struct {
		name   string
		answer reply
		want   bool
	}{
		{"502", reply{status: http.StatusBadGateway}, true},
		{"504 with Retry-After", reply{status: http.StatusGatewayTimeout, header: map[string]string{"Retry-After": "1"}}, true},
		{"internal GraphQL error", refusal("internal error"), true},
		{"answer cut off", reply{body: `{"data":{`}, true},
		{"answered with nothing", data(`{"runConfirm":null}`), true},
		{"answered with another run", data(`{"runConfirm":{"id":"01OTHER","type":"TRACKED","state":"CONFIRMED"}}`), true},
		{"answered in another type", data(`{"runConfirm":{"id":7}}`), true},
		{"done, but a field of the answer failed", reply{body: partly}, true},
		{"done, with an error beside", reply{body: `{"data":` + confirmed + `,"errors":[{"message":"unauthorized"}]}`}, true},
		{"refused", reply{body: `{"data":{"runConfirm":null},"errors":[{"message":"invalid","path":["runConfirm"]}]}`}, false},
		{"refused by validation", reply{status: http.StatusUnprocessableEntity, body: `{"errors":[{"message":"Unknown type \"X\"."}]}`}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &api{t: t, answer: func(request) reply { return c.answer }}
			err := mutate(t.Context(), newClient(t, a))
			if err == nil || errors.Is(err, spacelift.ErrAmbiguous) != c.want {
				t.Errorf("got %v, want ErrAmbiguous: %t", err, c.want)
			}
			wantSeen(t, a, "RunConfirm")
		})
	}
}

func TestTimeoutAfterSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{t: t, answer: func(r request) reply {
			if r.n == 0 {
				<-time.After(time.Minute) // fake time
			}
			return good(r)
		}}
		client := newClient(t, a, func(c *spaceliftapi.Config) { c.Timeout = 10 * time.Second })

		began := time.Now()
		if err := mutate(t.Context(), client); !errors.Is(err, spacelift.ErrAmbiguous) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("mutation: %v, want ErrAmbiguous for a timeout", err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("mutation took %s, want the timeout", took)
		}
		wantSeen(t, a, "RunConfirm")

		if err := read(t.Context(), client); err != nil {
			t.Errorf("read: %v, want the second attempt's success", err)
		}
		<-time.After(2 * time.Minute) // let the slow answers end
	})
}

func TestConnectionLostAfterSending(t *testing.T) {
	a := &api{t: t, answer: good}
	var confirms atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			a.ServeHTTP(w, r)
			return
		}
		confirms.Add(1)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}))
	defer server.Close()
	client := newClient(t, nil, func(c *spaceliftapi.Config) { c.Endpoint = server.URL })
	if err := mutate(t.Context(), client); !errors.Is(err, spacelift.ErrAmbiguous) {
		t.Errorf("got %v, want ErrAmbiguous", err)
	}
	if n := confirms.Load(); n != 1 {
		t.Errorf("%d mutations came, want 1", n)
	}
}

func TestRefusedConnectionHarmsNoMutation(t *testing.T) {
	a := &api{t: t, answer: good}
	server := httptest.NewServer(a)
	defer server.Close()
	var dials atomic.Int32
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			// The first connection serves the exchange, the second is refused.
			if dials.Add(1) == 2 {
				return nil, errors.New("connection refused")
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	}
	client := newClient(t, transport, func(c *spaceliftapi.Config) { c.Endpoint = server.URL })
	if err := mutate(t.Context(), client); err == nil || errors.Is(err, spacelift.ErrAmbiguous) {
		t.Errorf("got %v, want a plain error: nothing happened", err)
	}
	if err := mutate(t.Context(), client); err != nil {
		t.Errorf("got %v from the third connection", err)
	}
	wantSeen(t, a, "RunConfirm")
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTransportsThatDoNotTrace(t *testing.T) {
	for _, c := range []struct {
		name      string
		err       error
		ambiguous bool
	}{
		{"dialling failed", &net.OpError{Op: "dial", Err: errors.New("no route to host")}, false},
		{"anything else", errors.New("unexpected EOF"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &api{t: t}
				client := newClient(t, transportFunc(func(r *http.Request) (*http.Response, error) {
					if r.Header.Get("Authorization") == "" {
						return a.RoundTrip(r)
					}
					return nil, c.err
				}))
				err := mutate(t.Context(), client)
				if err == nil || errors.Is(err, spacelift.ErrAmbiguous) != c.ambiguous {
					t.Errorf("got %v, want ErrAmbiguous: %t", err, c.ambiguous)
				}
			})
		})
	}
}

func TestRetryAfterIsObserved(t *testing.T) {
	for _, c := range []struct {
		seconds   string
		call      func(context.Context, *spaceliftapi.Client) error
		wait      time.Duration // 0: passed on instead
		passedOn  time.Duration
		happening string
	}{
		{"3", read, 3 * time.Second, 0, "a short one is waited out"},
		{"90", read, 0, 90 * time.Second, "a long one is the caller's to wait for"},
		{"3", mutate, 0, 3 * time.Second, "who sends a mutation again checks first"},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &api{t: t, answer: func(r request) reply {
				if r.n == 0 {
					return reply{status: http.StatusTooManyRequests, header: map[string]string{"Retry-After": c.seconds}}
				}
				return good(r)
			}}
			began := time.Now()
			err := c.call(t.Context(), newClient(t, a))
			if took := time.Since(began); took != c.wait {
				t.Errorf("took %s, want %s: %s", took, c.wait, c.happening)
			}
			limited, _ := errors.AsType[*spacelift.RateLimitedError](err)
			if (limited != nil) != (c.passedOn > 0) || limited != nil && limited.RetryAfter != c.passedOn {
				t.Errorf("got %v, want RetryAfter %s: %s", err, c.passedOn, c.happening)
			}
			if errors.Is(err, spacelift.ErrAmbiguous) {
				t.Errorf("a rate limit is not ambiguous: %v", err)
			}
		})
	}
}

func TestNoAttemptBeginsThatTheDeadlineForbids(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{t: t, answer: func(request) reply { return reply{status: http.StatusServiceUnavailable} }}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		err := read(ctx, newClient(t, a))
		if err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("got %v, want Spacelift's last answer", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("waited %s for an attempt that could not begin", took)
		}
	})
}

func TestTroubleIsGivenUpAfterThreeAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{t: t, answer: func(request) reply { return reply{status: http.StatusBadGateway} }}
		began := time.Now()
		if err := read(t.Context(), newClient(t, a)); err == nil {
			t.Error("no error")
		}
		wantSeen(t, a, "Viewer", "Viewer", "Viewer")
		if took := time.Since(began); took < 300*time.Millisecond || took > time.Second {
			t.Errorf("took %s, want pauses of about a quarter and half a second", took)
		}
	})
}

func TestLeavingDuringAPauseEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		a := &api{t: t, answer: func(request) reply {
			time.AfterFunc(50*time.Millisecond, leave)
			return reply{status: http.StatusTooManyRequests}
		}}
		if err := read(ctx, newClient(t, a)); err == nil {
			t.Error("no error")
		}
		wantSeen(t, a, "Viewer")
	})
}

// Whatever the answer, a confirmation counts only when the answer proves it, and
// is sent once.
func FuzzAnswers(f *testing.F) {
	f.Add(200, `{"data":`+confirmed+`}`)
	f.Add(200, `{"data":`+confirmed+`,"errors":[{"message":"x"}]}`)
	f.Add(200, `{"data":{"runConfirm":null},"errors":[{"message":"internal error","path":["runConfirm",0,"state"]}]}`)
	f.Add(200, `{"data":null,"errors":[{"message":"not found","extensions":{"a":["b"]}}]}`)
	f.Add(422, `{"errors":[{"message":"Unknown type"}]}`)
	f.Add(502, `<html>`)
	f.Add(302, ``)
	f.Add(200, `{"data":{"runConfirm":{"id":7}}}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return
		}
		a := &api{t: t, answer: func(r request) reply {
			if r.Operation == "Viewer" {
				return data(me)
			}
			return reply{status: status, body: body}
		}}
		err := mutate(t.Context(), newClient(t, a))
		if err == nil && (status >= 300 || !says(body, testRun.Run)) {
			t.Fatalf("HTTP %d %q is taken for a confirmation", status, body)
		}
		confirms := 0
		for _, operation := range a.seen() {
			if operation == "RunConfirm" {
				confirms++
			}
		}
		if confirms != 1 {
			t.Fatalf("sent %d times: %v", confirms, err)
		}
	})
}

// says reports whether a body confirms the run and nothing else.
func says(body string, run spacelift.RunID) bool {
	var answer struct {
		Data   struct{ RunConfirm struct{ ID spacelift.RunID } }
		Errors []any
	}
	return json.Unmarshal([]byte(body), &answer) == nil && answer.Data.RunConfirm.ID == run && len(answer.Errors) == 0
}
