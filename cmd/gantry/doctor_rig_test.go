package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/doctor"
)

// temporal answers what the doctor asks of a Temporal server. A real one takes
// minutes to compile and is for e2e.
type temporal struct {
	workflowservice.UnimplementedWorkflowServiceServer
	operatorservice.UnimplementedOperatorServiceServer

	mu         sync.Mutex
	namespaces []string
	attributes map[string]enums.IndexedValueType
	others     []string // ids of executions of other accounts
	pollers    int
	broken     error // of everything but GetSystemInfo
}

// newTemporal starts one that has all Gantry needs, and points TEMPORAL_ADDRESS
// at it.
func newTemporal(t *testing.T) *temporal {
	t.Helper()
	f := &temporal{namespaces: []string{"default"}, attributes: map[string]enums.IndexedValueType{}, pollers: 2}
	for _, name := range managed.SearchAttributes() {
		f.attributes[name] = enums.INDEXED_VALUE_TYPE_KEYWORD
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, f)
	operatorservice.RegisterOperatorServiceServer(server, f)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	t.Setenv("TEMPORAL_ADDRESS", listener.Addr().String())
	return f
}

func (f *temporal) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

func (f *temporal) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{ServerVersion: "1.32.1"}, nil
}

func (f *temporal) DescribeNamespace(_ context.Context, r *workflowservice.DescribeNamespaceRequest) (*workflowservice.DescribeNamespaceResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.broken != nil:
		return nil, f.broken
	case !slices.Contains(f.namespaces, r.Namespace):
		return nil, serviceerror.ToStatus(serviceerror.NewNamespaceNotFound(r.Namespace)).Err()
	}
	return &workflowservice.DescribeNamespaceResponse{
		Config: &namespace.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(72 * time.Hour)},
	}, nil
}

func (f *temporal) ListSearchAttributes(context.Context, *operatorservice.ListSearchAttributesRequest) (*operatorservice.ListSearchAttributesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &operatorservice.ListSearchAttributesResponse{CustomAttributes: maps.Clone(f.attributes)}, f.broken
}

func (f *temporal) DescribeTaskQueue(context.Context, *workflowservice.DescribeTaskQueueRequest) (*workflowservice.DescribeTaskQueueResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &workflowservice.DescribeTaskQueueResponse{Pollers: make([]*taskqueue.PollerInfo, f.pollers)}, f.broken
}

func (f *temporal) ListWorkflowExecutions(_ context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	page := &workflowservice.ListWorkflowExecutionsResponse{}
	if strings.HasSuffix(r.GetQuery(), " AND GantryAccount NOT IN ('acme')") {
		for _, id := range f.others {
			page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: id}})
		}
	}
	return page, f.broken
}

var errPermission = status.Error(codes.PermissionDenied, "not for you")

// doctor runs gantry doctor and returns what it found, by check.
func (r *rig) doctor(args ...string) (map[string]doctor.Finding, doctor.Report, int) {
	r.t.Helper()
	out, code := r.run(append([]string{"doctor", "-o", "json"}, args...)...)
	var report doctor.Report
	decoder := json.NewDecoder(strings.NewReader(out)) // the error follows
	if err := decoder.Decode(&report); err != nil {
		r.t.Fatalf("%v in\n%s", err, out)
	}
	found := map[string]doctor.Finding{}
	for _, f := range report.Findings {
		found[f.Check] = f
	}
	return found, report, code
}

// speaksTLS gives Gantry a certificate.
func (r *rig) speaksTLS() {
	r.t.Helper()
	listener := httptest.NewTLSServer(nil)
	defer listener.Close()
	pair := listener.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	r.ok(err)
	file := filepath.Join(r.t.TempDir(), "both.pem")
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	r.ok(os.WriteFile(file, both, 0o600))
	r.configure("tls: {certFile: " + file + ", keyFile: " + file + "}\n")
}
