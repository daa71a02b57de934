package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/decide/policy"
)

// explainUsage makes the help of all commands fit the terminal, and mistakes in a command
// line say what to write instead.
func explainUsage(root *cobra.Command) {
	cobra.AddTemplateFuncs(map[string]any{
		"paragraphs": func(c *cobra.Command, text string) string { return output.Paragraphs(text, columnsOf(c)) },
		"flags":      func(c *cobra.Command, f *pflag.FlagSet) string { return f.FlagUsagesWrapped(columnsOf(c)) },
	})
	help := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		c.Annotations = map[string]string{columns: strconv.Itoa(output.Width(c.OutOrStdout()))} // cobra writes parts of it elsewhere first
		help(c, args)
	})
	root.SetHelpTemplate(`{{with (or .Long .Short)}}{{paragraphs $ . | trimTrailingWhitespaces}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}`)
	root.SetUsageTemplate(strings.NewReplacer(".LocalFlags.FlagUsages", "flags $ .LocalFlags", ".InheritedFlags.FlagUsages", "flags $ .InheritedFlags").Replace(root.UsageTemplate()))
	root.SetFlagErrorFunc(flagError)
	root.InitDefaultHelpCmd()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		switch {
		case c.Name() == "help" && c.Parent() == root:
			refuseUnknownTopics(c)
		case c.HasSubCommands():
			refuseUnknown(c)
		case c.Args != nil:
			c.Args = explainArgs(c.Args)
		}
	}
	for _, c := range root.Commands() {
		walk(c)
	}
}

// columns annotates a command with the width of the terminal for which its help is written.
const columns = "columns"

func columnsOf(c *cobra.Command) int {
	width, _ := strconv.Atoi(c.Annotations[columns]) // 0 without a terminal
	return width
}

// refuseUnknown makes an unknown subcommand an error: cobra alone would print help
// and exit with 0, as if it had run.
func refuseUnknown(c *cobra.Command) {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(c, args)
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
}

// refuseUnknownTopics makes help about a command that doesn't exist an error, too.
func refuseUnknownTopics(help *cobra.Command) {
	help.Run = nil
	help.RunE = func(c *cobra.Command, args []string) error {
		about, rest, err := c.Root().Find(args)
		if err == nil && len(rest) > 0 {
			err = unknownCommand(about, rest)
		}
		if err != nil {
			return err
		}
		about.InitDefaultHelpFlag()
		about.SetOut(c.OutOrStdout())
		return about.Help()
	}
}

// unknownCommand returns the error that cobra returns for the program itself.
func unknownCommand(c *cobra.Command, args []string) error {
	c.SuggestionsMinimumDistance = 2
	text := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += "\n\nDid you mean this?\n\t" + strings.Join(near, "\n\t") + "\n"
	}
	return errors.New(text)
}

// explainArgs returns a check of arguments whose error shows how the command is used.
func explainArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check(c, args) == nil {
			return nil
		}
		_, takes, _ := strings.Cut(c.Use, " ")
		switch {
		case takes == "":
			return fmt.Errorf("%s takes no arguments, but %q was given", c.CommandPath(), args[0])
		case len(args) == 1:
			return fmt.Errorf("1 argument was given; write %s %s", c.CommandPath(), takes)
		}
		return fmt.Errorf("%d arguments were given; write %s %s", len(args), c.CommandPath(), takes)
	}
}

// flagError explains an error in a flag. A flag of a subcommand that doesn't exist is
// unknown because of that.
func flagError(c *cobra.Command, err error) error {
	if args := c.Flags().Args(); c.HasSubCommands() && len(args) > 0 {
		return unknownCommand(c, args)
	}
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	var all []string
	c.Flags().VisitAll(func(f *pflag.Flag) { all = append(all, f.Name) })
	if near, ok := policy.Nearest(unknown.GetSpecifiedName(), all); ok && len(unknown.GetSpecifiedName()) > 1 {
		return fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return fmt.Errorf("%w; %s --help lists the flags", err, c.CommandPath())
}

var exclusiveFlags = regexp.MustCompile(`^if any flags in the group \[.*\] are set none of the others can be; \[(.*)\] were all set$`)

// explainFlags returns cobra's errors about several flags in words of ours.
func explainFlags(err error) error {
	m := exclusiveFlags.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	return fmt.Errorf("give only one of --%s", strings.Join(strings.Fields(m[1]), " and --"))
}

// atLeastOne is a flag for a positive number.
type atLeastOne int

// countFlag adds a flag for a positive number.
func countFlag(cmd *cobra.Command, name string, initially int, usage string) *int {
	value := new(initially)
	cmd.Flags().Var((*atLeastOne)(value), name, usage)
	return value
}

func (n *atLeastOne) String() string { return strconv.Itoa(int(*n)) }
func (*atLeastOne) Type() string     { return "int" }

func (n *atLeastOne) Set(given string) error {
	value, err := strconv.Atoi(given)
	if err != nil || value < 1 {
		return errors.New("give a whole number of 1 or more")
	}
	*n = atLeastOne(value)
	return nil
}
