package service

import (
	"fmt"
	"os"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

func dial(o Options, measure client.MetricsHandler) (client.Client, error) {
	options := o.Temporal
	options.MetricsHandler = measure
	options.Logger = log.NewStructuredLogger(o.Log.With("component", "temporal"))
	host, _ := os.Hostname() // an unknown host is left out
	options.Identity = fmt.Sprintf("gantry/%s@%s/%d", o.Version, host, os.Getpid())
	// Signals are small: compressing them takes processor time at both ends, and megabytes.
	options.ConnectionOptions.GrpcCompression = new(client.GrpcCompressionNone)
	c, err := client.NewLazyClient(options)
	if err != nil {
		return nil, fmt.Errorf("temporal client: %w; check the TEMPORAL_* variables and temporal.toml", err)
	}
	return c, nil
}
