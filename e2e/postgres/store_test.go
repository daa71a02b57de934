package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	_ "go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql" // the plugin of the schema tool
	v12 "go.temporal.io/server/schema/postgresql/v12"
	"go.temporal.io/server/tools/common/schema"
	"go.temporal.io/server/tools/sql"

	"github.com/gantryhq/gantry/e2e/postgres"
)

// The first start makes databases and tables, the next ones find them and what
// is in them.
func TestDataOutlivesTheServer(t *testing.T) {
	c := newCluster(t)
	s := serve(t, c)
	s.ready()
	begin(t, s, "run-1")
	s.terminate()
	wantSchema(t, c)

	s = serve(t, c)
	s.ready()
	signal(t, s, "run-1")
	wantEvents(t, s, "run-1", 3) // started, task scheduled, signaled
	s.Kill()

	s = serve(t, c)
	s.ready()
	wantEvents(t, s, "run-1", 3)
}

// A first start that is killed at any moment leaves nothing that the next one
// stumbles over.
func TestSetUpSurvivesKill(t *testing.T) {
	c := newCluster(t)
	for after := 50 * time.Millisecond; ; after += 150 * time.Millisecond {
		s := serve(t, c)
		s.LivesFor(after)
		ready := health(t.Context(), s.address) == nil
		s.Kill()
		if ready {
			break
		}
		if after > 30*time.Second {
			t.Fatalf("not ready after %s:\n%s", after, s.Out)
		}
	}
	wantSchema(t, c)
}

// Tables that Temporal's own tool made for an older version are brought up to
// date.
func TestOlderTablesAreBroughtUpToDate(t *testing.T) {
	c := newCluster(t)
	for database, made := range map[string]struct{ schema, version string }{
		"temporal":            {"postgresql/v12/temporal", "1.14"},
		"temporal_visibility": {"postgresql/v12/visibility", "1.6"},
	} {
		if err := c.Exec(t.Context(), "CREATE DATABASE "+database); err != nil {
			t.Fatal(err)
		}
		tool, err := sql.NewConnection(&config.SQL{
			PluginName: "postgres12_pgx", ConnectProtocol: "tcp", ConnectAddr: c.Address,
			User: postgres.User, Password: c.Password, DatabaseName: database,
		}, log.NewNoopLogger())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(
			schema.NewSetupSchemaTask(tool, &schema.SetupConfig{InitialVersion: "0.0"}, log.NewNoopLogger()).Run(),
			schema.NewUpdateSchemaTask(tool, &schema.UpdateConfig{SchemaName: made.schema, TargetVersion: made.version}, log.NewNoopLogger()).Run(),
		); err != nil {
			t.Fatal(err)
		}
		if got, err := tool.ReadSchemaVersion(); err != nil || got != made.version {
			t.Fatalf("the tool made version %s of %s: %v", got, database, err)
		}
		tool.Close()
	}
	s := serve(t, c)
	s.ready()
	wantSchema(t, c)
	begin(t, s, "run-1")
}

// A server that starts before its database waits for it, and one whose
// database goes away works again when it is back.
func TestPostgresGoesAway(t *testing.T) {
	c := newCluster(t)
	c.Kill()
	s := serve(t, c)
	s.says("does not answer")
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.ready()
	begin(t, s, "run-1")

	c.Kill()
	eventually(t, "the server is unhealthy", func(ctx context.Context) error {
		if health(ctx, s.address) == nil {
			return errors.New("it says it is healthy")
		}
		return nil
	})
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.ready()
	signal(t, s, "run-1")
	wantEvents(t, s, "run-1", 3)
}

// Asked to stop while it waits, a server stops.
func TestWaitingServerStops(t *testing.T) {
	c := newCluster(t)
	c.Kill()
	s := serve(t, c)
	s.says("does not answer")
	s.terminate()
}

// Two servers never use one database: the second takes over when the first ends.
func TestSecondServerWaits(t *testing.T) {
	c := newCluster(t)
	first := serve(t, c)
	first.ready()
	begin(t, first, "run-1")
	second := serve(t, c)
	second.says("another server uses the database")
	if err := health(t.Context(), second.address); err == nil {
		t.Error("the second server is healthy beside the first")
	}
	first.Kill()
	second.ready()
	wantEvents(t, second, "run-1", 2)
}

// A permanent error is reported immediately, without the password.
func TestRefusals(t *testing.T) {
	c := newCluster(t)
	statements := []string{
		"CREATE ROLE modest LOGIN PASSWORD '" + c.Password + "'",
		"CREATE DATABASE theirs OWNER modest", "CREATE DATABASE theirs_visibility OWNER modest",
	}
	for _, statement := range statements {
		if err := c.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		flags []string
		says  []string
	}{
		"unknown user":             {[]string{"--postgres-user", "nobody-we-know"}, []string{c.Address, "password authentication failed"}},
		"no password":              {[]string{"--postgres-password-file", ""}, []string{"password"}},
		"no file":                  {[]string{"--postgres-password-file", "/nowhere/at/all"}, []string{"/nowhere/at/all", "--postgres-password-file"}},
		"may not create databases": {[]string{"--postgres-user", "modest"}, []string{"create database temporal", "permission denied"}},
		"one database for both":    {[]string{"--postgres-visibility-database", "temporal"}, []string{"give two"}},
		"unknown store":            {[]string{"--store", "mysql"}, []string{"sqlite", "postgres"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c, tt.flags...)
			s.refuses(tt.says)
			if strings.Contains(s.Out.String(), c.Password) {
				t.Errorf("it said the password: %s", s.Out)
			}
		})
	}

	// With its databases made by somebody else, the user needs no more.
	s := serve(t, c, "--postgres-user", "modest", "--postgres-database", "theirs", "--postgres-visibility-database", "theirs_visibility")
	s.ready()
}

// wantSchema checks that both databases have the tables this program needs.
func wantSchema(t *testing.T, c *postgres.Cluster) {
	t.Helper()
	for database, want := range map[string]string{"temporal": v12.Version, "temporal_visibility": v12.VisibilityVersion} {
		conn, err := c.Connect(t.Context(), database)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		var got string
		if err := conn.QueryRow(t.Context(), "SELECT curr_version FROM schema_version WHERE db_name = $1", database).Scan(&got); err != nil || got != want {
			t.Errorf("schema of %s: got %s, %v; want %s", database, got, err, want)
		}
	}
}

// begin starts an execution that nobody works on.
func begin(t *testing.T, s *server, id string) {
	t.Helper()
	_, err := s.client().ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: "nobody"}, "Wait")
	if err != nil {
		t.Fatal(err)
	}
}

func signal(t *testing.T, s *server, id string) {
	t.Helper()
	if err := s.client().SignalWorkflow(t.Context(), id, "", "go-on", nil); err != nil {
		t.Fatal(err)
	}
}

func wantEvents(t *testing.T, s *server, id string, want int) {
	t.Helper()
	events := s.client().GetWorkflowHistory(t.Context(), id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	var got []string
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(e.GetEventType()))
	}
	if len(got) != want {
		t.Errorf("%s has %v, want %d events", id, got, want)
	}
}
