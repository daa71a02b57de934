package temporalserver_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/temporalserver"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func TestExecutionIsFoundByItsSearchAttributes(t *testing.T) {
	s := start(t, temporalserver.Options{SearchAttributes: attributes})
	c := dial(t, s.HostPort())
	work(t, c)

	begin(t, c, "other", stack.ValueSet("network"), tries.ValueSet(2))
	run := begin(t, c, "wanted", stack.ValueSet("network"), tries.ValueSet(1))
	signal(t, c, "wanted", "world")

	wantResult(t, run, "hello world")
	wantListed(t, c, `TestStack = "network" AND TestTries < 2 AND ExecutionStatus = "Completed"`, "wanted")
}

// Without the SDK, whose client waits and retries when it is refused.
func TestListsAreNotRateLimited(t *testing.T) {
	s := start(t, temporalserver.Options{})
	conn, err := grpc.NewClient(s.HostPort(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lists := workflowservice.NewWorkflowServiceClient(conn)
	for i := range 100 {
		_, err := lists.ListWorkflowExecutions(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: temporalserver.DefaultNamespace,
		})
		if err != nil {
			t.Fatalf("list %d: %v", i, err)
		}
	}
}

func TestDataDirSurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "with spaces, ? and %20")
	s := start(t, temporalserver.Options{DataDir: dir, SearchAttributes: attributes})
	begin(t, dial(t, s.HostPort()), "old", stack.ValueSet("network"))
	s.Stop()

	more := map[string]enums.IndexedValueType{phase.GetName(): enums.INDEXED_VALUE_TYPE_KEYWORD}
	s = start(t, temporalserver.Options{DataDir: dir, SearchAttributes: more})
	c := dial(t, s.HostPort())
	work(t, c)
	begin(t, c, "new", stack.ValueSet("network"), phase.ValueSet("waiting"))
	signal(t, c, "old", "again")

	wantResult(t, c.GetWorkflow(t.Context(), "old", ""), "hello again")
	wantListed(t, c, `TestStack = "network" AND TestPhase IS NULL`, "old")
	wantListed(t, c, `TestPhase = "waiting"`, "new")
}

func TestDataDirSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	victim := startChild(t, dir)
	begin(t, dial(t, victim.address), "survivor", stack.ValueSet("network"))
	victim.kill(t)

	s := start(t, temporalserver.Options{DataDir: dir})
	c := dial(t, s.HostPort())
	work(t, c)
	signal(t, c, "survivor", "again")

	wantResult(t, c.GetWorkflow(t.Context(), "survivor", ""), "hello again")
}

func TestRetention(t *testing.T) {
	dir := t.TempDir()
	for _, step := range []struct {
		name      string
		retention time.Duration
		want      time.Duration
	}{
		{"default", 0, temporalserver.DefaultRetention},
		{"changed", 48 * time.Hour, 48 * time.Hour},
		{"kept", 0, 48 * time.Hour},
	} {
		s := start(t, temporalserver.Options{DataDir: dir, Retention: step.retention})
		namespaces, err := client.NewNamespaceClient(client.Options{HostPort: s.HostPort()})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := namespaces.Describe(t.Context(), temporalserver.DefaultNamespace)
		if err != nil {
			t.Fatal(err)
		}
		if got := answer.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration(); got != step.want {
			t.Errorf("%s: retention is %v, want %v", step.name, got, step.want)
		}
		namespaces.Close()
		s.Stop()
	}
}

func TestServersInOneProcessShareNothing(t *testing.T) {
	a := start(t, temporalserver.Options{UI: true})
	b := start(t, temporalserver.Options{UI: true, SearchAttributes: attributes})
	clientA, clientB := dial(t, a.HostPort()), dial(t, b.HostPort())
	work(t, clientA)
	work(t, clientB)

	begin(t, clientA, "same")
	run := begin(t, clientB, "same", stack.ValueSet("network"))
	wantListed(t, clientB, `TestStack = "network"`, "same")
	if _, err := listed(t.Context(), clientA, `TestStack = "network"`); err == nil {
		t.Error("the first server knows a search attribute of the second")
	}

	a.Stop()
	signal(t, clientB, "same", "second")
	wantResult(t, run, "hello second")
}

// The worker and the client keep running during an outage of Temporal, and continue
// afterwards.
func TestClientsOutliveRestartsOnTheSamePort(t *testing.T) {
	dir := t.TempDir()
	s := start(t, temporalserver.Options{DataDir: dir})
	port := portOf(t, s)
	c := dial(t, s.HostPort())
	work(t, c)

	for i := range 2 {
		id := fmt.Sprintf("run-%d", i)
		run := begin(t, c, id)
		s.Stop()
		if err := c.SignalWorkflow(brief(t), id, "", "name", "nobody"); err == nil {
			t.Error("a stopped server took a signal")
		}
		s = start(t, temporalserver.Options{DataDir: dir, FrontendPort: port})
		signal(t, c, id, "again")
		wantResult(t, run, "hello again")
	}
}

func TestStopIsQuickAndComplete(t *testing.T) {
	dir := t.TempDir()
	s := start(t, temporalserver.Options{DataDir: dir, UI: true})
	c := dial(t, s.HostPort())
	work(t, c)
	run := begin(t, c, "done")
	signal(t, c, "done", "world")
	wantResult(t, run, "hello world")
	ui := s.UIURL()
	journal := filepath.Join(dir, "temporal.db-wal")
	if _, err := os.Stat(journal); err != nil {
		t.Fatal(err)
	}

	begun := time.Now()
	s.Stop()
	s.Stop()
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("stop with a polling worker took %v", took)
	}

	for _, address := range []string{s.HostPort(), strings.TrimPrefix(ui, "http://")} {
		l, err := net.Listen("tcp4", address)
		if err != nil {
			t.Errorf("still bound: %v", err)
			continue
		}
		l.Close()
	}
	// SQLite removes its log when the last connection closes the database.
	if _, err := os.Stat(journal); !os.IsNotExist(err) {
		t.Errorf("the database is still open: %v", err)
	}
}

// A remaining worker would poll the next server on the port.
func TestStoppedServerLeavesNoWorkers(t *testing.T) {
	s := start(t, temporalserver.Options{})
	if !polling(t) {
		t.Fatal("no sign of Temporal's own workers in a running server")
	}
	s.Stop()

	patience := time.NewTimer(time.Minute)
	defer patience.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for polling(t) {
		select {
		case <-patience.C:
			t.Fatal("workers still poll")
		case <-tick.C:
		}
	}
}

func polling(t *testing.T) bool {
	t.Helper()
	var goroutines strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&goroutines, 1); err != nil {
		t.Fatal(err)
	}
	return strings.Contains(goroutines.String(), "sdk/internal.(*baseWorker)")
}

func TestServerIsSilent(t *testing.T) {
	silent := startChild(t, "memory")
	c := dial(t, silent.address)
	work(t, c)
	run := begin(t, c, "done", stack.ValueSet("network"))
	signal(t, c, "done", "world")
	wantResult(t, run, "hello world")

	silent.stop(t)
	if silent.output.Len() > 0 {
		t.Errorf("server wrote: %s", silent.output)
	}
}

// brief returns a context for calls that can't succeed.
func brief(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// portOf returns a server's port, to start another there.
func portOf(t *testing.T, s *temporalserver.Server) int {
	t.Helper()
	_, port, err := net.SplitHostPort(s.HostPort())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
