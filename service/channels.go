package service

import (
	"fmt"
	"log/slog"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/notify/channels"
)

// OpenChannels returns the sender of all channels. It reads addresses and
// secrets again when their files change.
func OpenChannels(configured []config.Channel, version string, log *slog.Logger) (*channels.Sender, error) {
	all := make([]channels.Channel, len(configured))
	for i, c := range configured {
		log := log.With("channel", c.Name)
		address, err := config.NewSecret(c.URL, c.URLFile, log)
		if err != nil {
			return nil, fmt.Errorf("channel %s: address: %w", c.Name, err)
		}
		secret, err := config.NewSecret(c.Secret, c.SecretFile, log)
		if err != nil {
			return nil, fmt.Errorf("channel %s: secret: %w", c.Name, err)
		}
		all[i] = channels.Channel{
			Name: c.Name, Kind: channels.Kind(c.Kind), URL: address.Value, Secret: secret.Value, AllowPrivate: c.AllowPrivate,
		}
	}
	return channels.New(all, channels.Options{UserAgent: "gantry/" + version})
}
