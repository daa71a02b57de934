package temporalserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/temporalio/ui-server/v2/server/api"
	"github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/cors"
	"github.com/temporalio/ui-server/v2/server/csrf"
	"github.com/temporalio/ui-server/v2/server/headers"
	"github.com/temporalio/ui-server/v2/server/route"
	temporalui "github.com/temporalio/ui-server/v2/ui"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/log/tag"
	"google.golang.org/grpc"
)

// ui is Temporal's web interface.
type ui struct {
	listener net.Listener
	server   *http.Server
}

// listenUI binds the port; connections wait until serve.
func listenUI(ctx context.Context, host string, port int) (*ui, error) {
	l, err := listen(ctx, cmp.Or(host, loopback), port)
	if err != nil {
		return nil, fmt.Errorf("reserve a port for temporal's UI: %w", err)
	}
	return &ui{listener: l}, nil
}

func (u *ui) url() string { return "http://" + u.listener.Addr().String() }

func (u *ui) serve(conn *grpc.ClientConn, namespace, frontend string, log *serverLog) error {
	handler, err := uiHandler(conn, namespace, frontend)
	if err != nil {
		return err
	}
	u.server = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := u.server.Serve(u.listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("temporal's UI stopped", tag.Error(err))
		}
	}()
	return nil
}

func (u *ui) close() {
	if u.server != nil {
		_ = u.server.Close()
	}
	_ = u.listener.Close()
}

// uiHandler builds the interface from the parts of ui-server's server.NewServer, in
// the same order, without those for other deployments (sign-in, a public path,
// assets from disk). NewServer's own Start would end the process if the port is
// taken, and it doesn't report when it serves, nor closes its connection to
// Temporal.
func uiHandler(conn *grpc.ClientConn, namespace, frontend string) (http.Handler, error) {
	settings, err := config.NewConfigProviderWithRefresh(&config.Config{
		TemporalGRPCAddress: frontend,
		DefaultNamespace:    namespace,
		EnableUI:            true,
		DisableNewsFetch:    true,
		CORS:                config.CORS{CookieInsecure: true},
	})
	if err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	assets, err := temporalui.Assets()
	if err != nil {
		return nil, fmt.Errorf("open assets: %w", err)
	}
	local, err := fs.Sub(assets, "local")
	if err != nil {
		return nil, fmt.Errorf("open assets: %w", err)
	}

	e := echo.New()
	e.Use(
		middleware.Recover(),
		middleware.Gzip(),
		cors.CORSMiddleware(cors.CORSConfig{ConfigProvider: settings}),
		middleware.Secure(),
		csrf.EnsureTokenCookie(false),
		middleware.CSRFWithConfig(csrf.MiddlewareConfig(settings, false)),
	)
	route.SetHealthRoute(e)
	calls := e.Group("/api/v1")
	calls.GET("/settings", api.GetSettings(settings))
	calls.GET(api.WorkflowRawHistoryUrl, api.WorkflowRawHistoryHandler(workflowservice.NewWorkflowServiceClient(conn)))
	calls.Any("/*", api.TemporalAPIHandler(settings, []api.Middleware{headers.WithForwardHeaders([]string{"Caller-Type"})}, conn))
	if err := route.SetUIRoutes(e, "", local); err != nil {
		return nil, fmt.Errorf("set routes: %w", err)
	}
	route.SetRenderRoute(e, "")
	return e, nil
}
