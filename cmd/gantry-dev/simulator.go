package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

var errPace = errors.New("--pace: write a number of at least 0, such as 0.05")

// validPace reports whether phases can take that long. 10,000 is past any real stack.
func validPace(pace float64) bool { return pace >= 0 && pace <= 10_000 }

type simulatorOptions struct {
	listen         string
	insecureListen bool
	account        string
	keys           []string
	pace           float64
	seed           uint64
	state          string
	config         string
	logLevel       string
}

func newSimulatorCommand() *cobra.Command {
	var o simulatorOptions
	cmd := &cobra.Command{
		Use:   "simulator",
		Short: "Run the simulated Spacelift alone",
		Long: `Runs a simulated Spacelift account alone: its GraphQL API at /graphql and a
control API at /simulator/v1 that plays people, Git and Terraform. Only its
webhooks leave this machine. Use it to test software that drives Spacelift;
simulator/README.md lists what it simulates.

The control API has no authentication, so it listens on loopback only.`,
		Example: `  gantry-dev simulator --config account.yaml
  gantry-dev simulator --listen 127.0.0.1:0 --api-key 01CI:secret --pace 0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("seed") {
				o.seed = uint64(time.Now().UnixNano())
			}
			return runSimulator(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:8090", "address to serve on; port 0 takes a free one")
	f.BoolVar(&o.insecureListen, "insecure-listen", false, "listen on addresses that other machines can reach: each of them controls the account")
	f.StringVar(&o.account, "account", "", `name of the account (default: that of the --state, else "acme")`)
	f.StringArrayVar(&o.keys, "api-key", nil, "ID:SECRET of an API key with admin rights; repeatable (default: create one and print it)")
	f.Float64Var(&o.pace, "pace", 0.05, "how long simulated phases take, relative to a real small stack (1 is real time, 0 no time)")
	f.Uint64Var(&o.seed, "seed", 0, "makes ids, hashes and random faults repeatable, except for the time in them (default: random)")
	f.StringVar(&o.state, "state", "", "file that keeps the account across restarts, including secrets; if the simulator is killed, the last moment may be lost (default: nothing is kept)")
	f.StringVar(&o.config, "config", "", "YAML or JSON file with the stacks, webhooks, policies and more of a new account, as the control API takes them")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func runSimulator(ctx context.Context, o simulatorOptions, out, logs io.Writer) error {
	log, err := newLogger(o.logLevel, logs)
	if err != nil {
		return err
	}
	if !validPace(o.pace) {
		return errPace
	}
	keys, err := parseKeys(o.keys)
	if err != nil {
		return err
	}
	if err := checkListen(o.listen, o.insecureListen); err != nil {
		return err
	}
	if o.account != "" {
		if err := spacelift.ValidateAccount(spacelift.Account(o.account)); err != nil {
			return fmt.Errorf("--account: it %w", err)
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	a, restored, err := openAccount(o.state, simulator.Options{
		Account: spacelift.Account(o.account), Seed: o.seed, Phases: simulator.RealisticPhases().Scaled(o.pace), Logger: log,
	}, o.setUp, func(*simulator.Simulator) error { return nil })
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	a.listener = listener
	defer a.close()
	if restored && o.config != "" {
		log.Info("--config ignored: the account was restored", "config", o.config)
	}
	for _, k := range keys {
		a.simulator.AddAPIKey(k)
	}
	made := ""
	if len(a.simulator.APIKeys()) == 0 {
		k := a.simulator.AddAPIKey(simulator.APIKey{Name: "created at start"})
		made = k.ID + ":" + k.Secret
	}
	printReady(out, a, made, o.state)
	return a.serve(ctx)
}

func newLogger(level string, to io.Writer) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level: %q is none of debug, info, warn and error", level)
	}
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: l})), nil
}

// parseKeys parses ID:SECRET. Errors don't repeat what may be a secret.
func parseKeys(pairs []string) ([]simulator.APIKey, error) {
	var keys []simulator.APIKey
	for i, pair := range pairs {
		id, secret, ok := strings.Cut(pair, ":")
		if !ok || id == "" || secret == "" {
			return nil, fmt.Errorf("--api-key: number %d is not of the form ID:SECRET", i+1)
		}
		keys = append(keys, simulator.APIKey{ID: id, Secret: secret})
	}
	return keys, nil
}

// checkListen refuses addresses that other machines can reach.
func checkListen(address string, insecure bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if ip := net.ParseIP(host); insecure || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("--listen %s is not loopback, and the control API has no authentication: anyone who reaches it controls the account; "+
		"add --insecure-listen to allow that", address)
}

// setUp sets a new account up from the configuration file, if there is one.
func (o simulatorOptions) setUp(s *simulator.Simulator) error {
	if o.config == "" {
		return nil
	}
	text, err := os.ReadFile(o.config)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	if !json.Valid(text) { // a YAML parser reads JSON too, except for tabs
		if text, err = jsonOf(text); err != nil {
			return fmt.Errorf("--config %s: %w", o.config, err)
		}
	}
	if err := s.SetUp(bytes.NewReader(text)); err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Type.Kind() == reflect.String {
			return fmt.Errorf("--config %s: %w; write it in quotes", o.config, err)
		}
		return fmt.Errorf("--config %s: %w", o.config, err)
	}
	return nil
}

var ready = template.Must(template.New("ready").Parse(`
The simulated Spacelift account {{.Account}} is ready.

  URL        {{.URL}}      GraphQL at /graphql, control API at /simulator/v1
  API key    {{if .Made}}{{.Made}}{{else}}{{range $i, $id := .Keys}}{{if $i}}, {{end}}{{$id}}{{end}}{{end}}
{{- if .State}}
  State      {{.State}}
{{- end}}

{{if .Stack}}Push a change to the stack {{.Stack}}:

  curl -s --json '{"plan":{"delta":{"added":2}}}' {{.URL}}/simulator/v1/stacks/{{.Stack}}/pushes
{{else}}Add a stack:

  curl -s --json '{"id":"network","autodeploy":true}' {{.URL}}/simulator/v1/stacks
{{end}}
Ctrl-C stops it.

`))

func printReady(out io.Writer, a *account, made, state string) {
	var ids []string
	for _, k := range a.simulator.APIKeys() {
		ids = append(ids, k.ID)
	}
	stack := ""
	stacks := a.simulator.Stacks()
	if i := slices.IndexFunc(stacks, func(s simulator.StackStatus) bool { return !s.Module }); i >= 0 {
		stack = url.PathEscape(string(stacks[i].ID))
	}
	// An error means that the output is closed.
	_ = ready.Execute(out, map[string]any{
		"Account": a.simulator.Account(), "URL": a.url(), "Made": made, "Keys": ids, "State": state, "Stack": stack,
	})
}
