package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/gantryhq/gantry/e2e/program"
	"github.com/gantryhq/gantry/temporalserver"
)

// TestServeAndHealth runs serve until it is stopped, health meanwhile, and checks that all
// data is there after a restart.
func TestServeAndHealth(t *testing.T) {
	data := filepath.Join(t.TempDir(), "made", "by", "serve")
	address, ui := freeAddress(t), freeAddress(t)
	flags := []string{"serve", "--listen", address, "--ui", ui, "--store", "sqlite", "--data", data, "--retention", "48h"}
	if err := run(t.Context(), "health", "--address", address); err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("without a server, health returned %v", err)
	}

	stop := start(t, address, flags...)
	c := dial(t, address)
	_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "run-1", TaskQueue: "nobody"}, "Wait")
	if err != nil {
		t.Fatal(err)
	}
	if r, err := http.Get("http://" + ui); err != nil || r.StatusCode != http.StatusOK {
		t.Errorf("the web interface: %v %v", r, err)
	}
	namespace, err := c.WorkflowService().DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: "default"})
	if err != nil || namespace.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration() != 48*time.Hour {
		t.Errorf("the namespace is %v, %v; want a retention of 48h", namespace, err)
	}
	c.Close()
	stop()

	stop = start(t, address, flags...)
	c = dial(t, address)
	if _, err := c.DescribeWorkflowExecution(t.Context(), "run-1", ""); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	c.Close()
	stop()
}

// Another Temporal server isn't ready for Gantry until it has Gantry's namespace and
// search attributes.
func TestHealthSaysWhatLacks(t *testing.T) {
	s, err := temporalserver.Start(t.Context(), temporalserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	if err := run(t.Context(), "health", "--address", s.HostPort()); err == nil || !strings.Contains(err.Error(), "lacks search attribute Gantry") {
		t.Errorf("without search attributes: %v", err)
	}
	if err := run(t.Context(), "health", "--address", s.HostPort(), "--namespace", "elsewhere"); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("without the namespace: %v", err)
	}
}

func TestServeRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tt := range map[string]struct {
		flags []string
		says  string
	}{
		"no port":         {[]string{"--listen", "0.0.0.0"}, "--listen"},
		"no number":       {[]string{"--ui", "127.0.0.1:web"}, "--ui"},
		"a name":          {[]string{"--listen", "temporal:7233"}, "IP address"},
		"unknown store":   {[]string{"--store", "mysql"}, "neither sqlite nor postgres"},
		"no folder":       {[]string{"--data", ""}, "--data"},
		"folder is file":  {[]string{"--data", file}, file},
		"port taken":      {[]string{"--listen", taken.Addr().String()}, "busy"},
		"negative time":   {[]string{"--retention", "-1h"}, "negative"},
		"unknown setting": {[]string{"--stor", "sqlite"}, "--stor"},
	} {
		t.Run(name, func(t *testing.T) {
			flags := append([]string{"serve", "--listen", freeAddress(t), "--ui", "", "--data", t.TempDir()}, tt.flags...)
			if err := run(t.Context(), flags...); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an error with %q", err, tt.says)
			}
		})
	}
}

// run is the program's main without its signals.
func run(ctx context.Context, args ...string) error {
	cmd := newRootCommand()
	cmd.SetArgs(args)
	cmd.SetErr(new(bytes.Buffer))
	return cmd.ExecuteContext(ctx)
}

// start runs serve until the returned function is called, and waits until
// health finds it ready.
func start(t *testing.T, address string, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, args...) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve ended with %v", err)
		}
	})
	t.Cleanup(stop)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	patience := time.After(time.Minute)
	for {
		err := run(ctx, "health", "--address", address)
		if err == nil {
			return stop
		}
		select {
		case <-patience:
			t.Fatalf("not ready: %v", err)
		case <-tick.C:
		}
	}
}

func dial(t *testing.T, address string) client.Client {
	t.Helper()
	c, err := client.DialContext(t.Context(), client.Options{HostPort: address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func freeAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", program.FreePort(t))
}
