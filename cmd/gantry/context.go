package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/contexts"
	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
)

func newContextCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "context", Short: "Name the Gantrys that you use, and choose one",
		Long: `A context is the address of a Gantry under a name, with the account and the token that commands use there. Commands use
the current context, unless --context, --url, GANTRY_CONTEXT or GANTRY_URL names another. Contexts are kept in your
configuration folder.`,
	}
	cmd.AddCommand(newContextListCommand(), newContextUseCommand(), newContextAddCommand(), newContextRemoveCommand())
	return cmd
}

// listedContext is a context as gantry context list prints it.
type listedContext struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	contexts.Context
}

type contextList struct {
	Contexts []listedContext `json:"contexts"`
}

func newContextListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List contexts", Args: cobra.NoArgs}
	flags := output.AddFlags(cmd, cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		printer, err := flags.Printer(cmd, now())
		if err != nil {
			return err
		}
		all, err := contexts.Read()
		if err != nil {
			return err
		}
		list := contextList{Contexts: []listedContext{}}
		for _, name := range all.Names() {
			list.Contexts = append(list.Contexts, listedContext{name, name == all.Current, all.All[name]})
		}
		return answered(&session{Printer: printer}, list, printContexts)
	}
	return cmd
}

func printContexts(s *session, list contextList) error {
	logins, err := contexts.ReadLogins()
	if err != nil {
		return err
	}
	t := s.List("contexts", []output.Column{{Title: "CURRENT"}, {Title: "CONTEXT"}, {Title: "URL"}, {Title: "ACCOUNT"}, {Title: "TOKEN", Drop: 1}})
	for _, c := range list.Contexts {
		current, token := "", cmp.Or(c.TokenFile, "none: gantry login --context "+c.Name)
		if c.Current {
			current = "*"
		}
		if login, ok := logins[c.URL]; ok && c.TokenFile == "" {
			token = "sign-in, until " + s.When(&login.Expires)
			if login.Refresh != "" {
				token = "sign-in"
			}
		}
		t.Row(current, c.Name, c.URL, c.Account, token)
	}
	return t.Flush()
}

func newContextUseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "use CONTEXT", Short: "Make a context the current one", Args: cobra.ExactArgs(1), ValidArgsFunction: completeContexts,
		RunE: func(cmd *cobra.Command, args []string) error {
			var chosen contexts.Context
			err := contexts.Edit(func(all *contexts.Contexts) (err error) {
				chosen, err = all.Get(args[0])
				all.Current = args[0]
				return err
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "commands use %s, %s\n", args[0], chosen.URL)
			return nil
		},
	}
}

func newContextAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "add CONTEXT", Short: "Add a context; the first one becomes the current one", Args: cobra.ExactArgs(1),
		Example: "  gantry context add prod --url https://gantry.example.com --account acme\n  gantry login --context prod",
	}
	var added contexts.Context
	f := cmd.Flags()
	f.StringVar(&added.URL, "url", "", "address of Gantry")
	f.StringVar(&added.Account, "account", "", "account of commands without --account")
	f.StringVar(&added.TokenFile, "token-file", "", "file that holds the token; without one, gantry login signs in")
	_ = cmd.MarkFlagRequired("url") // fails for unknown flags alone
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' }) || name == "" {
			return fmt.Errorf("%q can't name a context: leave blanks and slashes out", name)
		}
		u, err := parseAddress(added.URL)
		if err != nil {
			return err
		}
		added.URL = strings.TrimSuffix(u.String(), "/")
		if added.TokenFile != "" {
			if added.TokenFile, err = filepath.Abs(added.TokenFile); err != nil {
				return fmt.Errorf("--token-file: %w", err)
			}
		}
		err = contexts.Edit(func(all *contexts.Contexts) error {
			if _, known := all.All[name]; known {
				return fmt.Errorf("there is a context %s already; gantry context remove %s removes it", name, name)
			}
			all.All[name] = added
			all.Current = cmp.Or(all.Current, name)
			return nil
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "added %s, %s\n", name, added.URL)
		return nil
	}
	return cmd
}

func newContextRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove CONTEXT", Short: "Remove a context; the sign-in at its address stays until gantry logout", Args: cobra.ExactArgs(1), ValidArgsFunction: completeContexts,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := contexts.Edit(func(all *contexts.Contexts) error {
				_, err := all.Get(args[0])
				delete(all.All, args[0])
				if all.Current == args[0] {
					all.Current = ""
				}
				return err
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", args[0])
			return nil
		},
	}
}

func completeContexts(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	all, err := contexts.Read()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names(all.Names(), func(name string) string { return name + "\t" + output.Clean(all.All[name].URL) }), cobra.ShellCompDirectiveNoFileComp
}

// target holds the flags that say which Gantry a command is for.
type target struct{ url, context *string }

func targetFlags(cmd *cobra.Command) target {
	f := cmd.PersistentFlags()
	t := target{
		url:     f.String("url", "", "address of Gantry (GANTRY_URL; default "+defaultURL+")"),
		context: f.String("context", "", "context of gantry context list that names it (GANTRY_CONTEXT; default the current one)"),
	}
	_ = cmd.RegisterFlagCompletionFunc("context", func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return completeContexts(cmd, nil, typed)
	})
	return t
}

// errTwoAddresses reports that the environment names two Gantrys.
var errTwoAddresses = errors.New("both GANTRY_URL and GANTRY_CONTEXT are set: unset one")

// chosen returns the context in effect. Flags count before the environment, and that before
// the current context; --url overrides the address of a context.
func (t target) chosen() (contexts.Context, error) {
	variable, named := os.Getenv("GANTRY_URL"), os.Getenv("GANTRY_CONTEXT")
	switch {
	case *t.context != "":
		named = *t.context
	case *t.url != "":
		return contexts.Context{URL: *t.url}, nil
	case variable != "" && named != "":
		return contexts.Context{}, errTwoAddresses
	case variable != "":
		return contexts.Context{URL: variable}, nil
	}
	all, err := contexts.Read()
	if err != nil {
		return contexts.Context{}, err
	}
	if named = cmp.Or(named, all.Current); named == "" {
		return contexts.Context{URL: defaultURL}, nil
	}
	c, err := all.Get(named)
	c.URL = cmp.Or(*t.url, c.URL)
	return c, err
}

// address returns the address of Gantry, and the context that names it.
func (t target) address() (*url.URL, contexts.Context, error) {
	c, err := t.chosen()
	if err != nil {
		return nil, c, err
	}
	u, err := parseAddress(c.URL)
	return u, c, err
}

// parseAddress reads the address of a Gantry.
func parseAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("--url: %q is not an address such as https://gantry.example.com", address)
	}
	return u, nil
}
