package service

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
)

// call is an activity: it ends when its context does, or after a while.
type call struct {
	interceptor.ActivityInboundInterceptorBase
	takes time.Duration
	end   func(context.Context) (any, error)
}

func (c *call) ExecuteActivity(ctx context.Context, _ *interceptor.ExecuteActivityInput) (any, error) {
	select {
	case <-ctx.Done():
	case <-time.After(c.takes):
	}
	return c.end(ctx)
}

// An activity under way when the worker stops has callGrace to end. What it has
// achieved by then counts; what it has not is repeated by another worker.
func TestCutOff(t *testing.T) {
	final := temporal.NewNonRetryableApplicationError("not found", "NotFound", nil)
	ended := errors.New("connection reset")
	for name, tt := range map[string]struct {
		takes  time.Duration
		end    func(context.Context) (any, error)
		result any
		err    error // nil when it is cut off
		after  time.Duration
	}{
		"answered in time": {
			takes: callGrace / 2, end: func(ctx context.Context) (any, error) { return "done", ctx.Err() }, result: "done", after: callGrace / 2,
		},
		"failed in time": {
			takes: callGrace / 2, end: func(context.Context) (any, error) { return nil, ended }, err: ended, after: callGrace / 2,
		},
		"answered as it is cut off": {
			takes: time.Hour, end: func(context.Context) (any, error) { return "done", nil }, result: "done", after: callGrace,
		},
		"refused as it is cut off": {
			takes: time.Hour, end: func(context.Context) (any, error) { return nil, final }, err: final, after: callGrace,
		},
		"cut off": {
			takes: time.Hour, end: func(ctx context.Context) (any, error) { return nil, ctx.Err() }, err: errStopping, after: callGrace,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stopping, stop := context.WithCancel(t.Context())
				activity := newCutOff(stopping).InterceptActivity(t.Context(), &call{takes: tt.takes, end: tt.end})
				began := time.Now()
				stop()
				result, err := activity.ExecuteActivity(t.Context(), nil)
				if took := time.Since(began); took != tt.after {
					t.Errorf("it ends %s after the stop, want %s", took, tt.after)
				}
				if tt.err == errStopping { //nolint:errorlint // the table's value
					app, ok := errors.AsType[*temporal.ApplicationError](err)
					if !ok || app.Type() != errTypeStopping || app.NonRetryable() {
						t.Errorf("got %v, want an error of type %s that is retried", err, errTypeStopping)
					}
					return
				}
				if result != tt.result || !errors.Is(err, tt.err) {
					t.Errorf("got %v, %v; want %v, %v", result, err, tt.result, tt.err)
				}
			})
		})
	}
}

// Without a stop, activities take as long as they need.
func TestCutOffWithoutStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		activity := newCutOff(t.Context()).InterceptActivity(t.Context(), &call{takes: time.Hour, end: func(ctx context.Context) (any, error) { return "done", ctx.Err() }})
		if result, err := activity.ExecuteActivity(t.Context(), nil); result != "done" || err != nil {
			t.Errorf("got %v, %v; want done", result, err)
		}
	})
}

// pipes is a listener within the process.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A stopped server lets requests under way end, but no longer than
// shutdownGrace.
func TestServerStops(t *testing.T) {
	for name, tt := range map[string]struct{ takes, after time.Duration }{
		"answered in time":  {takes: shutdownGrace / 2, after: shutdownGrace / 2},
		"answered too late": {takes: time.Hour, after: shutdownGrace},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
				asked := make(chan struct{})
				handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					close(asked)
					select {
					case <-time.After(tt.takes):
						_, _ = io.WriteString(w, "done")
					case <-r.Context().Done():
					}
				})
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				p := &process{Options: Options{Log: slog.New(slog.DiscardHandler)}}
				go func() { ended <- p.serveHTTP(ctx, limitConnections(l, nil), handler) }()
				client, server := net.Pipe()
				l.conns <- server
				answered := make(chan bool, 1)
				go func() {
					_, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: gantry\r\n\r\n")
					response, err := http.ReadResponse(bufio.NewReader(client), nil)
					if err == nil {
						_, _ = io.Copy(io.Discard, response.Body)
					}
					answered <- err == nil
				}()
				<-asked
				began := time.Now()
				stop()
				if err := <-ended; err != nil {
					t.Errorf("it ends with %v", err)
				}
				// Shutdown polls for idle connections, so it may be a little late.
				if took := time.Since(began); took < tt.after || took > tt.after+time.Second {
					t.Errorf("it ends %s after the stop, want %s", took, tt.after)
				}
				if got, want := <-answered, tt.takes <= shutdownGrace; got != want {
					t.Errorf("the request is answered: %t, want %t", got, want)
				}
			})
		})
	}
}
