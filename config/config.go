// Package config reads Gantry's configuration: a YAML file, the environment and
// flags, each over the one before, and secrets from files.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/server"
)

// Config holds all settings of `gantry serve`. Each scalar setting has one name:
// `inbox.linger` in the file is GANTRY_INBOX_LINGER in the environment, and
// --inbox-linger as a flag.
//
// The `doc` tags are the text of docs/reference/configuration.md; a test compares
// the two.
type Config struct {
	Listen         string              `setting:"listen" doc:"Address of the public listener: the webhook, the API, Swagger UI, and probes without details."`
	OpsListen      string              `setting:"opsListen" doc:"Address of the operations listener: /metrics, /readyz with every detail, /healthz and pprof, without tokens. Keep it inside. Empty for none."`
	TrustedProxies Names               `setting:"trustedProxies" doc:"Addresses or networks (10.0.0.0/8) of the proxies in front of Gantry. Their X-Forwarded-For or Forwarded header names the source of a request. In the environment, with commas between."`
	PublicURL      string              `setting:"publicUrl" doc:"Address of Gantry in browsers, such as https://gantry.acme.example. People sign in there, and messages and Temporal's UI link there. Without one, the host of each request decides whether session cookies need https."`
	ProxyProtocol  bool                `setting:"proxyProtocol" doc:"Whether connections from trustedProxies begin with a PROXY header, version 1 or 2, that names the source."`
	TLS            TLS                 `setting:"tls"`
	ShutdownDelay  time.Duration       `setting:"shutdownDelay" doc:"Time between readiness 503 and the end of new requests when Gantry stops, for load balancers to notice. 5s suits Kubernetes."`
	Role           string              `setting:"role" oneof:"all api worker" doc:"Work of this process: api receives webhooks and serves the API, worker runs the workflows and has no API, all does both."`
	Data           string              `setting:"data" doc:"Folder of the inbox and the audit log. Each replica needs its own, on a disk that outlives it."`
	Replica        string              `setting:"replica" doc:"Name of this replica in the delivery log and the audit log. Empty for the host's name."`
	Peers          Names               `setting:"peers" doc:"Addresses at which the replicas reach each other's public listener, such as http://gantry-headless:8080. A name with several addresses, such as that of a headless Service, stands for the replicas at all of them. Lists of deliveries then cover all replicas. In the environment, with commas between."`
	Log            Log                 `setting:"log"`
	Temporal       Temporal            `setting:"temporal"`
	Inbox          Inbox               `setting:"inbox"`
	Reconcile      Reconcile           `setting:"reconcile"`
	Guardian       Guardian            `setting:"guardian"`
	Audit          Audit               `setting:"audit"`
	Labels         Labels              `setting:"labels"`
	Logs           Logs                `setting:"logs"`
	Accounts       []Account           `setting:"accounts" doc:"Spacelift accounts. At least one is needed, each with a webhook secret."`
	Tokens         []authority.Token   `setting:"tokens" doc:"Tokens of the API under /v1. gantry token create makes them."`
	Bindings       []authority.Binding `setting:"bindings" doc:"Roles of people, groups and tokens, and where they hold. Gantry refuses everything that no role allows."`
	Issuers        []authority.Issuer  `setting:"issuers" doc:"Issuers of OpenID Connect whose tokens Gantry takes: identity providers of people, and of workloads such as GitHub Actions."`
	SignIn         authority.SignIn    `setting:"signIn"`
	People         []Person            `setting:"people" doc:"People with several names. Nobody can approve a run that another name of theirs triggered or wrote."`
	Channels       []Channel           `setting:"channels" doc:"Channels of notifications: Slack and signed webhooks."`
	Windows        []Window            `setting:"windows" doc:"Times at which Gantry may confirm. A label or profile names them."`
	Profiles       []Profile           `setting:"profiles" doc:"Sets of values that gantry:profile=NAME starts from, and that rules give to stacks. A value that one leaves out keeps its default."`
	DefaultProfile string              `setting:"defaultProfile" doc:"Profile that every stack starts from. Rules and labels override its values."`
	Rules          []Rule              `setting:"rules" doc:"Rules that give stacks the values of a profile. All that match a stack apply; later ones override earlier ones, except locked ones."`
}

// TLS holds the settings of TLS on the public listener.
type TLS struct {
	CertFile string `setting:"certFile" doc:"File with the certificate of the public listener and its chain, in PEM; Gantry reads it again when it changes. Without one, the listener speaks plain HTTP, for a proxy that terminates TLS."`
	KeyFile  string `setting:"keyFile" doc:"File with the private key of the certificate, in PEM; Gantry reads it again when it changes."`
}

// Log holds the settings of logging.
type Log struct {
	Level  string `setting:"level" oneof:"debug info warn error" doc:"debug, info, warn or error."`
	Format string `setting:"format" oneof:"json text" doc:"json or text."`
}

// Temporal holds the settings of using Temporal. Its credentials, and its address
// unless the file gives it, come from the SDK's own TEMPORAL_* variables and
// temporal.toml.
type Temporal struct {
	Address   string `setting:"address" doc:"Address of Temporal's frontend. The SDK's temporal.toml gives it where nothing else does."`
	Namespace string `setting:"namespace" doc:"Temporal namespace of the workflows. The SDK's temporal.toml gives it where nothing else does."`
	UIURL     string `setting:"uiUrl" doc:"Address of Temporal's UI in browsers, such as https://temporal.acme.example. Pages of runs link to their executions there. Empty for no links."`
	TaskQueue string `setting:"taskQueue" doc:"Task queue of the workflows. All replicas that share a namespace share it."`
}

// Inbox holds the settings and limits of the durable store of accepted events.
type Inbox struct {
	Linger      time.Duration `setting:"linger" doc:"Longest wait of an event that needs no decision for more events of its run, to be forwarded together. 0 forwards each immediately."`
	Concurrency int           `setting:"concurrency" doc:"Runs forwarded to Temporal at the same time."`
	EntryCount  int           `setting:"entryCount" doc:"Forwarded deliveries to keep, and to list of those that wait; Gantry recognises repeats among these. It always keeps events that wait to be forwarded."`
	EntryBytes  int64         `setting:"entryBytes" doc:"Bytes of forwarded deliveries to keep, without their bodies."`
	BodyCount   int           `setting:"bodyCount" doc:"Bodies of forwarded deliveries to keep; Gantry removes the oldest first, before their entries."`
	BodyBytes   int64         `setting:"bodyBytes" doc:"Bytes of the bodies of forwarded deliveries to keep."`
	LogCount    int           `setting:"logCount" doc:"Ignored deliveries to keep in the log, and as many refused ones."`
}

// Reconcile holds the settings of Reconcile, which finds changes without a
// notification.
type Reconcile struct {
	Interval time.Duration `setting:"interval" doc:"Time between comparisons of each account's runs with Spacelift. 0 switches them off, and the guardian too."`
}

// Guardian holds the settings of watching the webhook that sends notifications.
type Guardian struct {
	Webhook  string `setting:"webhook" doc:"Id of the named webhook to watch in each account."`
	Reenable bool   `setting:"reenable" doc:"Whether to switch the webhook on again after Spacelift switched it off."`
	Notify   Names  `setting:"notify" doc:"Channels that receive the guardian's findings and their ends, and runs that a label holds on stacks without a channel. In the environment, with commas between."`
}

// Audit holds the settings of the audit log.
type Audit struct {
	Folder  string `setting:"folder" doc:"Folder of this replica's audit log. Empty means audit in the folder of data."`
	Channel string `setting:"channel" doc:"Channel, of kind webhook, that receives the lines of the audit log in signed batches, at least once and in order. Empty for none."`
}

// Account holds the settings of a Spacelift account.
type Account struct {
	Name               string   `setting:"name" doc:"Account name: the subdomain at app.spacelift.io, as notifications spell it."`
	Endpoint           string   `setting:"endpoint" doc:"Base address of the account, such as https://acme.app.spacelift.io."`
	APIKeyID           string   `setting:"apiKeyId" doc:"Id of Gantry's API key."`
	APIKeySecret       string   `setting:"apiKeySecret" secret:"true" doc:"Secret of the API key; prefer a file."`
	APIKeySecretFile   string   `setting:"apiKeySecretFile" doc:"File with the secret of the API key; Gantry reads it again when it changes."`
	WebhookSecrets     []string `setting:"webhookSecrets" secret:"true" doc:"Live webhook secrets, the current one first; prefer files."`
	WebhookSecretFiles []string `setting:"webhookSecretFiles" doc:"Files with live webhook secrets, the current one first; Gantry reads them again when they change. Give all secrets in files, or all as text."`
	SecretHeader       string   `setting:"secretHeader" doc:"Header that every notification must have, as a second factor."`
	SecretHeaderValue  string   `setting:"secretHeaderValue" secret:"true" doc:"Value of that header; prefer a file."`
	SecretHeaderFile   string   `setting:"secretHeaderFile" doc:"File with the value of that header; Gantry reads it again when it changes."`
}

// The values of Config.Role.
const (
	RoleAll    = "all"
	RoleAPI    = "api"
	RoleWorker = "worker"
)

// Default returns the configuration that file, environment and flags change.
func Default() Config {
	return Config{
		Listen:    "127.0.0.1:8080",
		OpsListen: "127.0.0.1:8081",
		Role:      RoleAll,
		Data:      "gantry-data",
		Log:       Log{Level: "info", Format: "json"},
		Temporal:  Temporal{Address: client.DefaultHostPort, Namespace: client.DefaultNamespace, TaskQueue: "gantry"},
		Inbox:     Inbox{Linger: 2 * time.Second, Concurrency: 16, EntryCount: 50_000, EntryBytes: 128 << 20, BodyCount: 20_000, BodyBytes: 64 << 20, LogCount: 10_000},
		Reconcile: Reconcile{Interval: 2 * time.Minute},
		SignIn:    authority.SignIn{Scopes: "openid profile email", Idle: time.Hour, Lifetime: 12 * time.Hour},
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

// Validate joins a policy.Mistake for everything that keeps Gantry from starting.
func (c Config) Validate() error { return c.validate(false, nil) }

// validate uses the origins of values, if known, to name settings as the operator
// gave them.
func (c Config) validate(withoutAccount bool, origins map[string]string) error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	problems = append(problems, c.listenProblems()...)
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
	problems = append(problems, c.Temporal.problems()...)
	if i := c.Reconcile.Interval; i != 0 && (i < time.Second || i > 24*time.Hour) {
		bad("reconcile.interval: %s is neither 0 nor within 1s and 24h", i)
	}
	for _, p := range c.Peers {
		if _, err := server.ParsePeer(p); err != nil {
			bad("peers: %w", err)
		}
	}
	problems = append(problems, c.Inbox.problems()...)
	if _, err := c.Authority(); err != nil {
		problems = append(problems, err)
	}
	if _, err := authority.NewIssuers(c.Issuers); err != nil {
		problems = append(problems, err)
	}
	problems = append(problems, c.SignIn.Problems(c.Issuers)...)
	problems = append(problems, c.channelProblems()...)
	problems = append(problems, c.ruleProblems()...)
	if _, err := c.Definitions(); err != nil {
		problems = append(problems, err)
	}
	if len(c.Accounts) == 0 && !withoutAccount {
		bad("accounts: none is configured. Set GANTRY_ACCOUNT, GANTRY_WEBHOOK_SECRET_FILE, SPACELIFT_API_KEY_ENDPOINT, SPACELIFT_API_KEY_ID and SPACELIFT_API_KEY_SECRET, or list accounts in the configuration file")
	}
	for i, a := range c.Accounts {
		nameOf := func(setting string) string { return nameOfAccountSetting(origins, i, setting) }
		problems = append(problems, a.problems(nameOf, i, c.Accounts[:i])...)
	}
	return errors.Join(problems...)
}

// listenProblems reports invalid settings of the listeners.
func (c Config) listenProblems() (problems []error) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !canListen(c.Listen) {
		bad("listen: %q is not an address such as 127.0.0.1:8080", c.Listen)
	}
	if c.OpsListen != "" && !canListen(c.OpsListen) {
		bad("opsListen: %q is not an address such as 127.0.0.1:8081", c.OpsListen)
	}
	if c.OpsListen == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
		bad("opsListen: %s is the address of listen; give the operations listener another port", c.OpsListen)
	}
	if _, err := c.Proxies(); err != nil {
		bad("%w", err)
	}
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		bad("proxyProtocol: name the proxies in trustedProxies; anybody else could claim any source")
	}
	switch {
	case c.PublicURL != "" && !authority.SecureURL(c.PublicURL):
		bad("publicUrl: %q is not an address such as https://gantry.acme.example", c.PublicURL)
	case c.PublicURL == "" && c.SignIn.Issuer != "":
		bad("publicUrl: it is missing; signIn.issuer needs it")
	}
	if u, err := url.Parse(c.Temporal.UIURL); c.Temporal.UIURL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		bad("temporal.uiUrl: %q is not an address such as https://temporal.acme.example", c.Temporal.UIURL)
	}
	if c.ShutdownDelay < 0 || c.ShutdownDelay > 5*time.Minute {
		bad("shutdownDelay: %s is not within 0 and 5m", c.ShutdownDelay)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("tls: certFile and keyFile belong together; set both, or neither for plain HTTP")
	}
	return problems
}

// canListen reports whether an address has a port that exists.
func canListen(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port) // by number or by name, without the network
	}
	return err == nil
}

// problems reports invalid limits.
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
