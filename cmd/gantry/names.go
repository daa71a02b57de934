package main

import (
	"reflect"
	"strconv"

	"github.com/gantryhq/gantry/gen/api"
)

// namesOf returns what -o name prints for an answer: the names that other commands take.
func namesOf(answer any) []string {
	switch a := answer.(type) {
	case api.RunList:
		return names(a.Runs, func(r api.RunSummary) string { return runName{r.Account, r.Stack, r.Run}.String() })
	case api.Run:
		return []string{runName{a.Account, a.Stack, a.Run}.String()}
	case api.Explanation:
		return []string{runName{a.Account, a.Stack, a.Run}.String()}
	case api.Retry:
		return []string{runName{a.Account, a.Stack, deref(a.New)}.String()}
	case api.ResourceList:
		return names(a.Resources, func(r api.Resource) string { return r.Address })
	case api.StackList:
		return names(a.Stacks, func(s api.Stack) string { return s.Account + "/" + s.Stack })
	case api.Stack:
		return []string{a.Account + "/" + a.Stack}
	case api.ChainList:
		return names(a.Chains, func(c api.ChainSummary) string { return runName{c.Account, c.Stack, c.Run}.String() })
	case api.Chain:
		return []string{runName{a.Account, a.Stack, a.Run}.String()}
	case api.FreezeList:
		return names(a.Freezes, func(f api.Freeze) string { return f.ID })
	case api.Freeze:
		return []string{a.ID}
	case api.DeliveryList:
		return names(a.Deliveries, func(d api.Delivery) string { return d.ID })
	case api.DeliveryDetail:
		return []string{a.Delivery.ID}
	case api.Delivery:
		return []string{a.ID}
	case api.AuditList:
		return names(a.Entries, func(e api.AuditEntry) string { return strconv.FormatInt(e.Sequence, 10) })
	case api.TokenList:
		return names(a.Tokens, func(t api.Token) string { return t.Name })
	case api.AccountList:
		return names(a.Accounts, func(a api.Account) string { return a.Name })
	case api.FindingList:
		return names(a.Findings, func(f api.AccountFinding) string { return f.Account + " " + f.Kind })
	case api.FollowersPreview:
		return names(a.Followers, func(f api.PreviewedFollower) string { return a.Account + "/" + f.Stack })
	case api.Calendar:
		return names(a.Rows, func(r api.CalendarRow) string { return r.Name })
	case api.Trigger:
		return []string{runName{a.Account, a.Stack, deref(a.Run)}.String()}
	case versions:
		return []string{a.Client}
	case contextList:
		return names(a.Contexts, func(c listedContext) string { return c.Name })
	case api.Caller:
		return []string{a.Name}
	}
	return nil
}

// more reports whether an answer is a page after which others come.
func more(answer any) bool {
	v := reflect.ValueOf(answer)
	if v.Kind() != reflect.Struct {
		return false
	}
	token := v.FieldByName("NextPageToken")
	return token.IsValid() && !token.IsNil()
}
