package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/server"
)

func newTokenCommand() *cobra.Command {
	token := &cobra.Command{Use: "token", Short: "Create tokens for the API"}
	var role string
	var groups []string
	create := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a token and print it once",
		Long: `Creates a token for a person or machine. It prints the token once and stores it
nowhere; the lines for the configuration file contain only its hash.`,
		Example: "  gantry token create ci --role viewer",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(server.Roles, server.Role(role)) {
				return fmt.Errorf("there is no role %q; there are %v", role, server.Roles)
			}
			token := newToken()
			fmt.Fprintf(cmd.OutOrStdout(), "token: %s\n\nIn the configuration file:\n\ntokens:\n  - name: %q\n    role: %s\n", token, args[0], role)
			if len(groups) > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "    groups: %q\n", groups)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "    hash: %s\n", server.TokenHash(token))
			return nil
		},
	}
	create.Flags().StringVar(&role, "role", string(server.RoleViewer), fmt.Sprintf("what the token may do: one of %v", server.Roles))
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
