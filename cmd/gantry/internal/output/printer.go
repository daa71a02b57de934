package output

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/itchyny/gojq"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/gantryhq/gantry/decide/policy"
)

// Format is the value of -o.
type Format string

// The formats. Wide has the columns that a table leaves out, and name only the names
// that other commands take.
const (
	Table Format = "table"
	Wide  Format = "wide"
	JSON  Format = "json"
	YAML  Format = "yaml"
	Name  Format = "name"
)

// Printer prints what a command answers, as its flags and the terminal ask.
type Printer struct {
	Out, Err io.Writer // both Printable
	Format   Format
	Width    int       // of the terminal; 0 if Out isn't one, and lines may have any length
	Colour   bool      // whether to use colours
	UTC      bool      // print times, not ages
	All      bool      // print unset and default values, too
	Now      time.Time // that ages count from

	jq *gojq.Code // nil without --jq
}

// Structured reports whether a program reads the output: it is JSON or YAML.
func (p *Printer) Structured() bool { return p.Format == JSON || p.Format == YAML }

// Flags are the flags that every command shares that prints an answer.
type Flags struct {
	format, jq *string
	utc, all   *bool
}

// AddFlags adds -o with every format, --jq, --utc and --all.
func AddFlags(cmd *cobra.Command, flags *pflag.FlagSet) *Flags {
	f := AddFormatFlags(cmd, flags, Table, Wide, JSON, YAML, Name)
	f.utc = flags.Bool("utc", false, "print times, not how long ago they were")
	f.all = flags.Bool("all", false, "also print values that are unset or defaults")
	return f
}

// AddFormatFlags adds -o with these formats, the first by default, and --jq.
func AddFormatFlags(cmd *cobra.Command, flags *pflag.FlagSet, formats ...Format) *Flags {
	words := make([]string, len(formats))
	for i, format := range formats {
		words[i] = string(format)
	}
	f := &Flags{format: new(words[0]), utc: new(bool), all: new(bool)}
	last := len(words) - 1
	Choice(cmd, flags, f.format, "output", "o", "how to print: "+strings.Join(words[:last], ", ")+" or "+words[last], words...)
	f.jq = flags.String("jq", "", "print what this jq expression selects from the JSON")
	return f
}

// ColourFlag is the name of the flag that every command inherits.
const ColourFlag = "color"

// AddColourFlag adds --color to the program.
func AddColourFlag(root *cobra.Command) {
	Choice(root, root.PersistentFlags(), new("auto"), ColourFlag, "", "colours: auto (on a terminal, unless NO_COLOR is set), always or never", "auto", "always", "never")
}

// Printer returns the printer that the flags of a command ask for.
func (f *Flags) Printer(cmd *cobra.Command, now time.Time) (*Printer, error) {
	p := Plain(cmd, now)
	p.Format, p.UTC, p.All = Format(*f.format), *f.utc, *f.all
	if *f.jq == "" {
		return p, nil
	}
	if p.Format != JSON && cmd.Flags().Changed("output") {
		return nil, errors.New("--jq: it selects from JSON; leave -o out or give -o json")
	}
	query, err := gojq.Parse(*f.jq)
	if err == nil {
		p.Format = JSON
		p.jq, err = gojq.Compile(query, gojq.WithEnvironLoader(func() []string { return nil }))
	}
	if err != nil {
		return nil, fmt.Errorf("--jq: %q is no jq expression: %w", *f.jq, err)
	}
	return p, nil
}

// Plain returns the printer of a command without these flags.
func Plain(cmd *cobra.Command, now time.Time) *Printer {
	p := &Printer{Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr(), Format: Table, Now: now}
	out := underlying(p.Out)
	p.Width = widthOf(out)
	if f := cmd.Flag(ColourFlag); f != nil {
		p.Colour = f.Value.String() == "always" || f.Value.String() == "auto" && onTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return p
}

// underlying returns the writer that a Printable cleans the text for.
func underlying(w io.Writer) io.Writer {
	if p, ok := w.(Printable); ok {
		return p.Out
	}
	return w
}

// OnTerminal reports whether a writer or reader is a terminal.
func OnTerminal(v any) bool {
	if p, ok := v.(Printable); ok {
		v = p.Out
	}
	return onTerminal(v)
}

func onTerminal(v any) bool {
	if _, ok := v.(interface{ Columns() int }); ok {
		return true
	}
	file, ok := v.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Width returns the width of a terminal; 0 for any other writer.
func Width(w io.Writer) int { return widthOf(underlying(w)) }

// widthOf returns the width of a terminal; 0 for any other writer.
func widthOf(w io.Writer) int {
	if t, ok := w.(interface{ Columns() int }); ok {
		return t.Columns()
	}
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Write prints a text that isn't part of a table.
func (p *Printer) Write(text []byte) (int, error) { return p.Out.Write(text) }

// choice is a flag that takes one of several words, and if they are open others that
// resemble none of them.
type choice struct {
	value *string
	words []string
	open  bool
}

// Choice adds a flag that takes one of several words, in any case, and the initial value
// of *value besides. Shells complete them.
func Choice(cmd *cobra.Command, flags *pflag.FlagSet, value *string, name, short, usage string, words ...string) {
	flags.VarP(&choice{value, words, false}, name, short, usage)
	// It fails for unknown flags alone.
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// Likely is Choice for words to which others may be added: it refuses only a word that
// resembles one of them.
func Likely(cmd *cobra.Command, flags *pflag.FlagSet, value *string, name, usage string, words ...string) {
	flags.Var(&choice{value, words, true}, name, usage)
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func (c *choice) String() string { return *c.value }
func (*choice) Type() string     { return "string" }

func (c *choice) Set(given string) error {
	if i := slices.IndexFunc(c.words, func(word string) bool { return strings.EqualFold(word, given) }); i >= 0 {
		*c.value = c.words[i]
		return nil
	}
	if near, ok := policy.Nearest(given, c.words); ok {
		return fmt.Errorf("there is no %q; did you mean %s?", given, near)
	}
	if c.open {
		*c.value = given
		return nil
	}
	return fmt.Errorf("there is no %q; choose one of %s", given, strings.Join(c.words, ", "))
}

// Onto returns a printer of the same format that prints elsewhere what it would print on its
// own output now.
func (p *Printer) Onto(w io.Writer, now time.Time) *Printer {
	other := *p
	other.Width, other.Now = widthOf(underlying(p.Out)), now
	other.Out, other.Err = Printable{w}, Printable{w}
	return &other
}

// Terminal returns the terminal behind a writer, for a program that draws on it.
func Terminal(w io.Writer) io.Writer { return underlying(w) }

// Raw writes what another Printer has printed.
func Raw(w io.Writer, printed string) error {
	_, err := io.WriteString(underlying(w), printed)
	return err
}
