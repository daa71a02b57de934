package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/doctor"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
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

// session is one command's connection to a Gantry.
type session struct {
	*output.Printer
	*gantry.Client
	address string // without a slash at its end
	account string // of commands without --account, if the context names one
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
	credentials := &credentials{file: *r.tokenFile, context: in, address: strings.TrimSuffix(u.String(), "/")}
	if _, err := credentials.token(cmd.Context()); err != nil {
		return nil, err
	}
	s := &session{Printer: printer, address: credentials.address, account: in.Account}
	if u.Scheme == "http" && !doctor.Near(u) {
		fmt.Fprintf(s.Err, "gantry: %s is not https: the token is sent unencrypted\n", u)
	}
	s.Client, err = gantry.New(u.String(), gantry.WithTokenSource(credentials.token), gantry.WithUserAgent("gantry/"+version), gantry.WithoutRedial(),
		gantry.WithRetryNotice(func(err error, wait time.Duration) {
			fmt.Fprintf(s.Err, "gantry: %s; sending it again in %s (a change counts once)\n", err, wait.Round(time.Second/10))
		}))
	if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	return s, nil
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
	list, err := gantry.Answer[api.AccountList](s.ListAccounts(ctx))
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
