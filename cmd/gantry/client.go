package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/client"
)

// remote is how the commands for people find a Gantry: --url and a token.
type remote struct{ url, tokenFile, output *string }

// remoteFlags adds the flags that every command which asks a Gantry has.
func remoteFlags(parent *cobra.Command) *remote {
	flags := parent.PersistentFlags()
	r := &remote{
		url:       flags.String("url", "", "address of Gantry (GANTRY_URL; default "+defaultURL+")"),
		tokenFile: flags.String("token-file", "", "file that holds the token (GANTRY_TOKEN_FILE, or GANTRY_TOKEN for the token itself)"),
		output:    flags.StringP("output", "o", "table", "table or json"),
	}
	complete(parent, "output", "table", "json")
	return r
}

// defaultURL is where `gantry serve` listens unless it is told otherwise.
const defaultURL = "http://127.0.0.1:8080"

// askTimeout bounds one request. It is longer than Gantry itself waits for an
// execution, so that it is Gantry who says that there is no answer.
const askTimeout = 45 * time.Second

// session is one command's talk with a Gantry.
type session struct {
	*client.Client
	out, err io.Writer
	json     bool
}

// connect prepares a talk with Gantry; it sends nothing yet.
func (r *remote) connect(cmd *cobra.Command) (*session, error) {
	s := &session{out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), json: *r.output == "json"}
	if *r.output != "json" && *r.output != "table" {
		return nil, fmt.Errorf("--output: %q is neither table nor json", *r.output)
	}
	address := cmp.Or(*r.url, os.Getenv("GANTRY_URL"), defaultURL)
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("--url: %q is not an address such as https://gantry.example.com", address)
	}
	token, err := r.token()
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" && !near(u) {
		fmt.Fprintf(s.err, "gantry: %s is not https: the token travels in the clear\n", address)
	}
	s.Client, err = client.NewClient(strings.TrimSuffix(address, "/"),
		client.WithHTTPClient(&http.Client{CheckRedirect: direct.CheckRedirect}),
		client.WithRequestEditorFn(func(_ context.Context, req *http.Request) error {
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("User-Agent", "gantry/"+version)
			return nil
		}))
	if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	return s, nil
}

// token reads the token. It is no flag: other users of a machine see those.
func (r *remote) token() (string, error) {
	file := cmp.Or(*r.tokenFile, os.Getenv("GANTRY_TOKEN_FILE"))
	given := os.Getenv("GANTRY_TOKEN")
	switch {
	case *r.tokenFile == "" && file != "" && given != "":
		return "", errors.New("both GANTRY_TOKEN and GANTRY_TOKEN_FILE are set: unset one")
	case file == "" && given == "":
		return "", errors.New("no token: set GANTRY_TOKEN or GANTRY_TOKEN_FILE; an administrator makes one with gantry token create")
	case file == "":
		return strings.TrimSpace(given), nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

// problemError is an error that Gantry answered with.
type problemError struct {
	api.Problem
	retryAfter time.Duration
}

func (e *problemError) Error() string {
	var b strings.Builder
	b.WriteString(clean(e.Title))
	if e.Detail != nil {
		b.WriteString(": " + clean(*e.Detail))
	}
	for _, place := range e.Errors {
		where := cmp.Or(deref(place.Parameter), deref(place.Pointer))
		fmt.Fprintf(&b, "\n  %s: %s", clean(cmp.Or(where, "request")), clean(place.Detail))
	}
	return b.String()
}

// is reports whether the problem is of a kind.
func (e *problemError) is(kind string) bool { return e.Type == "urn:gantry:problem:"+kind }

// maxResponse bounds what is read of an answer; a run with its timeline has a
// few hundred KB at most.
const maxResponse = 32 << 20

// answerOf reads an answer: what was asked for, or an error with the problem.
func answerOf[T any](response *http.Response, err error) (T, error) {
	var answer T
	if err != nil {
		return answer, notReached(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err != nil {
		return answer, fmt.Errorf("read Gantry's answer: %w", err)
	}
	if response.StatusCode/100 == 2 {
		if err := json.Unmarshal(body, &answer); err != nil {
			return answer, notGantry(response)
		}
		return answer, nil
	}
	return answer, problemIn(response, body)
}

// problemIn is the error of an answer that is none.
func problemIn(response *http.Response, body []byte) error {
	p := &problemError{}
	if json.Unmarshal(body, &p.Problem) != nil || !strings.HasPrefix(p.Type, "urn:gantry:") {
		return notGantry(response)
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		p.retryAfter = time.Duration(seconds) * time.Second
	}
	if p.Status >= 400 && p.Status < 500 && p.Status != http.StatusTooManyRequests {
		return &exitError{exitRefused, p}
	}
	return p
}

// notReached is the error of a request without an answer. Who is not there may be
// elsewhere.
func notReached(err error) error {
	if _, unanswered := errors.AsType[*url.Error](err); unanswered && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("ask Gantry: %w; is Gantry there, and are --url and GANTRY_URL right?", err)
	}
	return fmt.Errorf("ask Gantry: %w", err)
}

func notGantry(response *http.Response) error {
	return fmt.Errorf("%s answers %s, and nothing Gantry would say: is --url right?", response.Request.URL.Host, response.Status)
}

// ask sends a question and reads its answer.
func ask[T any](ctx context.Context, send func(context.Context) (*http.Response, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	response, err := send(ctx) //nolint:bodyclose // answerOf closes it
	return answerOf[T](response, err)
}

// changePatience is how long a change is sent again that may have counted.
const changePatience = 2 * time.Minute

// change sends a change under a key of its own, and sends it again while nobody
// knows whether it counted: under its key it counts once.
func change[T any](ctx context.Context, s *session, send func(ctx context.Context, key *string) (*http.Response, error)) (T, error) {
	return changeUnder[T](ctx, s, rand.Text(), send)
}

// changeUnder is change under a key that the caller chose.
func changeUnder[T any](ctx context.Context, s *session, key string, send func(ctx context.Context, key *string) (*http.Response, error)) (T, error) {
	giveUp := time.Now().Add(changePatience)
	for {
		answer, err := ask[T](ctx, func(ctx context.Context) (*http.Response, error) { return send(ctx, &key) })
		after, again := mayHaveCounted(err)
		if !again || time.Now().Add(after).After(giveUp) || ctx.Err() != nil {
			return answer, err
		}
		fmt.Fprintf(s.err, "gantry: no answer yet; sending it again (it counts once)\n")
		if err := pause(ctx, after); err != nil {
			return answer, err
		}
	}
}

// mayHaveCounted reports whether a change was sent without an answer, and when
// to send it again. A connection that was never made carried nothing.
func mayHaveCounted(err error) (after time.Duration, may bool) {
	if p, ok := errors.AsType[*problemError](err); ok {
		return max(p.retryAfter, time.Second), p.is("unanswered")
	}
	e, ok := errors.AsType[*url.Error](err)
	if op, dialing := errors.AsType[*net.OpError](err); !ok || dialing && op.Op == "dial" {
		return 0, false
	}
	return time.Second, e.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// theAccount returns the account that is meant: the one named, or the only one
// that Gantry serves.
func (s *session) theAccount(ctx context.Context, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	list, err := ask[api.AccountList](ctx, func(ctx context.Context) (*http.Response, error) { return s.ListAccounts(ctx) })
	if err != nil {
		return "", err
	}
	if len(list.Accounts) == 1 {
		return list.Accounts[0].Name, nil
	}
	names := make([]string, len(list.Accounts))
	for i, a := range list.Accounts {
		names[i] = a.Name
	}
	return "", fmt.Errorf("Gantry serves several accounts: say which with --account, one of %s", strings.Join(names, ", "))
}

func deref[T any](p *T) T {
	var none T
	if p == nil {
		return none
	}
	return *p
}

// given returns nil for a flag that was left empty.
func given[T comparable](v T) *T {
	var none T
	if v == none {
		return nil
	}
	return &v
}
