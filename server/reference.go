package server

import (
	"github.com/gantryhq/gantry/spacelift"
)

// runRef returns the run that a path names. It refuses runs of accounts that
// Gantry does not serve: another installation may manage them in the same
// namespace of Temporal.
func (h *handlers) runRef(account, stack, run string) (spacelift.RunRef, error) {
	a, err := h.account(account)
	if err != nil {
		return spacelift.RunRef{}, err
	}
	ref := spacelift.RunRef{Account: a.Name, Stack: spacelift.StackID(stack), Run: spacelift.RunID(run)}
	if err := ref.Validate(); err != nil {
		return ref, &refusal{badRequest(err.Error())}
	}
	return ref, nil
}

// chainRoot reads which chain a path means. Its stack is not named there.
func (h *handlers) chainRoot(account, run string) (spacelift.RunRef, error) {
	ref, err := h.runRef(account, "any", run)
	ref.Stack = ""
	return ref, err
}

// account finds an account that Gantry serves.
func (h *handlers) account(name string) (*Account, error) {
	if a := h.gate.account(spacelift.Account(name)); a != nil {
		return a, nil
	}
	return nil, &refusal{notFound("Gantry serves no account of this name; GET /v1/accounts lists those it does")}
}

// accounts returns the accounts that a list is about: the one it is filtered by,
// or all that Gantry serves. Another installation may use the same namespace of
// Temporal, so no list is without a filter by account.
func (h *handlers) accounts(only *string) ([]string, error) {
	if only != nil {
		a, err := h.account(*only)
		if err != nil {
			return nil, err
		}
		return []string{string(a.Name)}, nil
	}
	all := make([]string, len(h.gate.accounts))
	for i, a := range h.gate.accounts {
		all[i] = string(a.Name)
	}
	return all, nil
}
