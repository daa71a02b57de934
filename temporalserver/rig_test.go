package temporalserver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/temporalserver"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const taskQueue = "temporalserver-test"

var (
	stack = temporal.NewSearchAttributeKeyKeyword("TestStack")
	phase = temporal.NewSearchAttributeKeyKeyword("TestPhase")
	tries = temporal.NewSearchAttributeKeyInt64("TestTries")
)

var attributes = map[string]enums.IndexedValueType{
	stack.GetName(): enums.INDEXED_VALUE_TYPE_KEYWORD,
	tries.GetName(): enums.INDEXED_VALUE_TYPE_INT,
}

// greet waits for a signal, so that a test can restart the server meanwhile.
func greet(ctx workflow.Context) (string, error) {
	var name string
	workflow.GetSignalChannel(ctx, "name").Receive(ctx, &name)
	return "hello " + name, nil
}

// start returns a running server. The test fails if the server doesn't start, or
// logs an error before it is stopped.
func start(t *testing.T, o temporalserver.Options) *temporalserver.Server {
	t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(faults{t}, nil))
	s, err := temporalserver.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

type faults struct{ t *testing.T }

func (f faults) Write(line []byte) (int, error) {
	f.t.Errorf("server logged: %s", line)
	return len(line), nil
}

func dial(t *testing.T, address string) client.Client {
	t.Helper()
	return dialNamespace(t, address, temporalserver.DefaultNamespace)
}

func dialNamespace(t *testing.T, address, namespace string) client.Client {
	t.Helper()
	c, err := client.DialContext(t.Context(), client.Options{
		HostPort:  address,
		Namespace: namespace,
		Logger:    log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func work(t *testing.T, c client.Client) {
	t.Helper()
	w := worker.New(c, taskQueue, worker.Options{WorkerStopTimeout: time.Second})
	w.RegisterWorkflow(greet)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

func begin(t *testing.T, c client.Client, id string, values ...temporal.SearchAttributeUpdate) client.WorkflowRun {
	t.Helper()
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID:                    id,
		TaskQueue:             taskQueue,
		TypedSearchAttributes: temporal.NewSearchAttributes(values...),
	}, greet)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func signal(t *testing.T, c client.Client, id, name string) {
	t.Helper()
	if err := c.SignalWorkflow(t.Context(), id, "", "name", name); err != nil {
		t.Fatal(err)
	}
}

func wantResult(t *testing.T, run client.WorkflowRun, want string) {
	t.Helper()
	var got string
	if err := run.Get(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%s returned %q, want %q", run.GetID(), got, want)
	}
}

// wantListed waits until the query finds exactly these executions: lists are some
// milliseconds late.
func wantListed(t *testing.T, c client.Client, query string, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := listed(ctx, c, query)
		if err != nil {
			t.Fatalf("list %s: %v", query, err)
		}
		if strings.Join(got, " ") == strings.Join(want, " ") {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("list %s: got %v, want %v", query, got, want)
		case <-tick.C:
		}
	}
}

func listed(ctx context.Context, c client.Client, query string) ([]string, error) {
	answer, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range answer.GetExecutions() {
		ids = append(ids, e.GetExecution().GetWorkflowId())
	}
	return ids, nil
}

// A child is this test binary as a server in a process of its own.
type child struct {
	command *exec.Cmd
	address string
	stdin   io.Closer
	output  *bytes.Buffer
}

// childVariable names the data directory of a child, or "memory".
const childVariable = "GANTRY_DEVSERVER_TEST_CHILD"

func TestMain(m *testing.M) {
	dir, ok := os.LookupEnv(childVariable)
	if !ok {
		os.Exit(m.Run())
	}
	if err := serve(strings.TrimPrefix(dir, "memory")); err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
}

// serve writes its address to the first extra file and ends with its input.
func serve(dir string) error {
	s, err := temporalserver.Start(context.Background(), temporalserver.Options{DataDir: dir, UI: true, SearchAttributes: attributes})
	if err != nil {
		return err
	}
	defer s.Stop()
	address := os.NewFile(3, "address")
	if _, err := address.WriteString(s.HostPort()); err != nil {
		return err
	}
	if err := address.Close(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func startChild(t *testing.T, dir string) *child {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	c := &child{command: exec.CommandContext(t.Context(), program), output: new(bytes.Buffer)}
	c.command.Env = append(os.Environ(), childVariable+"="+dir)
	c.command.ExtraFiles = []*os.File{writer}
	c.command.Stdout, c.command.Stderr = c.output, c.output
	if c.stdin, err = c.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	err = c.command.Start()
	writer.Close()
	if err != nil {
		t.Fatal(err)
	}
	address, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	if c.address = string(address); c.address == "" {
		t.Fatalf("child did not start: %v: %s", c.command.Wait(), c.output)
	}
	return c
}

// stop closes the child's input and waits until it ends.
func (c *child) stop(t *testing.T) {
	t.Helper()
	if err := errors.Join(c.stdin.Close(), c.command.Wait()); err != nil {
		t.Fatalf("child: %v: %s", err, c.output)
	}
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.command.Wait() // It reports the kill.
}
