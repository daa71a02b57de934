package rig

import (
	"encoding/base64"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/e2e/schedules/history"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func silent() *log.Logger { return slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) }

// token returns the token of a person.
func token(name string) string { return "gantry_schedules_" + name }

// audience is a name of Gantry in the issuer's tokens.
const audience = "gantry"

// bearer returns the token by which a person calls Gantry.
func (r *Rig) bearer(name string) string {
	i := slices.IndexFunc(r.setup.People, func(p history.Person) bool { return p.Name == name })
	if i < 0 || r.setup.People[i].Signs == "" {
		return token(name)
	}
	claims := map[string]any{"sub": name, "aud": audience, "groups": r.setup.People[i].Groups}
	if r.setup.People[i].Signs == history.Stranger {
		claims["iss"] = r.Issuer.URL
		return r.stranger.Sign(claims)
	}
	return r.Issuer.Sign(claims)
}

// channelSecret signs the messages to a channel.
var channelSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("schedules: 32 bytes of a secret."))

// configuration is the part of Gantry's configuration file that a rig writes.
type configuration struct {
	Listen    string            `yaml:"listen"`
	OpsListen string            `yaml:"opsListen"`
	Role      string            `yaml:"role"`
	Data      string            `yaml:"data"`
	Log       map[string]string `yaml:"log"`
	Inbox     map[string]string `yaml:"inbox"`
	Reconcile map[string]string `yaml:"reconcile"`
	Guardian  map[string]any    `yaml:"guardian"`
	Labels    map[string]bool   `yaml:"labels"`
	Logs      map[string]bool   `yaml:"logs"`
	Peers     []string          `yaml:"peers"`
	Accounts  []map[string]any  `yaml:"accounts"`
	Tokens    []map[string]any  `yaml:"tokens"`
	People    []map[string]any  `yaml:"people"`
	Bindings  []map[string]any  `yaml:"bindings"`
	Issuers   []map[string]any  `yaml:"issuers"`
	Channels  []map[string]any  `yaml:"channels"`
	Windows   []map[string]any  `yaml:"windows"`
	Profiles  []history.Profile `yaml:"profiles"`
	Rules     []map[string]any  `yaml:"rules"`
}

// configure writes the configuration file of a process.
func (r *Rig) configure(g *Gantry, s history.Setup) error {
	if err := r.writeSecrets(g); err != nil {
		return err
	}
	c := configuration{
		Listen: strings.TrimPrefix(g.URL, "http://"), OpsListen: strings.TrimPrefix(g.ops, "http://"), Role: g.role,
		Data: filepath.Join(g.dir, "inbox"), Log: map[string]string{"format": "text"}, Inbox: map[string]string{"linger": "200ms"},
		Reconcile: map[string]string{"interval": r.options.Timing.Reconcile.String()},
		Guardian:  map[string]any{"webhook": "gantry", "reenable": true, "notify": []string{s.Channels[0]}},
		Labels:    map[string]bool{"dependsOn": s.DependsOn}, Logs: map[string]bool{"read": s.ReadLogs},
		Accounts: []map[string]any{{
			"name": Account, "endpoint": r.Spacelift.URL, "apiKeyId": keyID, "apiKeySecret": keySecret,
			"webhookSecretFiles": []string{secretFile(g, 0), secretFile(g, 1)},
		}},
		Profiles: s.Profiles,
		Issuers:  []map[string]any{{"name": "sso", "url": r.Issuer.URL, "audiences": []string{audience}, "namePrefix": "", "groupsClaim": "groups"}},
	}
	for _, port := range r.ports {
		c.Peers = append(c.Peers, address(port))
	}
	c.admit(s.People)
	for _, name := range s.Channels {
		channel := map[string]any{"name": name, "kind": "webhook", "url": r.Receiver.url + "/webhook/" + name, "secret": channelSecret, "allowPrivate": true}
		if name == SlackChannel {
			channel = map[string]any{"name": name, "kind": "slack", "url": r.Receiver.url + "/slack/" + name, "allowPrivate": true}
		}
		c.Channels = append(c.Channels, channel)
	}
	for _, w := range s.Windows {
		c.Windows = append(c.Windows, map[string]any{"name": w.Name, "timeZone": "UTC", "allow": periods(w.Allow), "deny": periods(w.Deny)})
	}
	for _, f := range s.Floors {
		c.Rules = append(c.Rules, map[string]any{"name": f.Name, "match": map[string]any{"spaces": f.Spaces}, "profile": f.Profile, "locked": true})
	}
	text, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Errorf("configure %s: %w", g.dir, err)
	}
	return replaceFile(filepath.Join(g.dir, "gantry.yaml"), text)
}

// replaceFile writes a whole new file: Gantry may read at any time.
func replaceFile(file string, text []byte) error {
	err := os.WriteFile(file+".new", text, 0o600)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	return nil
}

// admit adds people with their tokens, roles and names.
func (c *configuration) admit(people []history.Person) {
	aliases := map[string][]any{}
	for _, p := range people {
		who := "user:" + p.Name
		if p.Signs == "" {
			who = "token:" + p.Name
			bearer := map[string]any{"name": p.Name, "groups": p.Groups, "hash": authority.TokenHash(token(p.Name))}
			if p.Role != "" {
				bearer["role"] = p.Role
			}
			if p.Revoked {
				bearer["revoked"] = "2026-01-01T00:00:00Z"
			}
			c.Tokens = append(c.Tokens, bearer)
		}
		for _, s := range p.Scopes {
			c.Bindings = append(c.Bindings, map[string]any{"who": []string{who}, "role": s.Role, "where": map[string]any{"spaces": s.Spaces, "stacks": s.Stacks, "labels": s.Labels}})
		}
		person := p.Name
		if p.Person != "" {
			person = p.Person
			aliases[person] = append(aliases[person], p.Name)
		}
		for _, a := range p.Aliases {
			aliases[person] = append(aliases[person], a)
		}
	}
	for person, names := range aliases {
		c.People = append(c.People, map[string]any{"name": person, "aliases": names})
	}
}

// SlackChannel is the name of the channel of kind slack; all others are webhooks.
const SlackChannel = "slack"

func periods(all []history.Period) []map[string]string {
	var recurrences []map[string]string
	for _, p := range all {
		recurrences = append(recurrences, map[string]string{
			"start": p.Start.UTC().Format("2006-01-02T15:04"), "duration": fmt.Sprintf("%dm", int(p.End.Sub(p.Start)/time.Minute)),
		})
	}
	return recurrences
}

func secretFile(g *Gantry, i int) string { return filepath.Join(g.dir, fmt.Sprintf("secret-%d", i)) }

// writeSecrets writes the current secret of the webhook, and the one before it.
func (r *Rig) writeSecrets(g *Gantry) error {
	for i := range 2 {
		secret := r.secrets[min(i, len(r.secrets)-1)]
		if i > 0 && len(r.secrets) == 1 {
			secret += "-of-the-future"
		}
		if err := replaceFile(secretFile(g, i), []byte(secret)); err != nil {
			return err
		}
	}
	return nil
}
