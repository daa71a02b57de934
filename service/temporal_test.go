package service_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"path"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// fakeTemporal is a Temporal server made of maps. It takes events and schedules,
// and hands activities to whichever worker polls. A real one takes minutes to
// compile and is for e2e.
type fakeTemporal struct {
	workflowservice.UnimplementedWorkflowServiceServer
	operatorservice.UnimplementedOperatorServiceServer

	address    string
	activities chan *workflowservice.PollActivityTaskQueueResponse // handed to pollers

	mu          sync.Mutex
	changed     chan struct{}    // closed and replaced whenever something below changes
	broken      map[string]error // by method; "" is every method
	calls       map[string]int   // by method
	connections int
	attributes  map[string]enums.IndexedValueType
	signals     []*workflowservice.SignalWithStartWorkflowExecutionRequest
	schedules   map[string]*schedulepb.Schedule
	triggers    map[string]int         // by schedule
	results     map[string]chan result // by task token
	stopping    bool                   // a worker says that it stops
	answers     chan struct{}          // queries wait for it; nil when they don't
}

// result is the end of an activity.
type result struct {
	payloads *commonpb.Payloads
	err      error
}

func newTemporal(t *testing.T) *fakeTemporal {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeTemporal{
		address: listener.Addr().String(), activities: make(chan *workflowservice.PollActivityTaskQueueResponse), changed: make(chan struct{}),
		broken: map[string]error{}, calls: map[string]int{}, attributes: map[string]enums.IndexedValueType{},
		schedules: map[string]*schedulepb.Schedule{}, triggers: map[string]int{}, results: map[string]chan result{},
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(f.count), grpc.StatsHandler(f))
	workflowservice.RegisterWorkflowServiceServer(server, f)
	operatorservice.RegisterOperatorServiceServer(server, f)
	healthy := health.NewServer()
	healthy.SetServingStatus("temporal.api.workflowservice.v1.WorkflowService", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, healthy)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return f
}

// change changes the server's state.
func (f *fakeTemporal) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
	close(f.changed)
	f.changed = make(chan struct{})
}

// await returns once a condition is true.
func (f *fakeTemporal) await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		f.mu.Lock()
		ok, changed := condition(), f.changed
		f.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("within %s: %s: no", patience, what)
		}
	}
}

// fail makes a method fail, or every method when it is "". Nil repairs it.
func (f *fakeTemporal) fail(method string, err error) {
	f.change(func() { f.broken[method] = err })
}

// called counts the calls of methods so far.
func (f *fakeTemporal) called(methods ...string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range methods {
		n += f.calls[m]
	}
	return n
}

// awaitWorker returns once a worker polls for workflow and activity tasks.
func (f *fakeTemporal) awaitWorker(t *testing.T) {
	t.Helper()
	f.await(t, "a worker polls", func() bool { return f.calls["PollWorkflowTaskQueue"] > 0 && f.calls["PollActivityTaskQueue"] > 0 })
}

// awaitTrigger returns once a schedule has been triggered, and returns the
// schedule.
func (f *fakeTemporal) awaitTrigger(t *testing.T, id string) *schedulepb.Schedule {
	t.Helper()
	f.await(t, "schedule "+id+" is triggered", func() bool { return f.triggers[id] > 0 })
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.schedules[id]
}

// start hands an activity to the worker. The channel receives its result.
func (f *fakeTemporal) start(t *testing.T, activity string, input any) <-chan result {
	t.Helper()
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(input)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan result, 1)
	var token string
	f.change(func() {
		token = strconv.Itoa(len(f.results))
		f.results[token] = done
	})
	task := &workflowservice.PollActivityTaskQueueResponse{
		TaskToken: []byte(token), ActivityId: token, ActivityType: &commonpb.ActivityType{Name: activity}, Input: payloads, Attempt: 1,
		WorkflowNamespace: "default", WorkflowType: &commonpb.WorkflowType{Name: "Test"},
		WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "test", RunId: "test"},
		ScheduledTime:     timestamppb.Now(), StartedTime: timestamppb.Now(), CurrentAttemptScheduledTime: timestamppb.Now(),
		ScheduleToCloseTimeout: durationpb.New(time.Hour), StartToCloseTimeout: durationpb.New(time.Hour),
	}
	select {
	case f.activities <- task:
	case <-time.After(patience):
		t.Fatalf("no worker takes %s", activity)
	}
	return done
}

// execute hands an activity to the worker, waits until it has ended, and decodes
// its result into out unless that is nil.
func (f *fakeTemporal) execute(t *testing.T, activity string, input, out any) error {
	t.Helper()
	ended := <-f.start(t, activity, input)
	if ended.err != nil || out == nil {
		return ended.err
	}
	return converter.GetDefaultDataConverter().FromPayloads(ended.payloads, out)
}

// count notes every call, and fails those that are broken.
func (f *fakeTemporal) count(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := path.Base(info.FullMethod)
	var err error
	f.change(func() {
		f.calls[method]++
		if err = f.broken[""]; err == nil {
			err = f.broken[method]
		}
	})
	if err != nil {
		return nil, serviceerror.ToStatus(err).Err()
	}
	answer, err := handler(ctx, req)
	if err != nil {
		return nil, serviceerror.ToStatus(err).Err()
	}
	return answer, nil
}

// TagRPC, HandleRPC, TagConn and HandleConn implement stats.Handler: they count
// the open connections.
func (f *fakeTemporal) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (f *fakeTemporal) HandleRPC(context.Context, stats.RPCStats)                         {}
func (f *fakeTemporal) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (f *fakeTemporal) HandleConn(_ context.Context, s stats.ConnStats) {
	f.change(func() {
		switch s.(type) {
		case *stats.ConnBegin:
			f.connections++
		case *stats.ConnEnd:
			f.connections--
		}
	})
}

func (f *fakeTemporal) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{ServerVersion: "1.32.1"}, nil
}

func (f *fakeTemporal) DescribeNamespace(context.Context, *workflowservice.DescribeNamespaceRequest) (*workflowservice.DescribeNamespaceResponse, error) {
	return &workflowservice.DescribeNamespaceResponse{}, nil
}

func (f *fakeTemporal) ListSearchAttributes(context.Context, *operatorservice.ListSearchAttributesRequest) (*operatorservice.ListSearchAttributesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &operatorservice.ListSearchAttributesResponse{CustomAttributes: maps.Clone(f.attributes)}, nil
}

func (f *fakeTemporal) AddSearchAttributes(_ context.Context, r *operatorservice.AddSearchAttributesRequest) (*operatorservice.AddSearchAttributesResponse, error) {
	f.change(func() { maps.Copy(f.attributes, r.GetSearchAttributes()) })
	return &operatorservice.AddSearchAttributesResponse{}, nil
}

func (f *fakeTemporal) SignalWithStartWorkflowExecution(_ context.Context, r *workflowservice.SignalWithStartWorkflowExecutionRequest) (*workflowservice.SignalWithStartWorkflowExecutionResponse, error) {
	f.change(func() { f.signals = append(f.signals, r) })
	return &workflowservice.SignalWithStartWorkflowExecutionResponse{RunId: "test"}, nil
}

// QueryWorkflow knows no execution, and says so once it may answer.
func (f *fakeTemporal) QueryWorkflow(ctx context.Context, r *workflowservice.QueryWorkflowRequest) (*workflowservice.QueryWorkflowResponse, error) {
	f.mu.Lock()
	answers := f.answers
	f.mu.Unlock()
	if answers != nil {
		select {
		case <-answers:
		case <-ctx.Done():
		}
	}
	return nil, serviceerror.NewNotFound("workflow not found for ID: " + r.GetExecution().GetWorkflowId())
}

func (f *fakeTemporal) PollWorkflowTaskQueue(ctx context.Context, _ *workflowservice.PollWorkflowTaskQueueRequest) (*workflowservice.PollWorkflowTaskQueueResponse, error) {
	<-ctx.Done()
	return &workflowservice.PollWorkflowTaskQueueResponse{}, nil
}

func (f *fakeTemporal) PollActivityTaskQueue(ctx context.Context, _ *workflowservice.PollActivityTaskQueueRequest) (*workflowservice.PollActivityTaskQueueResponse, error) {
	select {
	case task := <-f.activities:
		return task, nil
	case <-ctx.Done():
		return &workflowservice.PollActivityTaskQueueResponse{}, nil
	}
}

func (f *fakeTemporal) RespondActivityTaskCompleted(_ context.Context, r *workflowservice.RespondActivityTaskCompletedRequest) (*workflowservice.RespondActivityTaskCompletedResponse, error) {
	f.end(r.GetTaskToken(), result{payloads: r.GetResult()})
	return &workflowservice.RespondActivityTaskCompletedResponse{}, nil
}

func (f *fakeTemporal) RespondActivityTaskFailed(_ context.Context, r *workflowservice.RespondActivityTaskFailedRequest) (*workflowservice.RespondActivityTaskFailedResponse, error) {
	f.end(r.GetTaskToken(), result{err: temporal.GetDefaultFailureConverter().FailureToError(r.GetFailure())})
	return &workflowservice.RespondActivityTaskFailedResponse{}, nil
}

func (f *fakeTemporal) end(token []byte, with result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.results[string(token)] <- with
}

func (f *fakeTemporal) ShutdownWorker(context.Context, *workflowservice.ShutdownWorkerRequest) (*workflowservice.ShutdownWorkerResponse, error) {
	f.change(func() { f.stopping = true })
	return &workflowservice.ShutdownWorkerResponse{}, nil
}

func (f *fakeTemporal) CreateSchedule(_ context.Context, r *workflowservice.CreateScheduleRequest) (*workflowservice.CreateScheduleResponse, error) {
	var err error
	f.change(func() {
		if f.schedules[r.GetScheduleId()] != nil {
			err = serviceerror.NewWorkflowExecutionAlreadyStarted("schedule exists", "", "")
			return
		}
		f.schedules[r.GetScheduleId()] = r.GetSchedule()
		f.trigger(r.GetScheduleId(), r.GetInitialPatch())
	})
	return &workflowservice.CreateScheduleResponse{}, err
}

func (f *fakeTemporal) DescribeSchedule(_ context.Context, r *workflowservice.DescribeScheduleRequest) (*workflowservice.DescribeScheduleResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &workflowservice.DescribeScheduleResponse{Schedule: f.schedules[r.GetScheduleId()], Info: &schedulepb.ScheduleInfo{}}, nil
}

func (f *fakeTemporal) UpdateSchedule(_ context.Context, r *workflowservice.UpdateScheduleRequest) (*workflowservice.UpdateScheduleResponse, error) {
	f.change(func() { f.schedules[r.GetScheduleId()] = r.GetSchedule() })
	return &workflowservice.UpdateScheduleResponse{}, nil
}

func (f *fakeTemporal) PatchSchedule(_ context.Context, r *workflowservice.PatchScheduleRequest) (*workflowservice.PatchScheduleResponse, error) {
	f.change(func() { f.trigger(r.GetScheduleId(), r.GetPatch()) })
	return &workflowservice.PatchScheduleResponse{}, nil
}

func (f *fakeTemporal) trigger(id string, patch *schedulepb.SchedulePatch) {
	if patch.GetTriggerImmediately() != nil {
		f.triggers[id]++
	}
}

func (f *fakeTemporal) DeleteSchedule(_ context.Context, r *workflowservice.DeleteScheduleRequest) (*workflowservice.DeleteScheduleResponse, error) {
	known := false
	f.change(func() {
		known = f.schedules[r.GetScheduleId()] != nil
		delete(f.schedules, r.GetScheduleId())
	})
	if !known {
		return nil, serviceerror.NewNotFound("schedule not found")
	}
	return &workflowservice.DeleteScheduleResponse{}, nil
}

// read reads the server's state.
func (f *fakeTemporal) read(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

// scheduled returns the ids of all schedules.
func (f *fakeTemporal) scheduled() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.schedules))
}
