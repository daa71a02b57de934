package temporalserver

import (
	"context"

	"go.temporal.io/server/common/config"
)

// store is where one server keeps everything, open until close.
type store struct {
	main, visibility *config.SQL

	// shards is the number of history shards. It is part of the data: it cannot
	// be changed once the first server has used the store.
	shards int32

	close func()
}

// openStore returns with the tables in place. No other server uses them until
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
