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

// maxMessageSize is what ui-server allows: long histories come in one piece.
const maxMessageSize = 64 << 20

// The namespace and retention of a server whose options name none. Retention
// bounds for how long a workflow ID cannot be started again.
const (
	DefaultNamespace = "default"
	DefaultRetention = 7 * 24 * time.Hour
)

// Options say what to start. The zero value is a server in memory on free
// ports, with the namespace "default" and without the UI.
type Options struct {
	// DataDir keeps everything in this directory across restarts; it is created
	// when missing. One server at a time can use it. Empty keeps everything in
	// memory until Stop.
	DataDir string

	// Durable makes every change of DataDir wait for the disk. Without it the
	// last moments may be lost when the machine, not only this process, dies.
	Durable bool

	// Postgres keeps everything there, in place of DataDir. Start waits for it
	// until ctx ends, and until no other server uses the database.
	Postgres *Postgres

	// FrontendPort is where clients connect. 0 takes any free port.
	// FrontendHost is the IP address to listen on; empty is loopback. Whoever
	// reaches it can do everything: the server authenticates nobody.
	FrontendHost string
	FrontendPort int

	// UI serves Temporal's web interface on UIHost and UIPort, which are as
	// those of the frontend.
	UI     bool
	UIHost string
	UIPort int

	// Housekeeping removes what long-gone executions leave in the store. It is
	// for servers that run for weeks. Its goroutines outlive Stop, so only for
	// programs that end with their one server.
	Housekeeping bool

	// Namespace is created when missing.
	Namespace string

	// SearchAttributes are the namespace's custom ones. Those it lacks are
	// added, also to a DataDir that exists already; none is ever removed.
	// Temporal allows ten keywords and three of every other type.
	SearchAttributes map[string]enums.IndexedValueType

	// Retention is how long closed executions are kept. 0 means
	// [DefaultRetention] for a new namespace and what it has for one that
	// exists.
	Retention time.Duration

	// Logger receives what the server logs at error level, and what Start waits
	// for. Nil drops it.
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

// Start returns when clients can use the server: the namespace exists, its
// search attributes can be set and listed by, and executions can start. When
// ctx ends first, nothing is left running.
//
// Errors that a person can mend say how: a busy port, a data directory in use
// or not writable, too many search attributes of a type.
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

	// The ports come first: when a server runs already, its port is the better
	// news than its lock on the data directory.
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

// Failed is closed when the server can't go on, for a reason that Err tells:
// what ends the process of a Temporal server by itself.
func (s *Server) Failed() <-chan struct{} { return s.log.state.failed }

// Err is why the server failed, or nil.
func (s *Server) Err() error { return s.log.fatal() }

// HostPort is the address for clients on this machine, as in
// client.Options.HostPort.
func (s *Server) HostPort() string { return s.frontend }

// UIURL is the address of the web interface, or empty without one.
func (s *Server) UIURL() string {
	if s.ui == nil {
		return ""
	}
	return s.ui.url()
}

// Stop ends the server and closes the database; a data directory can be opened
// again, and the ports bound again, when it returns. Stop workers and clients
// first where possible: a worker that still polls costs a second. Further calls
// do nothing.
func (s *Server) Stop() {
	s.stop.Do(func() {
		// Whatever a server says while it is being taken apart is no fault.
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

// startTemporal runs Temporal's constructors and start hooks on a goroutine of
// their own, because they report some failures, such as a port taken at the
// last moment, only by logging at level fatal. [serverLog.Fatal] ends the
// goroutine that logs instead of the process.
func (s *Server) startTemporal(ports *ports, housekeeping bool) error {
	result := make(chan error, 1)
	go func() {
		err := errors.New("stopped without saying why")
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

// waitReady asks for an execution that does not exist: "not found" takes the
// answer of the frontend, of the namespace and of the history shard.
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
