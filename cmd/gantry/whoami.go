package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newWhoamiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "whoami", Short: "Show who Gantry takes you for, and what you may do where", Args: cobra.NoArgs,
	}
	r := remoteFlags(cmd)
	cmd.RunE = answering(r, func(ctx context.Context, s *session, _ []string) (api.Caller, error) {
		return gantry.Answer[api.Caller](s.GetCaller(ctx))
	}, printCaller)
	return cmd
}

func printCaller(s *session, c api.Caller) error {
	t := s.Facts()
	t.Fact("name", c.Name)
	t.Fact("also", strings.Join(c.Aliases, ", "))
	t.Fact("groups", strings.Join(c.Groups, ", "))
	t.Fact("by", c.How+" "+c.Credential)
	t.Fact("until", s.When(c.ExpiresAt))
	for _, g := range c.Grants {
		t.Fact("role", grantText(g))
	}
	if len(c.Grants) == 0 {
		t.Fact("role", "none; an administrator gives roles with bindings in the configuration")
	}
	return t.Flush()
}

// grantText returns a role and where it holds.
func grantText(g api.Grant) string {
	var where []string
	for _, part := range []struct {
		name   string
		values []string
	}{{"account", g.Accounts}, {"space", g.Spaces}, {"stack", g.Stacks}, {"label", g.Labels}} {
		if len(part.values) > 0 {
			where = append(where, part.name+" "+strings.Join(part.values, " or "))
		}
	}
	if len(where) == 0 {
		return g.Role + " everywhere"
	}
	return g.Role + " for " + strings.Join(where, ", ")
}
