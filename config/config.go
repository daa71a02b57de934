// Package config reads Gantry's configuration: one YAML file, the environment
// and flags, each over the one before, with secrets from files.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/gantryhq/gantry/server"
)

// Config is everything `gantry serve` can be told. Each scalar setting has one
// name: `inbox.linger` in the file is GANTRY_INBOX_LINGER in the environment,
// and where there is a flag it is --inbox-linger.
//
// docs/reference/configuration.md is checked against it by a test: the `doc`
// tags are its text.
type Config struct {
	Listen         string         `setting:"listen" doc:"Address to serve HTTP on."`
	TrustedProxies Names          `setting:"trustedProxies" doc:"Addresses or networks (10.0.0.0/8) of the proxies in front of Gantry. Their X-Forwarded-For or Forwarded header names the source of a request to the webhook. In the environment, with commas between."`
	ProxyProtocol  bool           `setting:"proxyProtocol" doc:"Whether connections from trustedProxies begin with a PROXY header, version 1 or 2, that names the source."`
	Role           string         `setting:"role" doc:"What this process does: api takes webhooks and serves the API, worker runs the workflows and takes nothing, all does both."`
	Data           string         `setting:"data" doc:"Folder of the inbox. Each replica needs its own, on a disk that outlives it."`
	Log            Log            `setting:"log"`
	Temporal       Temporal       `setting:"temporal"`
	Inbox          Inbox          `setting:"inbox"`
	Reconcile      Reconcile      `setting:"reconcile"`
	Guardian       Guardian       `setting:"guardian"`
	Labels         Labels         `setting:"labels"`
	Logs           Logs           `setting:"logs"`
	Accounts       []Account      `setting:"accounts" doc:"Spacelift accounts. At least one is needed, each with a webhook secret."`
	Tokens         []server.Token `setting:"tokens" doc:"Who may use the API under /v1. Made by gantry token create."`
	People         []Person       `setting:"people" doc:"Who goes by several names. Nobody approves what another name of theirs triggered or wrote."`
	Channels       []Channel      `setting:"channels" doc:"Where people and programs are told: Slack and signed webhooks."`
	Windows        []Window       `setting:"windows" doc:"When Gantry may confirm. A label or profile names them."`
	Profiles       []Profile      `setting:"profiles" doc:"Sets of values that gantry:profile=NAME starts from. What one leaves out keeps its default."`
}

// Log says how to log.
type Log struct {
	Level  string `setting:"level" doc:"debug, info, warn or error."`
	Format string `setting:"format" doc:"json or text."`
}

// Temporal says how to use Temporal. How to reach it is told by the SDK's own
// TEMPORAL_* variables and temporal.toml.
type Temporal struct {
	TaskQueue string `setting:"taskQueue" doc:"Task queue of the workflows. All replicas that share a namespace share it."`
}

// Inbox bounds the durable store of accepted events.
type Inbox struct {
	Linger      time.Duration `setting:"linger" doc:"How long an event that needs no decision may wait for more events of its run, to be forwarded together. 0 forwards each at once."`
	Concurrency int           `setting:"concurrency" doc:"Runs forwarded to Temporal at the same time."`
	EntryCount  int           `setting:"entryCount" doc:"Forwarded deliveries to keep, which is also the window in which a repeat is recognised. What waits to be forwarded is always kept."`
	EntryBytes  int64         `setting:"entryBytes" doc:"Bytes of forwarded deliveries to keep, without their bodies."`
	BodyCount   int           `setting:"bodyCount" doc:"Bodies of forwarded deliveries to keep; the oldest go first, before their entries."`
	BodyBytes   int64         `setting:"bodyBytes" doc:"Bytes of the bodies of forwarded deliveries to keep."`
	LogCount    int           `setting:"logCount" doc:"Ignored deliveries to keep in the log, and as many refused ones."`
}

// Reconcile says how to look for what no notification told.
type Reconcile struct {
	Interval time.Duration `setting:"interval" doc:"How often to compare each account's runs with Spacelift. 0 switches it off, and the guardian with it."`
}

// Guardian says how to watch the webhook that notifications come through.
type Guardian struct {
	Webhook  string `setting:"webhook" doc:"Id of the named webhook to watch in each account."`
	Reenable bool   `setting:"reenable" doc:"Whether to switch the webhook on again when Spacelift switched it off."`
	Notify   Names  `setting:"notify" doc:"Channels that are told what the guardian finds, and when it is over. In the environment, with commas between."`
}

// Account is a Spacelift account.
type Account struct {
	Name               string   `setting:"name" doc:"Account name: the subdomain at app.spacelift.io, as notifications spell it."`
	Endpoint           string   `setting:"endpoint" doc:"Base address of the account, such as https://acme.app.spacelift.io."`
	APIKeyID           string   `setting:"apiKeyId" doc:"Id of the API key Gantry acts with."`
	APIKeySecret       string   `setting:"apiKeySecret" secret:"true" doc:"Secret of the API key; better in a file."`
	APIKeySecretFile   string   `setting:"apiKeySecretFile" doc:"File that holds the secret of the API key; read again when it changes."`
	WebhookSecrets     []string `setting:"webhookSecrets" secret:"true" doc:"Live webhook secrets, the current one first; better in files."`
	WebhookSecretFiles []string `setting:"webhookSecretFiles" doc:"Files that hold live webhook secrets, the current one first; read again when they change. They come before webhookSecrets."`
	SecretHeader       string   `setting:"secretHeader" doc:"Header that must come with every notification, as a second factor."`
	SecretHeaderValue  string   `setting:"secretHeaderValue" secret:"true" doc:"Value of that header; better in a file."`
	SecretHeaderFile   string   `setting:"secretHeaderFile" doc:"File that holds the value of that header; read again when it changes."`
}

// What a process can be told to do, as Config.Role.
const (
	RoleAll    = "all"
	RoleAPI    = "api"
	RoleWorker = "worker"
)

// Default is what holds where nothing else is said.
func Default() Config {
	return Config{
		Listen:    "127.0.0.1:8080",
		Role:      RoleAll,
		Data:      "gantry-data",
		Log:       Log{Level: "info", Format: "json"},
		Temporal:  Temporal{TaskQueue: "gantry"},
		Inbox:     Inbox{Linger: 2 * time.Second, Concurrency: 16, EntryCount: 50_000, EntryBytes: 128 << 20, BodyCount: 20_000, BodyBytes: 64 << 20, LogCount: 10_000},
		Reconcile: Reconcile{Interval: 2 * time.Minute},
		Guardian:  Guardian{Webhook: "gantry", Reenable: true},
	}
}

// Proxies returns the networks of the trusted proxies.
func (c Config) Proxies() (all []netip.Prefix, err error) {
	for _, p := range c.TrustedProxies {
		network, err := netip.ParsePrefix(p)
		if a, addrErr := netip.ParseAddr(p); addrErr == nil {
			network, err = a.Prefix(a.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("trustedProxies: %q is neither an address nor a network such as 10.0.0.0/8", p)
		}
		all = append(all, network.Masked())
	}
	return all, nil
}

// Validate reports everything that keeps Gantry from starting, each with what
// to do about it.
func (c Config) Validate() error { return c.validate(false, nil) }

// validate takes where each value came from, as far as it is known, to name
// settings as they were given.
func (c Config) validate(withoutAccount bool, origins map[string]string) error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen: %q is not an address such as 127.0.0.1:8080", c.Listen)
	}
	if _, err := c.Proxies(); err != nil {
		bad("%w", err)
	}
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		bad("proxyProtocol: name the proxies in trustedProxies; anybody else could claim any source")
	}
	if !slices.Contains([]string{RoleAll, RoleAPI, RoleWorker}, c.Role) {
		bad("role: %q is none of all, api and worker", c.Role)
	}
	if c.Data == "" {
		bad("data: give the folder of the inbox")
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		bad("log.level: %q is none of debug, info, warn and error", c.Log.Level)
	}
	if c.Log.Format != "json" && c.Log.Format != "text" {
		bad("log.format: %q is neither json nor text", c.Log.Format)
	}
	if c.Temporal.TaskQueue == "" {
		bad("temporal.taskQueue: must not be empty")
	}
	if i := c.Reconcile.Interval; i != 0 && (i < time.Second || i > 24*time.Hour) {
		bad("reconcile.interval: %s is neither 0 nor within 1s and 24h", i)
	}
	problems = append(problems, c.Inbox.problems()...)
	if err := server.CheckTokens(c.Tokens, c.Persons()); err != nil {
		problems = append(problems, err)
	}
	problems = append(problems, c.channelProblems()...)
	if _, err := c.Definitions(); err != nil {
		problems = append(problems, err)
	}
	if len(c.Accounts) == 0 && !withoutAccount {
		bad("accounts: none is configured. Set GANTRY_ACCOUNT, GANTRY_WEBHOOK_SECRET_FILE, SPACELIFT_API_KEY_ENDPOINT, SPACELIFT_API_KEY_ID and SPACELIFT_API_KEY_SECRET, or list accounts in the configuration file")
	}
	for i, a := range c.Accounts {
		spelt := inFile
		if origins[accountSetting(i, "name")] == accountVariables["name"][0] {
			spelt = inEnvironment
		}
		problems = append(problems, a.problems(spelt, i, c.Accounts[:i])...)
	}
	return errors.Join(problems...)
}

// problems reports the bounds that can't be used.
func (i Inbox) problems() (problems []error) {
	if i.Linger < 0 || i.Linger > time.Minute {
		problems = append(problems, fmt.Errorf("inbox.linger: %s is not within 0 and 1m", i.Linger))
	}
	for _, v := range []struct {
		name  string
		value int64
	}{
		{"inbox.concurrency", int64(i.Concurrency)}, {"inbox.entryCount", int64(i.EntryCount)},
		{"inbox.entryBytes", i.EntryBytes}, {"inbox.bodyCount", int64(i.BodyCount)},
		{"inbox.bodyBytes", i.BodyBytes}, {"inbox.logCount", int64(i.LogCount)},
	} {
		if v.value < 1 {
			problems = append(problems, fmt.Errorf("%s: %d is not positive", v.name, v.value))
		}
	}
	return problems
}
