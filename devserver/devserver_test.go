package devserver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/devserver"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
)

func TestExecutionIsFoundByItsSearchAttributes(t *testing.T) {
	s := start(t, devserver.Options{SearchAttributes: attributes})
	c := dial(t, s.HostPort())
	work(t, c)

	begin(t, c, "other", stack.ValueSet("network"), tries.ValueSet(2))
	run := begin(t, c, "wanted", stack.ValueSet("network"), tries.ValueSet(1))
	signal(t, c, "wanted", "world")

	wantResult(t, run, "hello world")
	wantListed(t, c, `TestStack = "network" AND TestTries < 2 AND ExecutionStatus = "Completed"`, "wanted")
}

func TestListsAreNotRateLimited(t *testing.T) {
	s := start(t, devserver.Options{})
	c := dial(t, s.HostPort())
	for i := range 100 {
		if _, err := listed(t.Context(), c, ""); err != nil {
			t.Fatalf("list %d: %v", i, err)
		}
	}
}

func TestDataDirSurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "with spaces, ? and %20")
	s := start(t, devserver.Options{DataDir: dir, SearchAttributes: attributes})
	begin(t, dial(t, s.HostPort()), "old", stack.ValueSet("network"))
	s.Stop()

	more := map[string]enums.IndexedValueType{phase.GetName(): enums.INDEXED_VALUE_TYPE_KEYWORD}
	s = start(t, devserver.Options{DataDir: dir, SearchAttributes: more})
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

	s := start(t, devserver.Options{DataDir: dir})
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
		{"default", 0, devserver.DefaultRetention},
		{"changed", 48 * time.Hour, 48 * time.Hour},
		{"kept", 0, 48 * time.Hour},
	} {
		s := start(t, devserver.Options{DataDir: dir, Retention: step.retention})
		namespaces, err := client.NewNamespaceClient(client.Options{HostPort: s.HostPort()})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := namespaces.Describe(t.Context(), devserver.DefaultNamespace)
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
	a := start(t, devserver.Options{UI: true})
	b := start(t, devserver.Options{UI: true, SearchAttributes: attributes})
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

// An orchestrator's view of an outage: worker and client stay while Temporal
// is away and go on when it is back.
func TestClientsOutliveRestartsOnTheSamePort(t *testing.T) {
	dir := t.TempDir()
	s := start(t, devserver.Options{DataDir: dir})
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
		s = start(t, devserver.Options{DataDir: dir, FrontendPort: port})
		signal(t, c, id, "again")
		wantResult(t, run, "hello again")
	}
}

func TestStopIsQuickAndComplete(t *testing.T) {
	dir := t.TempDir()
	s := start(t, devserver.Options{DataDir: dir, UI: true})
	c := dial(t, s.HostPort())
	work(t, c)
	run := begin(t, c, "done")
	signal(t, c, "done", "world")
	wantResult(t, run, "hello world")
	ui := s.UIURL()

	begun := time.Now()
	s.Stop()
	s.Stop()
	if took := time.Since(begun); took > 5*time.Second {
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
	if _, err := os.Stat(filepath.Join(dir, "temporal.db-wal")); !os.IsNotExist(err) {
		t.Errorf("the database is still open: %v", err)
	}
}

func TestServerIsSilent(t *testing.T) {
	quiet := startChild(t, "memory")
	c := dial(t, quiet.address)
	work(t, c)
	run := begin(t, c, "done", stack.ValueSet("network"))
	signal(t, c, "done", "world")
	wantResult(t, run, "hello world")

	quiet.stop(t)
	if quiet.output.Len() > 0 {
		t.Errorf("server wrote: %s", quiet.output)
	}
}

func TestUI(t *testing.T) {
	s := start(t, devserver.Options{UI: true, Namespace: "lab"})
	begin(t, dialNamespace(t, s.HostPort(), "lab"), "run-1")

	for path, want := range map[string]string{
		"/":                                      "<html",
		"/namespaces/lab/workflows":              "<html",
		"/healthz":                               "OK",
		"/api/v1/settings":                       `"DefaultNamespace":"lab"`,
		"/api/v1/cluster-info":                   `"serverVersion"`,
		"/api/v1/namespaces/lab/workflows/run-1": `"workflowId": "run-1"`,
		"/render?content=%2A%2Aapproved%2A%2A":   "<strong>approved</strong>",
	} {
		status, body := get(t, s.UIURL()+path)
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s: got %d without %q: %.200s", path, status, want, body)
		}
	}
}

func TestUIServesItsScripts(t *testing.T) {
	s := start(t, devserver.Options{UI: true})
	_, page := get(t, s.UIURL())
	scripts := regexp.MustCompile(`/_app/immutable/entry/[^"]+\.js`).FindAllString(page, -1)
	if len(scripts) == 0 {
		t.Fatalf("no script in %.500s", page)
	}
	for _, script := range scripts {
		if status, body := get(t, s.UIURL()+script); status != http.StatusOK || strings.HasPrefix(body, "<!doctype") {
			t.Errorf("GET %s: got %d: %.200s", script, status, body)
		}
	}
}

// The interface can end executions and asks nobody who they are, so a page
// from elsewhere in the same browser must not be able to use it.
func TestUIRefusesOtherSites(t *testing.T) {
	s := start(t, devserver.Options{UI: true})
	c := dial(t, s.HostPort())
	begin(t, c, "run-1")

	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		s.UIURL()+"/api/v1/namespaces/default/workflows/run-1/terminate", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://elsewhere.example")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()

	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("got %s, want 403", answer.Status)
	}
	wantListed(t, c, `ExecutionStatus = "Running"`, "run-1")
}

func TestWithoutUI(t *testing.T) {
	s := start(t, devserver.Options{})
	if got := s.UIURL(); got != "" {
		t.Errorf("UIURL is %q", got)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port

	inUse := t.TempDir()
	start(t, devserver.Options{DataDir: inUse})
	inUseElsewhere := t.TempDir()
	startChild(t, inUseElsewhere)

	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "not a directory")
	damaged := t.TempDir()
	write(t, filepath.Join(damaged, "temporal.db"), strings.Repeat("no database ", 1000))

	keywords := make(map[string]enums.IndexedValueType)
	for i := range 11 {
		keywords[fmt.Sprintf("Keyword%d", i)] = enums.INDEXED_VALUE_TYPE_KEYWORD
	}
	typed := t.TempDir()
	start(t, devserver.Options{DataDir: typed, SearchAttributes: attributes}).Stop()

	for _, test := range []struct {
		name    string
		options devserver.Options
		want    []string
	}{
		{
			"busy port", devserver.Options{FrontendPort: port},
			[]string{"port " + strconv.Itoa(port), "busy", "or 0 for any free one"},
		},
		{
			"busy UI port", devserver.Options{UI: true, UIPort: port},
			[]string{"UI", "port " + strconv.Itoa(port), "busy"},
		},
		{
			"no port", devserver.Options{FrontendPort: 70_000},
			[]string{"70000 is not a port"},
		},
		{
			"directory in use in this process", devserver.Options{DataDir: inUse},
			[]string{inUse, "another server is using it"},
		},
		{
			"directory in use in another process", devserver.Options{DataDir: inUseElsewhere},
			[]string{inUseElsewhere, "another server is using it"},
		},
		{
			"directory is a file", devserver.Options{DataDir: file},
			[]string{file, "not a directory"},
		},
		{
			"damaged database", devserver.Options{DataDir: damaged},
			[]string{damaged, "temporal.db is damaged or no database"},
		},
		{
			"too many search attributes", devserver.Options{SearchAttributes: keywords},
			[]string{"Keyword9", "at most 10 of type Keyword"},
		},
		{
			"search attribute of another type",
			devserver.Options{DataDir: typed, SearchAttributes: map[string]enums.IndexedValueType{
				stack.GetName(): enums.INDEXED_VALUE_TYPE_INT,
			}},
			[]string{"TestStack", "is of type Keyword already"},
		},
		{
			"search attribute without a type",
			devserver.Options{SearchAttributes: map[string]enums.IndexedValueType{"Nothing": 0}},
			[]string{"Nothing", "no type"},
		},
		{
			"search attribute of Temporal's own",
			devserver.Options{SearchAttributes: map[string]enums.IndexedValueType{
				"WorkflowId": enums.INDEXED_VALUE_TYPE_KEYWORD,
			}},
			[]string{"WorkflowId", "Temporal's own"},
		},
		{
			"negative retention", devserver.Options{Retention: -time.Hour},
			[]string{"retention -1h0m0s is negative"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := devserver.Start(t.Context(), test.options)
			if err == nil {
				s.Stop()
				t.Fatal("started")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestFailedStartLeavesNothingBehind(t *testing.T) {
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	dir := t.TempDir()
	s := start(t, devserver.Options{DataDir: dir})
	port := portOf(t, s)
	s.Stop()

	for _, test := range []struct {
		name    string
		options devserver.Options
	}{
		{"UI port busy", devserver.Options{UI: true, UIPort: busy.Addr().(*net.TCPAddr).Port}},
		{"unusable search attribute", devserver.Options{SearchAttributes: map[string]enums.IndexedValueType{"Nothing": 0}}},
	} {
		test.options.DataDir, test.options.FrontendPort = dir, port
		if s, err := devserver.Start(t.Context(), test.options); err == nil {
			s.Stop()
			t.Fatalf("%s: started", test.name)
		}
		start(t, devserver.Options{DataDir: dir, FrontendPort: port}).Stop()
	}
}

// However far it got.
func TestStartEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	s := start(t, devserver.Options{DataDir: dir})
	port := portOf(t, s)
	s.Stop()

	for patience := range 8 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(patience)*10*time.Millisecond)
		s, err := devserver.Start(ctx, devserver.Options{DataDir: dir, FrontendPort: port, UI: true})
		cancel()
		switch {
		case err == nil:
			s.Stop()
		case !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("after %d0 ms: %v", patience, err)
		}
	}
	start(t, devserver.Options{DataDir: dir, FrontendPort: port})
}

// brief is for calls that cannot succeed.
func brief(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// portOf is for starting a server again where it was.
func portOf(t *testing.T, s *devserver.Server) int {
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

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
