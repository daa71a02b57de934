package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newTokenCommand() *cobra.Command {
	token := &cobra.Command{Use: "token", Short: "Create, list and revoke tokens for the API"}
	var role, expires string
	var groups []string
	create := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a token and print it once",
		Long: `Creates a token for a person or machine. It prints the token once and stores it
nowhere; the lines for the configuration file contain only its hash.`,
		Example: "  gantry token create ci --role viewer",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if role != "" && !slices.Contains(authority.Roles, authority.Role(role)) {
				return fmt.Errorf("--role: there is no role %q; there are %v", role, authority.Roles)
			}
			if expires != "" && authority.Instant(expires).Time().IsZero() {
				return fmt.Errorf("--expires: %q is neither a day such as 2027-01-31 nor a time such as 2027-01-31T12:00:00Z", expires)
			}
			token := newToken()
			fmt.Fprintf(cmd.OutOrStdout(), "token: %s\n\nIn the configuration file:\n\ntokens:\n  - name: %q\n", token, args[0])
			if role != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "    role: %s\n", role)
			}
			if expires != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "    expires: %s\n", expires)
			}
			if len(groups) > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "    groups: %q\n", groups)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "    hash: %s\n", authority.TokenHash(token))
			return nil
		},
	}
	create.Flags().StringVar(&role, "role", string(authority.RoleViewer), fmt.Sprintf("what the token may do everywhere: one of %v, or empty if only bindings give it roles", authority.Roles))
	create.Flags().StringVar(&expires, "expires", "", "day or time at which the token stops counting, such as 2027-01-31")
	create.Flags().StringSliceVar(&groups, "group", nil, "a group that its owner belongs to (repeatable)")
	token.AddCommand(create, newTokenListCommand(), newTokenRevokeCommand())
	return token
}

func newTokenListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the tokens that Gantry knows", Args: cobra.NoArgs,
		Long: `Lists the tokens in Gantry's configuration, what their bearers may do, and when the replica that answers
saw each last since it started. It takes the role admin everywhere.`,
	}
	r := remoteFlags(cmd)
	cmd.RunE = answering(r, func(ctx context.Context, s *session, _ []string) (api.TokenList, error) {
		return gantry.Answer[api.TokenList](s.ListTokens(ctx))
	}, printTokens)
	return cmd
}

func printTokens(s *session, list api.TokenList) error {
	t := s.List("tokens", []output.Column{{Title: "TOKEN"}, {Title: "ROLES", Wraps: true}, {Title: "GROUPS", Wraps: true, Drop: 1}, {Title: "ENDS"}, {Title: "LAST USED"}})
	for _, token := range list.Tokens {
		ends := s.When(token.ExpiresAt)
		if token.RevokedAt != nil {
			ends = "revoked " + s.When(token.RevokedAt)
		}
		t.Row(token.Name, strings.Join(names(token.Grants, grantText), "; "), strings.Join(token.Groups, ", "), ends, s.When(token.LastUsedAt))
	}
	return t.Flush()
}

func newTokenRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke NAME", Short: "Revoke a token in the configuration file", Args: cobra.ExactArgs(1),
		Long: `Writes "revoked" and the time into the token's entry in the configuration file, and changes nothing else of it.
Gantry refuses the token once it has started with that file: copy it to every replica and restart them.`,
		Example: "  gantry token revoke ci --config gantry.yaml",
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if file.name() == "" {
			return errors.New("no configuration file: name it with --config or GANTRY_CONFIG")
		}
		if err := config.RevokeToken(file.name(), args[0], time.Now()); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is revoked in %s; it counts until each replica has started with this file\n", args[0], file.name())
		return nil
	}
	return cmd
}

// newToken returns 32 random bytes with a prefix for secret scanners.
func newToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return "gantry_" + base64.RawURLEncoding.EncodeToString(b[:])
}
