package temporalserver

import (
	"context"

	"go.temporal.io/server/common/config"
)

// store holds all data of one server. It is open until close.
type store struct {
	main, visibility *config.SQL

	// shards is the number of history shards. It can't change after the first server
	// has used the store.
	shards int32

	close func()
}

// openStore returns a store with its tables. No other server can use it until
// close.
func openStore(ctx context.Context, o Options, log *serverLog) (*store, error) {
	switch {
	case o.Postgres != nil:
		return openPostgres(ctx, *o.Postgres, log)
	case o.DataDir == "":
		return openMemory()
	case o.Durable:
		return openFile(o.DataDir, untilOnDisk)
	}
	return openFile(o.DataDir, untilWritten)
}
