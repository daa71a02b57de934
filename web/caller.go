package web

import (
	"context"
	"slices"

	"github.com/gantryhq/gantry/gen/api"
)

// caller returns who asks for a page; nil for nobody.
func caller(ctx context.Context) *api.Caller { return viewOf(ctx).me }

// mayOperate reports whether the caller is an operator of anything in an account. The API
// decides whether that is enough.
func mayOperate(ctx context.Context, account string) bool {
	me := caller(ctx)
	return me != nil && slices.ContainsFunc(me.Grants, func(g api.Grant) bool {
		return (g.Role == "operator" || g.Role == "admin") && (len(g.Accounts) == 0 || slices.Contains(g.Accounts, account))
	})
}

// administers reports whether the caller is an administrator of something.
func administers(ctx context.Context) bool {
	me := caller(ctx)
	return me != nil && slices.ContainsFunc(me.Grants, func(g api.Grant) bool { return g.Role == "admin" })
}
