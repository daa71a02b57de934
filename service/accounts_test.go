package service_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// rotate replaces a file in one step, as mounted secrets are replaced.
func (r *rig) rotate(path, content string) {
	r.Helper()
	r.must(os.Rename(r.file("next", content), path))
}

// A webhook secret that is replaced in its file counts without a restart, and
// the one before it counts no longer.
func TestWebhookSecretIsReplaced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Role = config.RoleAPI
	g := r.start()
	if a := g.deliver("the-next-secret"); a.Status != http.StatusUnauthorized {
		t.Fatalf("signed with a secret that isn't live, it is answered with %d, want 401", a.Status)
	}
	r.rotate(r.config.Accounts[0].WebhookSecretFiles[0], "the-next-secret")
	var last answer
	g.eventually(func() bool {
		last = g.deliver(webhookSecret)
		return last.Status != http.StatusAccepted
	}, func() string { return "the secret before is still live" })
	if last.Status != http.StatusUnauthorized {
		t.Errorf("signed with the secret before, it is answered with %d, want 401", last.Status)
	}
	if a := g.deliver("the-next-secret"); a.Status != http.StatusAccepted {
		t.Errorf("signed with the new secret, it is answered with %d, want 202", a.Status)
	}
	r.awaitLog("secret changed", `"account":"acme"`, r.config.Accounts[0].WebhookSecretFiles[0])
	// A file that vanishes leaves the last secret in force.
	r.must(os.Remove(r.config.Accounts[0].WebhookSecretFiles[0]))
	g.eventually(func() bool {
		if a := g.deliver("the-next-secret"); a.Status != http.StatusAccepted {
			t.Fatalf("without the file, the last secret is answered with %d, want 202", a.Status)
		}
		return r.log.find("secret can't be read") != ""
	}, func() string { return "the missing file isn't logged" })
}

// While a secret is exchanged, two are live.
func TestTwoWebhookSecrets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Role = config.RoleAPI
	account := &r.config.Accounts[0]
	account.WebhookSecretFiles = append(account.WebhookSecretFiles, r.file("previous", "the-secret-before"))
	g := r.start()
	for secret, want := range map[string]int{webhookSecret: http.StatusAccepted, "the-secret-before": http.StatusAccepted, "another": http.StatusUnauthorized} {
		if a := g.deliver(secret); a.Status != want {
			t.Errorf("signed with %s, it is answered with %d, want %d", secret, a.Status, want)
		}
	}
}

// Secrets may be given directly, though files are better.
func TestSecretsWithoutFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key := r.spacelift.AddAPIKey(simulator.APIKey{})
	account := &r.config.Accounts[0]
	account.WebhookSecretFiles, account.WebhookSecrets = nil, []string{"given-directly"}
	account.APIKeyID, account.APIKeySecretFile, account.APIKeySecret = key.ID, "", key.Secret
	account.SecretHeader, account.SecretHeaderValue = "X-Second-Factor", "hush"
	r.must(r.spacelift.AddNamedWebhook(simulator.NamedWebhook{ID: "gantry", Endpoint: "https://gantry.example.com/webhook", Secret: "x"}))
	g := r.start()
	if a := g.deliver("given-directly"); a.Status != http.StatusUnauthorized {
		t.Errorf("without the secret header, it is answered with %d, want 401", a.Status)
	}
	body := notification(t)
	a := g.send(http.MethodPost, "/webhook", body, "Content-Type", "application/json", "X-Second-Factor", "hush",
		spacelift.SignatureHeader, spacelift.Sign([]byte("given-directly"), []byte(body)))
	if a.Status != http.StatusAccepted {
		t.Errorf("with the secret header, it is answered with %d %s, want 202", a.Status, a.Body)
	}
	r.must(r.temporal.execute(t, "ReadWebhook", activities.WebhookInput{Account: "acme", ID: "gantry"}, nil))
}

// The guardian repairs a webhook with the first of the account's secrets.
func TestWebhookIsEnabledWithTheCurrentSecret(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	account := &r.config.Accounts[0]
	account.WebhookSecretFiles = append(account.WebhookSecretFiles, r.file("previous", "the-secret-before"))
	r.must(r.spacelift.AddNamedWebhook(simulator.NamedWebhook{
		ID: "gantry", Endpoint: "https://gantry.example.com/webhook", Secret: "the-secret-before", Disabled: true,
	}))
	r.start()
	r.must(r.temporal.execute(t, "EnableWebhook", activities.WebhookInput{Account: "acme", ID: "gantry"}, nil))
	client, err := spaceliftapi.NewClient(spaceliftapi.Config{
		Account: "acme", Endpoint: account.Endpoint, Credentials: spaceliftapi.FileCredentials{ID: account.APIKeyID, SecretFile: account.APIKeySecretFile},
	})
	r.must(err)
	same, shown, err := client.NamedWebhookSecretIs(t.Context(), "gantry", webhookSecret)
	if err != nil || !same || !shown {
		t.Errorf("the webhook signs with Gantry's secret: %t, shown: %t, %v", same, shown, err)
	}
}

// An API key's secret that is replaced in its file is used for the next call.
func TestAPIKeyIsReplaced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Role = config.RoleWorker
	r.must(r.spacelift.AddNamedWebhook(simulator.NamedWebhook{ID: "gantry", Endpoint: "https://gantry.example.com/webhook", Secret: "x"}))
	account := r.config.Accounts[0]
	r.start()
	read := activities.WebhookInput{Account: "acme", ID: "gantry"}
	r.must(r.temporal.execute(t, "ReadWebhook", read, nil))

	r.spacelift.AddAPIKey(simulator.APIKey{ID: account.APIKeyID, Secret: "the-next-key"})
	r.spacelift.RevokeTokens()
	if err := r.temporal.execute(t, "ReadWebhook", read, nil); err == nil {
		t.Error("with a secret that was withdrawn, the call succeeds")
	}
	r.rotate(account.APIKeySecretFile, "the-next-key")
	r.must(r.temporal.execute(t, "ReadWebhook", read, nil))
	for _, request := range r.spacelift.Requests() {
		if request.UserAgent != "gantry/1.2.3" {
			t.Errorf("Spacelift is called as %q, want gantry/1.2.3", request.UserAgent)
		}
	}
}

// receiver is the other side of a channel.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	paths []string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.paths = append(r.paths, req.URL.Path)
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(r.Close)
	return r
}

// last returns the path of the last message.
func (r *receiver) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.paths) == 0 {
		return ""
	}
	return r.paths[len(r.paths)-1]
}

// A channel's address that is replaced in its file is used for later messages.
func TestChannelAddressIsReplaced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Role = config.RoleWorker
	chat := newReceiver(t)
	address := r.file("address", chat.URL+"/old")
	r.config.Channels = []config.Channel{{Name: "ops", Kind: "slack", URLFile: address, AllowPrivate: true}}
	r.start()
	send := func() {
		t.Helper()
		r.must(r.temporal.execute(t, "Notify", activities.NotifyInput{
			Channel: "ops", Message: notify.Message{ID: "msg_1", Type: notify.RunDecisionNeeded, At: time.Now(), Title: "A run needs approval"},
		}, nil))
	}
	send()
	if got := chat.last(); got != "/old" {
		t.Fatalf("the message goes to %s, want /old", got)
	}
	r.rotate(address, chat.URL+"/new")
	r.eventually(func() bool {
		send()
		return chat.last() == "/new"
	}, func() string { return "messages go to " + chat.last() })
}
