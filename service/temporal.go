package service

import (
	"fmt"
	"os"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"
)

// gRPC has a buffer of 1 MiB for each message of more than 32 KiB, as histories often are. It
// takes another pool for messages only before anything uses it.
func init() {
	pool, err := mem.NewBinaryTieredBufferPool(8, 12, 14, 15, 16, 17, 18, 19, 20, 22)
	if err != nil { // a size that the machine can't address
		panic(err)
	}
	experimental.SetDefaultBufferPool(pool)
}

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
