package service_test

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/service"
)

// Gantry refuses to start with a configuration it can't use, and says which part
// of it and why. Check refuses the same without starting anything.
func TestRefuse(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*rig)
		says   []string
		runs   bool // only Run finds it: it takes opening something
	}{
		"an invalid setting": {
			change: func(r *rig) { r.config.Role = "king"; r.config.Inbox.Concurrency = 0 },
			says:   []string{"configuration", `role: "king" is none of all, api and worker`, "inbox.concurrency"},
		},
		"no account": {
			change: func(r *rig) { r.config.Accounts = nil },
			says:   []string{"accounts: none is configured"},
		},
		"a profile's window that doesn't exist": {
			change: func(r *rig) { r.config.Profiles = []config.Profile{{Name: "prod", Windows: []string{"office"}}} },
			says:   []string{"profiles[0].windows", "office"},
		},
		"a webhook secret that isn't there": {
			change: func(r *rig) { r.config.Accounts[0].WebhookSecretFiles = []string{"/nowhere/secret"} },
			says:   []string{"account acme", "/nowhere/secret"},
		},
		"a client secret that isn't there": {
			change: func(r *rig) { signsIn(r, "/nowhere/client", r.file("key", strings.Repeat("k", 32))) },
			says:   []string{"signIn", "/nowhere/client"},
		},
		"a session key that is too short": {
			change: func(r *rig) { signsIn(r, r.file("client", "secret"), r.file("key", "short")) },
			says:   []string{"signIn", "openssl rand"},
		},
		"an empty webhook secret": {
			change: func(r *rig) { r.config.Accounts[0].WebhookSecretFiles = []string{r.file("empty", "")} },
			says:   []string{"account acme", "empty is empty"},
		},
		"a secret header's value that isn't there": {
			change: func(r *rig) {
				r.config.Accounts[0].SecretHeader, r.config.Accounts[0].SecretHeaderFile = "X-Gantry", "/nowhere/header"
			},
			says: []string{"account acme", "/nowhere/header"},
		},
		"a channel's address that isn't there": {
			change: func(r *rig) {
				r.config.Channels = []config.Channel{{Name: "ops", Kind: "slack", URLFile: "/nowhere/url"}}
			},
			says: []string{"channel ops: address", "/nowhere/url"},
		},
		"a channel's secret that isn't there": {
			change: func(r *rig) {
				r.config.Channels = []config.Channel{{Name: "ops", Kind: "webhook", URL: "https://ops.example.com", SecretFile: "/nowhere/secret"}}
			},
			says: []string{"channel ops: secret", "/nowhere/secret"},
		},
		"a channel's address that can't be used": {
			change: func(r *rig) {
				r.config.Channels = []config.Channel{{Name: "ops", Kind: "slack", URLFile: r.file("url", "not an address")}}
			},
			says: []string{"ops"},
		},
		"a certificate without its key": {
			change: func(r *rig) { r.config.TLS.CertFile = "cert.pem" },
			says:   []string{"tls: certFile and keyFile belong together"},
		},
		"a certificate that isn't there": {
			change: func(r *rig) { r.config.TLS = config.TLS{CertFile: "/nowhere/cert.pem", KeyFile: "/nowhere/key.pem"} },
			says:   []string{"tls.certFile", "/nowhere/cert.pem"},
		},
		"a certificate with another one's key": {
			change: func(r *rig) {
				r.withTLS(1)
				_, key := certificate(r.T, 2)
				r.config.TLS.KeyFile = r.file("other.pem", key)
			},
			says: []string{"cert.pem and tls.keyFile", "can't be used together", "private key does not match", "its own key"},
		},
		"an inbox that isn't a folder": {
			change: func(r *rig) { r.config.Data = r.file("inbox", "") },
			says:   []string{"open the inbox in", "inbox"},
			runs:   true,
		},
		"an address that isn't ours": {
			change: func(r *rig) { r.config.Listen = "192.0.2.1:8080" },
			says:   []string{"serve HTTP on 192.0.2.1:8080", "set listen to another address"},
			runs:   true,
		},
		"an operations address that isn't ours": {
			change: func(r *rig) { r.config.OpsListen = "192.0.2.1:8081" },
			says:   []string{"serve HTTP on 192.0.2.1:8081", "set opsListen to another address"},
			runs:   true,
		},
		"Temporal options that contradict each other": {
			change: func(r *rig) { r.options.Temporal.HostPort = "dns:///\x00" },
			says:   []string{"TEMPORAL_*"},
			runs:   true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			tt.change(r)
			got := r.refused()
			checked := service.Check(r.config, "1.2.3")
			if tt.runs != (checked == nil) {
				t.Errorf("Check returned %v", checked)
			}
			for _, want := range tt.says {
				if !strings.Contains(got, want) {
					t.Errorf("Run returned %q, want an error that says %q", got, want)
				}
				if checked != nil && want != "configuration" && !strings.Contains(checked.Error(), want) {
					t.Errorf("Check returned %q, want an error that says %q", checked, want)
				}
			}
		})
	}
}

// Check accepts what Run accepts, and leaves no trace.
func TestCheckOpensNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if err := service.Check(r.config, "1.2.3"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(r.config.Data); !os.IsNotExist(err) {
		t.Errorf("the inbox's folder: %v, want none", err)
	}
	if n := r.temporal.called("GetSystemInfo"); n != 0 || len(r.spacelift.Requests()) != 0 {
		t.Errorf("it called Temporal %d times, and Spacelift %d times", n, len(r.spacelift.Requests()))
	}
}

// signsIn configures sign-in with a browser.
func signsIn(r *rig, client, key string) {
	r.config.Issuers = []authority.Issuer{{Name: "sso", URL: "https://accounts.example.com", Audiences: []string{"gantry"}}}
	s := &r.config.SignIn
	s.Issuer, s.ClientID, s.ClientSecretFile, s.SessionKeyFile = "sso", "web", client, key
	r.config.PublicURL = "https://gantry.example.com"
}

// Check reports every account and channel that can't be used.
func TestCheckReportsAll(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	second := r.config.Accounts[0]
	second.Name, second.WebhookSecretFiles = "globex", []string{"/nowhere/globex"}
	r.config.Accounts[0].WebhookSecretFiles = []string{"/nowhere/acme"}
	r.config.Accounts = append(r.config.Accounts, second)
	r.config.Channels = []config.Channel{{Name: "ops", Kind: "slack", URLFile: "/nowhere/ops"}}
	err := service.Check(r.config, "1.2.3")
	for _, want := range []string{"account acme", "/nowhere/acme", "account globex", "/nowhere/globex", "channel ops", "/nowhere/ops"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check returned %v, want an error that says %q", err, want)
		}
	}
}

// Two processes can't share an inbox or an address. The second one says so, and
// leaves the first one alone.
func TestRefuseWhatAnotherProcessHolds(t *testing.T) {
	t.Parallel()
	first := newRig(t)
	g := first.start()
	sameInbox := newRig(t)
	sameInbox.config.Data, sameInbox.options.LockWait = first.config.Data, time.Millisecond
	if got := sameInbox.refused(); !strings.Contains(got, "open the inbox in "+first.config.Data) {
		t.Errorf("with the same inbox, Run returned %q", got)
	}
	sameAddress := newRig(t)
	sameAddress.config.Listen = strings.TrimPrefix(g.url, "http://")
	if got := sameAddress.refused(); !strings.Contains(got, "is another process using it?") {
		t.Errorf("with the same address, Run returned %q", got)
	}
	if a := g.deliver(webhookSecret); a.Status != 202 {
		t.Errorf("the first one answers %d %s", a.Status, a.Body)
	}
	// What the second one had opened is closed.
	sameAddress.config.Listen = "127.0.0.1:0"
	sameAddress.start()
}

// The lab serves on a listener of its own, whatever the configuration says.
func TestListener(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	r.must(err)
	r.config.Listen, r.options.Listener = "192.0.2.1:8080", listener
	if g := r.start(); g.url != "http://"+listener.Addr().String() {
		t.Errorf("it serves on %s, want %s", g.url, listener.Addr())
	}
}

// A server that fails ends the process, so that it is started again.
func TestServerFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	r.must(err)
	r.options.Listener = listener
	r.options.Ready = func(net.Addr) { _ = listener.Close() }
	if err := r.run(t.Context()); err == nil || !strings.Contains(err.Error(), "serve HTTP: ") {
		t.Errorf("Run returned %v, want the server's error", err)
	}
	// The other parts have stopped: the inbox is free.
	r.options.Listener = nil
	r.start()
}
