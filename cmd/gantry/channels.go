package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/service"
)

func newChannelsCommand() *cobra.Command {
	channels := &cobra.Command{Use: "channels", Short: "Try the channels of messages"}
	channels.AddCommand(newChannelsTestCommand())
	return channels
}

func newChannelsTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "test CHANNEL", Short: "Send a test message to a channel", Args: cobra.ExactArgs(1),
		Long: `Sends one message of the type channel.test to a channel of the configuration, from this machine, as gantry serve sends
its messages: with the same address, secret and refusals. It reads the same configuration as gantry serve; run it where serve runs,
because another network may reach other addresses.`,
		Example: "  gantry channels test deploys --config gantry.yaml",
	}
	file := configFlag(cmd)
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		loaded, _ := file.loadShared()
		return names(loaded.Channels, func(c config.Channel) string { return c.Name }), cobra.ShellCompDirectiveNoFileComp
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		loaded, err := file.loadShared()
		if err != nil {
			return err
		}
		sender, err := service.OpenChannels(loaded.Channels, version, slog.New(slog.DiscardHandler))
		if err != nil {
			return fmt.Errorf("configuration: %w", err)
		}
		err = sender.Send(cmd.Context(), args[0], testMessage())
		if _, unknown := errors.AsType[*notify.UnknownChannelError](err); unknown {
			return noSuchChannel(args[0], names(loaded.Channels, func(c config.Channel) string { return c.Name }))
		}
		if err != nil {
			return fmt.Errorf("send to channel %s: %w", args[0], err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s accepted the message\n", output.Clean(args[0]))
		return nil
	}
	return cmd
}

func testMessage() notify.Message {
	m := notify.Message{
		ID: notify.MessageID(notify.ChannelTest, rand.Text()), Type: notify.ChannelTest, At: now(), Title: "A test of this channel",
		Text: "gantry channels test sent this message. Nothing happened, and nobody has to do anything.",
	}
	if host, err := os.Hostname(); err == nil {
		m.Facts = []notify.Fact{{Name: "Sent from", Value: host}}
	}
	return m
}

func noSuchChannel(name string, all []string) error {
	if near, ok := policy.Nearest(name, all); ok {
		return fmt.Errorf("the configuration has no channel %q; did you mean %s?", name, near)
	}
	if len(all) == 0 {
		return errors.New("the configuration has no channels; name the file with --config or GANTRY_CONFIG")
	}
	return fmt.Errorf("the configuration has no channel %q; there are %v", name, all)
}
