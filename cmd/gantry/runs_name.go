package main

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

// runName is the name that commands use for a run.
type runName struct{ account, stack, run string }

func (n runName) String() string { return n.account + "/" + n.stack + "/" + n.run }

func nameOf(run api.RunSummary) runName { return runName{run.Account, run.Stack, run.Run} }

// runNameOf reads ACCOUNT/STACK/RUN, or the address of a run at Spacelift:
// https://ACCOUNT.app.spacelift.io/stack/STACK/run/RUN.
func runNameOf(s string) (runName, error) {
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		parts := strings.Split(strings.Trim(u.Path, "/"), "/")
		account, _, _ := strings.Cut(u.Hostname(), ".")
		if len(parts) >= 4 && parts[0] == "stack" && parts[2] == "run" {
			return runName{account, parts[1], parts[3]}, nil
		}
	} else if parts := strings.Split(s, "/"); len(parts) == 3 && parts[0] != "" && parts[1] != "" && parts[2] != "" {
		return runName{parts[0], parts[1], parts[2]}, nil
	}
	return runName{}, fmt.Errorf("%q names no run: write ACCOUNT/STACK/RUN, the beginning of its id, a stack, or the address of its page in Spacelift", s)
}

// ofStack says which run of a stack a person means who names the stack alone.
type ofStack int

const (
	none       ofStack = iota // they must name the run
	newest                    // the run that began last
	oneWaiting                // the one that waits for people
)

// idPrefix matches the beginning of a run's id, which is a ULID. The ids of stacks are in
// lower case.
var idPrefix = regexp.MustCompile(`^0[0-9A-Z]{5,25}$`)

// searched bounds the stacks that are searched for one that is meant.
const searched = 1000

// named returns the run that a person names: by its whole name, by the beginning of its id
// if no other run shares it, or by its stack.
func (s *session) named(ctx context.Context, text string, of ofStack) (runName, error) {
	name, err := runNameOf(text)
	if err == nil {
		return name, nil
	}
	first, second, two := strings.Cut(text, "/")
	switch {
	case text == "" || strings.Contains(second, "/") || strings.Contains(text, ":"):
		return name, err
	case !two && idPrefix.MatchString(first):
		return s.byPrefix(ctx, api.ListRunsParams{Account: given(s.account)}, text, first)
	case two && idPrefix.MatchString(second):
		return s.byPrefix(ctx, api.ListRunsParams{Account: given(s.account), Stack: &first}, text, second)
	case of == none:
		return name, fmt.Errorf("%q names no run: write ACCOUNT/STACK/RUN or the beginning of its id", text)
	case two:
		return s.byStack(ctx, api.ListRunsParams{Account: &first, Stack: &second}, text, of)
	}
	return s.byStack(ctx, api.ListRunsParams{Account: given(s.account), Stack: &first}, text, of)
}

func (s *session) byPrefix(ctx context.Context, p api.ListRunsParams, text, prefix string) (runName, error) {
	p.Run = &prefix
	list, err := s.runs(ctx, p, maxPage)
	if err != nil {
		return runName{}, err
	}
	return only(list.Runs, text, "begins so", func(run api.RunSummary) bool { return strings.HasPrefix(run.Run, prefix) })
}

func (s *session) byStack(ctx context.Context, p api.ListRunsParams, text string, of ofStack) (runName, error) {
	if strings.Contains(*p.Stack, "*") {
		return runName{}, fmt.Errorf("%q names no stack", text)
	}
	limit := maxPage
	if of == newest {
		limit = 1
	} else {
		p.Phase = new(api.PhaseWaiting)
	}
	list, err := s.runs(ctx, p, limit)
	if err != nil {
		return runName{}, err
	}
	what := "is of this stack"
	if of == oneWaiting {
		what = "of this stack waits for people"
	}
	if len(list.Runs) == 0 {
		return runName{}, fmt.Errorf("%s: no run %s%s", text, what, s.meant(ctx, deref(p.Account), *p.Stack))
	}
	return only(list.Runs, text, what, func(api.RunSummary) bool { return true })
}

// only returns the only run that matches.
func only(runs []api.RunSummary, text, what string, matches func(api.RunSummary) bool) (runName, error) {
	var found []string
	var name runName
	for _, run := range runs {
		if matches(run) {
			name = nameOf(run)
			found = append(found, name.String())
		}
	}
	switch len(found) {
	case 0:
		return name, fmt.Errorf("%s: no run %s", text, what)
	case 1:
		return name, nil
	}
	return name, fmt.Errorf("%s: several runs match; name one of them:\n  %s", text, strings.Join(found[:min(len(found), 10)], "\n  "))
}

// meant returns a question for the stack that a misspelt one may be; empty for none.
func (s *session) meant(ctx context.Context, account, stack string) string {
	list, err := s.stacks(ctx, account, api.ListStacksParams{}, searched)
	if err != nil {
		return ""
	}
	all := names(list.Stacks, func(stack api.Stack) string { return stack.Stack })
	if near, ok := policy.Nearest(stack, all); ok && near != stack {
		return "; did you mean " + output.Clean(near) + "?"
	}
	return ""
}

// ofStack returns an error of a request about a stack, with the stack that may be meant.
func (s *session) ofStack(ctx context.Context, account, stack string, err error) error {
	if !gantry.IsProblem(err, "not-found") || stack == "" {
		return err
	}
	if near := s.meant(ctx, account, stack); near != "" {
		return fmt.Errorf("%w%s", err, near)
	}
	return err
}
