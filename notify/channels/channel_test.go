package channels_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/notify/channels"
)

func TestNewRefusesInvalidChannels(t *testing.T) {
	const hook = "https://hooks.slack.com" + slackPath
	tests := []struct {
		name    string
		channel channels.Channel
		want    string
	}{
		{"good slack", channels.Channel{Name: "it", Kind: channels.Slack, URL: text(hook)}, ""},
		{"good slack with a line's end", channels.Channel{Name: "it", Kind: channels.Slack, URL: text(hook + "\n")}, ""},
		{"good webhook", channels.Channel{Name: "it", Kind: channels.Webhook, URL: text("https://example.com/?token=hushhushhush"), Secret: text(secret)}, ""},
		{"good inside", channels.Channel{Name: "it", Kind: channels.Webhook, URL: text("http://10.0.0.1:8080/x"), Secret: text(secret), AllowPrivate: true}, ""},
		{"no name", channels.Channel{Kind: channels.Slack, URL: text(hook)}, `notification channel "": has no name`},
		{"no kind", channels.Channel{Name: "it", URL: text(hook)}, `notification channel "it": has the unknown kind ""; use slack or webhook`},
		{"unknown kind", channels.Channel{Name: "it", Kind: "pager", URL: text(hook)}, `notification channel "it": has the unknown kind "pager"; use slack or webhook`},
		{"no URL", channels.Channel{Name: "it", Kind: channels.Slack}, `notification channel "it": has no URL`},
		{"empty URL", channels.Channel{Name: "it", Kind: channels.Slack, URL: text("\n")}, `notification channel "it": has no URL`},
		{"unreadable URL", channels.Channel{Name: "it", Kind: channels.Slack, URL: text("https://hooks.slack.com:x" + slackPath)}, `notification channel "it": has a URL that can't be read`},
		{"unreadable path", channels.Channel{Name: "it", Kind: channels.Slack, URL: text(hook + "/%zz")}, `notification channel "it": has a URL that can't be read`},
		{"path alone", channels.Channel{Name: "it", Kind: channels.Slack, URL: text(slackPath)}, `notification channel "it": has a URL that begins with neither https:// nor http://`},
		{"file", channels.Channel{Name: "it", Kind: channels.Slack, URL: text("file://" + slackPath)}, `notification channel "it": has a URL that begins with neither https:// nor http://`},
		{"no host", channels.Channel{Name: "it", Kind: channels.Slack, URL: text("https://" + slackPath)}, `notification channel "it": has a URL without a host`},
		{"no host but a port", channels.Channel{Name: "it", Kind: channels.Slack, URL: text("https://:443" + slackPath)}, `notification channel "it": has a URL without a host`},
		{"plain http", channels.Channel{Name: "it", Kind: channels.Slack, URL: text("http://hooks.slack.com" + slackPath)}, `notification channel "it": has the URL http://hooks.slack.com/…; it must be https`},
		{"password", channels.Channel{Name: "it", Kind: channels.Slack, URL: text("https://me:hushhushhush@hooks.slack.com" + slackPath)}, `notification channel "it": has a user name or password in its URL https://hooks.slack.com/…`},
		{"fragment", channels.Channel{Name: "it", Kind: channels.Slack, URL: text(hook + "#x")}, `notification channel "it": has a # in its URL https://hooks.slack.com/…`},
		{"slack without its path", channels.Channel{Name: "it", Kind: channels.Slack, URL: text("https://hooks.slack.com/")}, `notification channel "it": has the URL https://hooks.slack.com/…, without the path that Slack gave`},
		{"inside", channels.Channel{Name: "it", Kind: channels.Slack, URL: text("https://[fd00:ec2::254]" + slackPath)}, `notification channel "it": channel "it" resolves to fd00:ec2::254, which is not a public address`},
		{"no secret", channels.Channel{Name: "it", Kind: channels.Webhook, URL: text(hook)}, `notification channel "it": has no signing secret`},
		{"empty secret", channels.Channel{Name: "it", Kind: channels.Webhook, URL: text(hook), Secret: text(" \n")}, `notification channel "it": has no signing secret`},
		{"secret in another alphabet", channels.Channel{Name: "it", Kind: channels.Webhook, URL: text(hook), Secret: text("hushhushhush!")}, `notification channel "it": has a signing secret (number 1) that is not base64`},
		{"short secret", channels.Channel{Name: "it", Kind: channels.Webhook, URL: text(hook), Secret: text(secret + " whsec_aHVzaGh1c2hodXNo")}, `notification channel "it": has a signing secret (number 2) of 12 bytes; it must have 24 to 64`},
		{"long secret", channels.Channel{Name: "it", Kind: channels.Webhook, URL: text(hook), Secret: text(strings.Repeat("hush", 22))}, `notification channel "it": has a signing secret (number 1) of 66 bytes; it must have 24 to 64`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := channels.New([]channels.Channel{tt.channel}, channels.Options{})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if strings.Contains(got, "hush") || strings.Contains(got, "T0000") {
				t.Errorf("the error holds a secret: %s", got)
			}
		})
	}
}

func TestNewReportsEveryProblem(t *testing.T) {
	good := channels.Channel{Name: "good", Kind: channels.Slack, URL: text("https://hooks.slack.com" + slackPath)}
	_, err := channels.New([]channels.Channel{{Name: "a", Kind: "pager"}, good, {Name: "b", Kind: channels.Slack}, good}, channels.Options{})
	want := `notification channel "a": has the unknown kind "pager"; use slack or webhook
notification channel "b": has no URL
notification channel "good": the name is used twice`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestNoChannelsIsFine(t *testing.T) {
	s, err := channels.New(nil, channels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Send(t.Context(), "#deploys", decision())
	if unknown, ok := errors.AsType[*notify.UnknownChannelError](err); !ok || unknown.Channel != "#deploys" {
		t.Errorf("got %v, want an UnknownChannelError", err)
	}
}
