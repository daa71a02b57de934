package spaceliftapi_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

const (
	me        = `{"viewer":{"id":"api::01KDWKEY000000000000000001","name":"gantry","admin":false}}`
	confirmed = `{"runConfirm":{"id":"01KDX3V4T8Q2M5N7P9R1S3T5V7","type":"TRACKED","state":"CONFIRMED"}}`
)

func TestManyCallersShareOneSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{t: t, answer: func(request) reply { return data(me) }}
		a.exchange = func(n int, _, _ string) reply {
			<-time.After(time.Second) // fake time: everybody arrives meanwhile
			return a.jwt(n)
		}
		client := newClient(t, a)
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if _, err := client.Viewer(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if n := a.exchanged(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
	})
}

func TestACanceledCallerDoesNotCancelTheExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{t: t, answer: func(request) reply { return data(me) }}
		a.exchange = func(n int, _, _ string) reply {
			<-time.After(10 * time.Second)
			return a.jwt(n)
		}
		client := newClient(t, a)
		hurried, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		var callers sync.WaitGroup
		callers.Go(func() {
			if _, err := client.Viewer(hurried); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the hurried caller got %v", err)
			}
		})
		synctest.Wait() // the exchange is under way, and the hurried caller's
		callers.Go(func() {
			if _, err := client.Viewer(t.Context()); err != nil {
				t.Errorf("the patient caller got %v", err)
			}
		})
		callers.Wait()
		if n := a.exchanged(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
	})
}

func TestTokenIsRenewedBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{t: t, answer: func(request) reply { return data(me) }}
		client := newClient(t, a)
		tokenAfter := func(wait time.Duration) int {
			t.Helper()
			<-time.After(wait)
			if _, err := client.Viewer(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return a.last().token()
		}
		for _, step := range []struct {
			wait time.Duration
			want int
			why  string
		}{
			{0, 1, "the first call signs in"},
			{59 * time.Minute, 1, "the token is good"},
			{40 * time.Second, 1, "20 s before its end the old token still serves, and the renewal begins"},
			{time.Second, 2, "the new token is there"},
			{2 * time.Hour, 3, "after its end, a call waits for a new one"},
		} {
			if got := tokenAfter(step.wait); got != step.want {
				t.Errorf("token %d, want %d: %s", got, step.want, step.why)
			}
		}
	})
}

func TestOldTokenIsUsedWhileRenewingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{t: t, answer: func(request) reply { return data(me) }}
		a.exchange = func(n int, _, _ string) reply {
			if n > 1 {
				return reply{status: http.StatusBadGateway}
			}
			return a.jwt(n)
		}
		client := newClient(t, a)
		for _, wait := range []time.Duration{0, time.Hour - 25*time.Second, 10 * time.Second, 10 * time.Second} {
			<-time.After(wait)
			if _, err := client.Viewer(t.Context()); err != nil {
				t.Fatalf("after %s: %v", wait, err)
			}
			synctest.Wait()
		}
		<-time.After(time.Minute)
		if _, err := client.Viewer(t.Context()); err == nil || !strings.Contains(err.Error(), "502") {
			t.Errorf("without a token: %v, want the 502 of the exchange", err)
		}
	})
}

// A refused mutation did not happen. Its caller checks its preconditions again,
// and the next mutation uses another token.
func TestAMutationWithARefusedTokenIsItsCallersToRepeat(t *testing.T) {
	for _, c := range []struct {
		name    string
		refused reply
		want    []string
	}{
		{"HTTP 200", recorded(t, "graphql_error_unauthorized"), []string{"RunConfirm", "Viewer"}},
		{"HTTP 401", reply{status: http.StatusUnauthorized, body: "no"}, []string{"RunConfirm"}},
		{"HTTP 401 with a GraphQL error", reply{status: http.StatusUnauthorized, body: refusal("unauthorized").body}, []string{"RunConfirm"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &api{t: t}
			a.answer = func(r request) reply {
				switch {
				case r.token() == 1:
					return c.refused
				case r.Operation == "Viewer":
					return data(me)
				}
				return data(confirmed)
			}
			client := newClient(t, a)
			err := mutate(t.Context(), client)
			if !errors.Is(err, spacelift.ErrTokenRefused) || errors.Is(err, spacelift.ErrUnauthorized) || errors.Is(err, spacelift.ErrAmbiguous) {
				t.Errorf("got %v, want ErrTokenRefused alone", err)
			}
			wantSeen(t, a, c.want...)
			if err := errors.Join(read(t.Context(), client), mutate(t.Context(), client)); err != nil {
				t.Errorf("with a new token: %v", err)
			}
			if n := a.exchanged(); n != 2 {
				t.Errorf("%d exchanges, want 2", n)
			}
		})
	}
}

// A key without the right to confirm is refused with every token.
func TestAForbiddenMutationIsFinal(t *testing.T) {
	for _, refused := range []reply{refusal("unauthorized"), {status: http.StatusUnauthorized}} {
		a := &api{t: t, answer: func(r request) reply {
			if r.Operation == "Viewer" {
				return data(me)
			}
			return refused
		}}
		client := newClient(t, a)
		err := mutate(t.Context(), client)
		if errors.Is(err, spacelift.ErrTokenRefused) { // HTTP 401 is about the token at first
			err = mutate(t.Context(), client)
		}
		if !errors.Is(err, spacelift.ErrForbidden) {
			t.Errorf("got %v, want ErrForbidden", err)
		}
		if n := a.exchanged(); n > 2 {
			t.Errorf("%d exchanges", n)
		}
	}
}

func TestAReadIsRepeatedWithANewToken(t *testing.T) {
	for _, refused := range []reply{recorded(t, "graphql_error_unauthorized"), {status: http.StatusUnauthorized, body: "no"}} {
		a := &api{t: t}
		a.answer = func(r request) reply {
			if r.token() == 1 {
				return refused
			}
			return data(me)
		}
		if err := read(t.Context(), newClient(t, a)); err != nil {
			t.Error(err)
		}
		if n := a.exchanged(); n != 2 {
			t.Errorf("%d exchanges, want 2", n)
		}
	}
}

func TestUnauthorizedWithEveryToken(t *testing.T) {
	for _, refused := range []reply{refusal("unauthorized"), {status: http.StatusUnauthorized}} {
		a := &api{t: t, answer: func(request) reply { return refused }}
		_, err := newClient(t, a).Run(t.Context(), testRun)
		if !errors.Is(err, spacelift.ErrUnauthorized) || errors.Is(err, spacelift.ErrForbidden) {
			t.Errorf("got %v, want ErrUnauthorized alone", err)
		}
		if n := a.exchanged(); n != 2 {
			t.Errorf("%d exchanges, want 2", n)
		}
	}
}

func TestForbiddenIsNotABadToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{t: t, answer: func(r request) reply {
			if r.Operation == "Viewer" {
				return data(me)
			}
			return refusal("unauthorized")
		}}
		client := newClient(t, a)
		read := func(wantExchanges int, why string) {
			t.Helper()
			_, err := client.Run(t.Context(), testRun)
			if !errors.Is(err, spacelift.ErrForbidden) || !errors.Is(err, spacelift.ErrUnauthorized) {
				t.Errorf("got %v, want ErrForbidden", err)
			}
			if n := a.exchanged(); n != wantExchanges {
				t.Errorf("%d exchanges, want %d: %s", n, wantExchanges, why)
			}
		}
		read(1, "the token is new: another one would not help")
		read(1, "still")
		<-time.After(2 * time.Minute)
		read(2, "rights may have been granted since: a new token might carry them")
		read(2, "but not with every call")
	})
}

func TestARefusedKeyIsUnauthorizedWhateverTheWords(t *testing.T) {
	for _, refused := range []reply{
		refusal("unauthorized"),
		refusal("API key not found"),
		refusal("could not verify the secret"),
		{status: http.StatusUnauthorized},
		{status: http.StatusForbidden},
		data(`{"apiKeyUser":null}`),
	} {
		a := &api{t: t, exchange: func(int, string, string) reply { return refused }}
		_, err := newClient(t, a).Run(t.Context(), testRun)
		if !errors.Is(err, spacelift.ErrUnauthorized) {
			t.Errorf("%+v: got %v, want ErrUnauthorized", refused, err)
		}
		if errors.Is(err, spacelift.ErrNotFound) {
			t.Errorf("%+v: a refused key looks like a missing run: %v", refused, err)
		}
		if err != nil && strings.Contains(err.Error(), testKey.Secret) {
			t.Errorf("the secret is in %q", err)
		}
		wantSeen(t, a)
	}
}

func TestKeyFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	files := spaceliftapi.FileCredentials{IDFile: filepath.Join(dir, "id"), SecretFile: filepath.Join(dir, "secret")}
	write := func(id, secret string) {
		t.Helper()
		for file, word := range map[string]string{files.IDFile: id, files.SecretFile: secret} {
			if err := os.WriteFile(file, []byte(word+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	var signedInAs []string
	a := &api{t: t, answer: func(request) reply { return data(me) }}
	a.exchange = func(n int, id, secret string) reply {
		signedInAs = append(signedInAs, id+" "+secret)
		return a.jwt(n)
	}
	client := newClient(t, a, func(c *spaceliftapi.Config) { c.Credentials = files })
	call := func() error {
		_, err := client.Viewer(t.Context())
		return err
	}

	if err := call(); err == nil || !strings.Contains(err.Error(), files.IDFile) {
		t.Errorf("without a file: %v, want its name", err)
	}
	write("key-a", "one")
	if err := errors.Join(call(), call()); err != nil {
		t.Fatal(err)
	}
	write("key-a", "two")
	if err := errors.Join(call(), call()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files.SecretFile); err != nil {
		t.Fatal(err)
	}
	if err := call(); err != nil {
		t.Errorf("while the file is being replaced: %v", err)
	}
	if got, want := strings.Join(signedInAs, ", "), "key-a one, key-a two"; got != want {
		t.Errorf("signed in as %s, want %s", got, want)
	}
}

func TestRacingRefreshes(t *testing.T) {
	// Every token is refused after a few uses, by 30 concurrent callers: each call
	// must still succeed, without a new token for each.
	var mu sync.Mutex
	uses := map[int]int{}
	a := &api{t: t}
	a.answer = func(r request) reply {
		mu.Lock()
		defer mu.Unlock()
		if uses[r.token()]++; r.token()%2 == 1 && uses[r.token()] > 10 {
			return reply{status: http.StatusUnauthorized}
		}
		return data(me)
	}
	client := newClient(t, a)
	var callers sync.WaitGroup
	for range 30 {
		callers.Go(func() {
			for range 5 {
				if _, err := client.Viewer(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if n := a.exchanged(); n != 2 {
		t.Errorf("%d exchanges, want 2", n)
	}
}
