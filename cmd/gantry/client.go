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

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/client"
)

// remote holds the flags that say which Gantry to ask and how to print its answers.
type remote struct {
	target
	tokenFile *string
	output    *output.Flags
}

// remoteFlags adds the flags of every command that asks a Gantry.
func remoteFlags(parent *cobra.Command) *remote {
	flags := parent.PersistentFlags()
	return &remote{
		target:    targetFlags(parent),
		tokenFile: flags.String("token-file", "", "file that holds the token (GANTRY_TOKEN_FILE, or GANTRY_TOKEN for the token itself)"),
		output:    output.AddFlags(parent, flags),
	}
}

// defaultURL is the address that `gantry serve` listens on by default.
const defaultURL = "http://127.0.0.1:8080"

// requestTimeout bounds one request. It is longer than Gantry itself waits for an
// execution, so that Gantry can say that there is no answer.
const requestTimeout = 45 * time.Second

// session is one command's connection to a Gantry.
type session struct {
	*output.Printer
	*client.Client
	streams *client.Client // without a timeout
	account string         // of commands without --account, if the context names one
}

// connect prepares a session; it sends nothing yet.
func (r *remote) connect(cmd *cobra.Command) (*session, error) {
	printer, err := r.output.Printer(cmd, now())
	if err != nil {
		return nil, err
	}
	u, in, err := r.address()
	if err != nil {
		return nil, err
	}
	s, address := &session{Printer: printer, account: in.Account}, u.String()
	token, err := readToken(*r.tokenFile)
	if errors.Is(err, errNoToken) && in.TokenFile != "" {
		token, err = readToken(in.TokenFile)
	} else if errors.Is(err, errNoToken) {
		token, err = loginToken(cmd.Context(), strings.TrimSuffix(address, "/"))
	}
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" && !near(u) {
		fmt.Fprintf(s.Err, "gantry: %s is not https: the token is sent unencrypted\n", address)
	}
	if s.Client, err = newClient(address, token, requestTimeout); err == nil {
		s.streams, err = newClient(address, token, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	return s, nil
}

// newClient returns a client of the API that follows no redirects.
func newClient(address, token string, timeout time.Duration) (*client.Client, error) {
	return client.NewClient(address,
		client.WithHTTPClient(&http.Client{Timeout: timeout, CheckRedirect: direct.CheckRedirect}),
		client.WithRequestEditorFn(func(_ context.Context, req *http.Request) error {
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("User-Agent", "gantry/"+version)
			return nil
		}))
}

// readToken reads the token from the file that a flag names or from the
// environment. The token itself is no flag: other users of a machine see flags.
func readToken(flagFile string) (string, error) {
	file := cmp.Or(flagFile, os.Getenv("GANTRY_TOKEN_FILE"))
	token := os.Getenv("GANTRY_TOKEN")
	switch {
	case flagFile == "" && file != "" && token != "":
		return "", errors.New("both GANTRY_TOKEN and GANTRY_TOKEN_FILE are set: unset one")
	case file == "" && token == "":
		return "", errNoToken
	case file == "":
		return strings.TrimSpace(token), nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

// answering returns the body of a command that asks Gantry and prints the answer:
// the answer itself with -o json, else what print makes of it.
func answering[T any](r *remote, ask func(context.Context, *session, []string) (T, error), print func(*session, T) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s, err := r.connect(cmd)
		if err != nil {
			return err
		}
		answer, err := ask(cmd.Context(), s, args)
		if err != nil {
			return err
		}
		return answered(s, answer, print)
	}
}

// answered prints an answer in the format that -o asks for; print makes the table.
func answered[T any](s *session, answer T, print func(*session, T) error) error {
	var err error
	switch {
	case s.Structured():
		return s.Encode(answer)
	case s.Format == output.Name:
		for _, name := range namesOf(answer) {
			fmt.Fprintln(s.Out, output.Clean(name))
		}
	default:
		err = print(s, answer)
	}
	if err == nil && more(answer) {
		fmt.Fprintln(s.Err, "gantry: there are more; --all-pages lists all, --limit N more of them")
	}
	return err
}

// problemError is a problem that Gantry answered with.
type problemError struct {
	api.Problem
	retryAfter time.Duration
}

func (e *problemError) Error() string {
	var b strings.Builder
	b.WriteString(output.Clean(e.Title))
	if e.Detail != nil {
		b.WriteString(": " + output.Clean(*e.Detail))
	}
	for _, place := range e.Errors {
		where := cmp.Or(deref(place.Parameter), deref(place.Pointer))
		fmt.Fprintf(&b, "\n  %s: %s", output.Clean(cmp.Or(where, "request")), output.Clean(place.Detail))
	}
	if inLog := e.Status >= http.StatusInternalServerError || e.Status == http.StatusUnauthorized; inLog && e.RequestID != nil {
		fmt.Fprintf(&b, "\n  request %s", output.Clean(*e.RequestID))
	}
	return b.String()
}

// is reports whether the problem is of a kind.
func (e *problemError) is(kind string) bool { return e.Type == "urn:gantry:problem:"+kind }

// maxResponse bounds how much of an answer is read; a run with its timeline has a
// few hundred KB at most.
const maxResponse = 32 << 20

// receive reads the answer to a request, or the error that it holds.
func receive[T any](response *http.Response, err error) (T, error) {
	var answer T
	if err != nil {
		return answer, unreachable(err)
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
	p := &problemError{}
	if json.Unmarshal(body, &p.Problem) != nil || !strings.HasPrefix(p.Type, "urn:gantry:") {
		return answer, notGantry(response)
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		p.retryAfter = time.Duration(seconds) * time.Second
	}
	if p.Status >= 400 && p.Status < 500 && p.Status != http.StatusTooManyRequests {
		return answer, &exitError{exitRefused, p}
	}
	return answer, p
}

// unreachable returns the error of a request without an answer.
func unreachable(err error) error {
	if _, unanswered := errors.AsType[*url.Error](err); unanswered && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("call Gantry: %w; check that Gantry runs and that --url or GANTRY_URL is right", err)
	}
	return fmt.Errorf("call Gantry: %w", err)
}

func notGantry(response *http.Response) error {
	return fmt.Errorf("%s answers %s, which is not an answer of Gantry; check --url", response.Request.URL.Host, response.Status)
}

// changePatience bounds how long a change without an answer is repeated.
const changePatience = 2 * time.Minute

// change sends a change under a key, and repeats it while it may have counted:
// under one key it counts once.
func change[T any](ctx context.Context, s *session, send func(key *string) (*http.Response, error)) (T, error) {
	key, giveUp := rand.Text(), time.Now().Add(changePatience)
	for {
		response, err := send(&key) //nolint:bodyclose // receive closes it
		answer, err := receive[T](response, err)
		after, again := mayHaveCounted(err)
		if !again || time.Now().Add(after).After(giveUp) || ctx.Err() != nil {
			return answer, err
		}
		fmt.Fprintf(s.Err, "gantry: no answer yet; sending it again (it counts once)\n")
		if err := pause(ctx, after); err != nil {
			return answer, err
		}
	}
}

// mayHaveCounted reports whether a change may have reached Gantry although there
// is no answer, and how long to wait before it is sent again.
func mayHaveCounted(err error) (after time.Duration, may bool) {
	if p, ok := errors.AsType[*problemError](err); ok {
		return max(p.retryAfter, time.Second), p.is("unanswered")
	}
	e, ok := errors.AsType[*url.Error](err)
	// A connection that was never made carried nothing.
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

// theAccount returns the named account, that of the context, or the only one that Gantry
// serves.
func (s *session) theAccount(ctx context.Context, named string) (string, error) {
	if named = cmp.Or(named, s.account); named != "" {
		return named, nil
	}
	accounts, err := s.accounts(ctx)
	if err != nil {
		return "", err
	}
	if len(accounts) == 1 {
		return accounts[0], nil
	}
	return "", fmt.Errorf("Gantry serves several accounts: choose one with --account: %s", strings.Join(accounts, ", "))
}

func (s *session) accounts(ctx context.Context) ([]string, error) {
	list, err := receive[api.AccountList](s.ListAccounts(ctx))
	return names(list.Accounts, func(a api.Account) string { return a.Name }), err
}

func deref[T any](p *T) T {
	var none T
	if p == nil {
		return none
	}
	return *p
}

// given returns nil for an empty flag.
func given[T comparable](v T) *T {
	var none T
	if v == none {
		return nil
	}
	return &v
}
