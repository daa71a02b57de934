package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/authority"
)

func newTokenCommand() *cobra.Command {
	token := &cobra.Command{Use: "token", Short: "Create tokens for the API"}
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
	token.AddCommand(create)
	return token
}

// newToken returns 32 random bytes with a prefix for secret scanners.
func newToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return "gantry_" + base64.RawURLEncoding.EncodeToString(b[:])
}
