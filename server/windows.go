package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// The kinds of rows in a calendar.
const (
	rowAccount = "account"
	rowStack   = "stack"
	rowProfile = "profile"
	rowWindow  = "window"
)

const defaultCalendarDays = 7

// ListWindows returns when windows and freezes let Gantry confirm, by the functions that
// decide.
func (h *handlers) ListWindows(ctx context.Context, req genserver.ListWindowsRequestObject) (genserver.ListWindowsResponseObject, error) {
	account, now := callOf(ctx).account, time.Now().UTC()
	from := now
	if req.Params.From != nil {
		from = req.Params.From.UTC()
	}
	days := defaultCalendarDays
	if req.Params.Days != nil {
		days = *req.Params.Days
	}
	until := from.AddDate(0, 0, days)
	if !decide.Storable(from) || !decide.Storable(until) {
		return nil, &refusal{badPlaces(parameterError("from", "the days are outside of the years 1 to 9999; choose others"))}
	}
	ctx, cancel := context.WithTimeout(ctx, stacksTimeout)
	defer cancel()
	subjects, err := h.calendarSubjects(ctx, account, req.Params)
	if err != nil {
		return nil, err
	}
	freezes, err := h.freezes(ctx, account.Name)
	if err != nil {
		return nil, err
	}
	shown, err := h.freezesInScope(ctx, account.Name, freezes)
	if err != nil {
		return nil, err
	}
	calendar := genserver.ListWindows200JSONResponse{Account: string(account.Name), From: from, Until: until, Windows: []api.Window{}, Freezes: []api.Freeze{}}
	for _, f := range shown {
		if f.From.Before(until) && (f.Until.IsZero() || f.Until.After(from)) {
			calendar.Freezes = append(calendar.Freezes, toAPIFreeze(f))
		}
	}
	named := map[string]bool{}
	for _, s := range subjects {
		calendar.Rows = append(calendar.Rows, h.calendarRow(s, freezes, now, from, until))
		for _, w := range s.policy.Windows.Value {
			named[w] = true
		}
	}
	for _, w := range slices.Sorted(maps.Keys(named)) {
		calendar.Windows = append(calendar.Windows, api.Window{Name: w, TimeZone: h.policies().Zone(w)})
	}
	return calendar, nil
}

// calendarSubject is something whose plans windows and freezes may close.
type calendarSubject struct {
	kind, name string
	stack      spacelift.StackID // empty: any
	policy     policy.Policy
}

// calendarSubjects returns what a calendar is to show.
func (h *handlers) calendarSubjects(ctx context.Context, account *Account, p api.ListWindowsParams) ([]calendarSubject, error) {
	given := 0
	for _, one := range []*string{p.Stack, p.Profile, p.Window} {
		if one != nil {
			given++
		}
	}
	if given > 1 {
		return nil, &refusal{badPlaces(parameterError("stack", "give at most one of stack, profile and window"))}
	}
	switch {
	case p.Stack != nil:
		s, err := h.stackSubject(ctx, account, spacelift.StackID(*p.Stack))
		return []calendarSubject{s}, err
	case p.Profile != nil:
		if err := among("profile", *p.Profile, h.policies().Profiles()); err != nil {
			return nil, err
		}
		return []calendarSubject{h.profileSubject(*p.Profile)}, nil
	case p.Window != nil:
		if err := among("window", *p.Window, h.policies().Windows()); err != nil {
			return nil, err
		}
		return []calendarSubject{windowSubject(*p.Window)}, nil
	}
	all := []calendarSubject{{kind: rowAccount, name: string(account.Name)}}
	for _, name := range h.policies().Profiles() {
		if s := h.profileSubject(name); len(s.policy.Windows.Value) > 0 {
			all = append(all, s)
		}
	}
	for _, name := range h.policies().Windows() {
		all = append(all, windowSubject(name))
	}
	return all, nil
}

// stackSubject returns a stack with the policy in effect for it.
func (h *handlers) stackSubject(ctx context.Context, account *Account, id spacelift.StackID) (calendarSubject, error) {
	s := calendarSubject{kind: rowStack, name: string(id), stack: id}
	if err := h.allow(ctx, authority.RoleViewer, account.Name, id); err != nil {
		return s, err
	}
	stack, err := account.Stacks.Stack(ctx, id)
	if err != nil {
		return s, &spaceliftError{err}
	}
	tree, err := h.spaces(ctx, account)
	if err != nil {
		return s, err
	}
	s.policy = h.policies().Resolve(policy.StackOf(stack, tree)).Of(id)
	return s, nil
}

func (h *handlers) profileSubject(name string) calendarSubject {
	return calendarSubject{kind: rowProfile, name: name, policy: h.policies().Profile(name)}
}

func windowSubject(name string) calendarSubject {
	s := calendarSubject{kind: rowWindow, name: name}
	s.policy.Windows.Value = []string{name}
	return s
}

// among refuses a name that the configuration doesn't have.
func among(what, name string, all []string) error {
	if slices.Contains(all, name) {
		return nil
	}
	detail := fmt.Sprintf("the configuration has no %s %s", what, name)
	if near, ok := policy.Nearest(name, all); ok {
		detail += fmt.Sprintf(" (meant %s?)", near)
	}
	return &refusal{notFound(detail)}
}

func (h *handlers) calendarRow(s calendarSubject, freezes []policy.Freeze, now, from, until time.Time) api.CalendarRow {
	gate := h.policies().Gate(s.policy, string(s.stack), freezes, now)
	row := api.CalendarRow{
		Kind: s.kind, Name: s.name, Windows: append([]string{}, s.policy.Windows.Value...), Gate: toAPIGate(gate),
		Periods: toAPIList(h.policies().Calendar(s.policy, string(s.stack), freezes, from, until), toAPICalendarPeriod),
	}
	switch {
	case len(s.policy.Problems) > 0:
		row.Problems = toAPIList(s.policy.Problems, toAPIPolicyProblem)
	case gate.Open:
		row.Next = &gate.At
	default:
		row.Next = nonZero(gate.Until)
	}
	return row
}

func toAPICalendarPeriod(p policy.Period) api.CalendarPeriod {
	return api.CalendarPeriod{
		From: p.From, Until: p.Until, Open: p.Open(), Windows: append([]string{}, p.Windows...), Freezes: append([]string{}, p.Freezes...),
	}
}
