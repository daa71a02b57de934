package temporalserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/temporal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// maxMessageSize is ui-server's limit, which allows for long histories in one
// message.
const maxMessageSize = 64 << 20

// The default namespace and retention. Retention also limits for how long a
// workflow ID can't be started again.
const (
	DefaultNamespace = "default"
	DefaultRetention = 7 * 24 * time.Hour
)

// Options are the settings of a server. The zero value is a server in memory on
// free ports, with the namespace "default" and without the UI.
type Options struct {
	// DataDir is the directory that keeps all data across restarts. It is created if
	// missing, and one server at a time can use it. Empty keeps the data in memory
	// until Stop.
	DataDir string

	// Durable makes every change in DataDir wait for the disk. Without it, the last
	// moments may be lost if the machine dies, not only this process.
	Durable bool

	// Postgres keeps all data instead of DataDir. Start waits until it answers and no
	// other server uses the database, but no longer than ctx.
	Postgres *Postgres

	// FrontendPort is the port for clients; 0 takes any free one. FrontendHost is the
	// IP address to listen on; empty means loopback. Anyone who reaches it can do
	// everything: the server has no authentication.
	FrontendHost string
	FrontendPort int

	// UI serves Temporal's web interface on UIHost and UIPort, which default like
	// those of the frontend.
	UI     bool
	UIHost string
	UIPort int

	// Housekeeping removes the remains of deleted executions from the store, for
	// servers that run for weeks. Its goroutines outlive Stop, so use it only in
	// programs that end with their one server.
	Housekeeping bool

	// Namespace is created if missing.
	Namespace string

	// SearchAttributes are the namespace's custom ones. Missing ones are added, even
	// to existing data; none is ever removed. Temporal allows ten keywords and three
	// of every other type.
	SearchAttributes map[string]enums.IndexedValueType

	// Retention is the time that closed executions are kept. 0 means
	// [DefaultRetention] for a new namespace, and no change for an existing one.
	Retention time.Duration

	// Logger receives the server's errors, and the reasons why Start waits. Nil
	// drops them.
	Logger *slog.Logger
}

// Server is a running Temporal server.
type Server struct {
	frontend string
	log      *serverLog
	store    *store
	temporal temporal.Server
	conn     *grpc.ClientConn
	ui       *ui
	stop     sync.Once
}

// Start returns when clients can use the server: the namespace exists, executions
// can start, and its search attributes can be set and searched. If ctx ends first,
// nothing keeps running.
//
// Errors that an operator can fix name the remedy: a busy port, a data directory
// in use or not writable, too many search attributes of a type.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	s := &Server{log: newServerLog(o.Logger)}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()

	// The ports come first: if a server runs already, an error about its port helps
	// more than one about its lock on the data directory.
	ports, err := reservePorts(ctx, o.FrontendHost, o.FrontendPort)
	if err != nil {
		return nil, err
	}
	defer ports.release()
	s.frontend = ports.frontend()
	if o.UI {
		if s.ui, err = listenUI(ctx, o.UIHost, o.UIPort); err != nil {
			return nil, err
		}
	}

	if s.store, err = openStore(ctx, o, s.log); err != nil {
		return nil, err
	}
	if err := s.store.ensureNamespace(ctx, o.Namespace, o.Retention, o.SearchAttributes); err != nil {
		return nil, fmt.Errorf("prepare namespace %q: %w", o.Namespace, err)
	}

	ports.release()
	if err := s.startTemporal(ports, o.Housekeeping); err != nil {
		return nil, fmt.Errorf("start temporal: %w", err)
	}
	s.conn, err = grpc.NewClient(s.frontend,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageSize)))
	if err != nil {
		return nil, fmt.Errorf("connect to temporal: %w", err)
	}
	if err := s.waitReady(ctx, o.Namespace); err != nil {
		return nil, fmt.Errorf("wait for temporal: %w", err)
	}
	if s.ui != nil {
		if err := s.ui.serve(s.conn, o.Namespace, s.frontend, s.log); err != nil {
			return nil, fmt.Errorf("start temporal's UI: %w", err)
		}
	}
	return s, nil
}

// Failed returns a channel that is closed when the server can't continue, for the
// reason that Err returns. A Temporal server with a process of its own would end
// the process.
func (s *Server) Failed() <-chan struct{} { return s.log.state.failed }

// Err returns the reason why the server failed, or nil.
func (s *Server) Err() error { return s.log.fatal() }

// HostPort returns the address for clients on this machine, as in
// client.Options.HostPort.
func (s *Server) HostPort() string { return s.frontend }

// UIURL returns the address of the web interface, or "" without one.
func (s *Server) UIURL() string {
	if s.ui == nil {
		return ""
	}
	return s.ui.url()
}

// Stop ends the server and closes the database. When it returns, the data
// directory and the ports can be used again. Stop workers and clients first where
// possible: a worker that still polls costs a second. Further calls do nothing.
func (s *Server) Stop() {
	s.stop.Do(func() {
		// Errors that a server logs while it stops are no faults.
		s.log.mute()
		if s.ui != nil {
			s.ui.close()
		}
		if s.conn != nil {
			_ = s.conn.Close()
		}
		if s.temporal != nil {
			_ = s.temporal.Stop()
		}
		if s.store != nil {
			s.store.close()
		}
	})
}

// startTemporal runs Temporal's constructors and start hooks in a goroutine of
// their own. They report some failures, such as a port that was taken at the last
// moment, only by logging at level fatal, and [serverLog.Fatal] then ends the
// goroutine instead of the process.
func (s *Server) startTemporal(ports *ports, housekeeping bool) error {
	result := make(chan error, 1)
	go func() {
		err := errors.New("stopped without a reason")
		defer func() {
			if cause := s.log.fatal(); cause != nil {
				// sync.OnceValue panics when the goroutine ends inside it.
				_ = recover()
				err = cause
			}
			result <- err
		}()
		server, failed := temporal.NewServer(serverOptions(s.store, ports, housekeeping, s.log)...)
		if failed != nil {
			err = failed
			return
		}
		s.temporal = server
		err = server.Start()
	}()
	return <-result
}

// waitReady asks for an execution that doesn't exist. "Not found" proves that the
// frontend, the namespace and the history shard answer.
func (s *Server) waitReady(ctx context.Context, namespace string) error {
	client := workflowservice.NewWorkflowServiceClient(s.conn)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := client.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
			Namespace: namespace,
			Execution: &common.WorkflowExecution{WorkflowId: "gantry-temporalserver-ready"},
		}, grpc.WaitForReady(true))
		if _, absent := errors.AsType[*serviceerror.NotFound](serviceerror.FromStatus(status.Convert(err))); absent {
			return nil
		}
		if cause := s.log.fatal(); cause != nil {
			return cause
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (last answer: %w)", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// Keywords returns search attributes of type Keyword, for [Options].
func Keywords(names ...string) map[string]enums.IndexedValueType {
	all := make(map[string]enums.IndexedValueType, len(names))
	for _, name := range names {
		all[name] = enums.INDEXED_VALUE_TYPE_KEYWORD
	}
	return all
}
