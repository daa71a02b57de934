package server

import (
	"context"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
)

// GetCaller returns who asks, and what they may do where.
func (h *handlers) GetCaller(ctx context.Context, _ genserver.GetCallerRequestObject) (genserver.GetCallerResponseObject, error) {
	p := principalOf(ctx)
	return genserver.GetCaller200JSONResponse{
		Name: p.Person.Name, Aliases: p.Person.Aliases, Groups: append([]string{}, p.Person.Groups...), How: string(p.How), Credential: p.Credential,
		ExpiresAt: nonZero(p.Expires.UTC()), Grants: toAPIList(p.Grants, toAPIGrant),
	}, nil
}

// ListTokens lists the tokens of the configuration, and when this replica saw each last.
func (h *handlers) ListTokens(ctx context.Context, _ genserver.ListTokensRequestObject) (genserver.ListTokensResponseObject, error) {
	if p := principalOf(ctx); !p.HasEverywhere(authority.RoleAdmin) {
		return nil, lacks(p, authority.RoleAdmin, "everything")
	}
	return genserver.ListTokens200JSONResponse{Tokens: toAPIList(h.keys.rules.Load().Tokens(), toAPIToken)}, nil
}

func toAPIToken(t authority.UsedToken) api.Token {
	return api.Token{
		Name: t.Name, Groups: append([]string{}, t.Groups...), Grants: toAPIList(t.Grants, toAPIGrant),
		ExpiresAt: nonZero(t.Expires.Time().UTC()), RevokedAt: nonZero(t.Revoked.Time().UTC()), LastUsedAt: nonZero(t.Used),
	}
}

func toAPIGrant(g authority.Grant) api.Grant {
	return api.Grant{Role: string(g.Role), Accounts: g.Where.Accounts, Spaces: g.Where.Spaces, Stacks: g.Where.Stacks, Labels: g.Where.Labels}
}
