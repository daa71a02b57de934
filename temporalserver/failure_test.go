package temporalserver_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/temporalserver"
	"go.temporal.io/api/enums/v1"
)

func TestStartSaysWhatIsWrong(t *testing.T) {
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port

	inUse := t.TempDir()
	start(t, temporalserver.Options{DataDir: inUse})
	inUseElsewhere := t.TempDir()
	startChild(t, inUseElsewhere)

	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "not a directory")
	damaged := t.TempDir()
	write(t, filepath.Join(damaged, "temporal.db"), strings.Repeat("no database ", 1000))

	foreign := t.TempDir()
	execSQL(t, foreign, "CREATE TABLE invoices(id INTEGER)")
	older := t.TempDir()
	start(t, temporalserver.Options{DataDir: older}).Stop()
	execSQL(t, older, "UPDATE schema_version SET curr_version = '0.1' WHERE db_name = 'temporal'")

	keywords := make(map[string]enums.IndexedValueType)
	for i := range 11 {
		keywords[fmt.Sprintf("Keyword%d", i)] = enums.INDEXED_VALUE_TYPE_KEYWORD
	}
	typed := t.TempDir()
	start(t, temporalserver.Options{DataDir: typed, SearchAttributes: attributes}).Stop()

	for _, test := range []struct {
		name    string
		options temporalserver.Options
		want    []string
	}{
		{
			"busy port", temporalserver.Options{FrontendPort: port},
			[]string{"port " + strconv.Itoa(port), "busy", "or 0 for any free one"},
		},
		{
			"busy UI port", temporalserver.Options{UI: true, UIPort: port},
			[]string{"UI", "port " + strconv.Itoa(port), "busy"},
		},
		{
			"no port", temporalserver.Options{FrontendPort: 70_000},
			[]string{"70000 is not a port"},
		},
		{
			"directory in use in this process", temporalserver.Options{DataDir: inUse},
			[]string{inUse, "another server is using it"},
		},
		{
			"directory in use in another process", temporalserver.Options{DataDir: inUseElsewhere},
			[]string{inUseElsewhere, "another server is using it"},
		},
		{
			"directory is a file", temporalserver.Options{DataDir: file},
			[]string{file, "not a directory"},
		},
		{
			"damaged database", temporalserver.Options{DataDir: damaged},
			[]string{damaged, "temporal.db is damaged or no database"},
		},
		{
			"database of another program", temporalserver.Options{DataDir: foreign},
			[]string{foreign, "did not create"},
		},
		{
			"database of another Temporal", temporalserver.Options{DataDir: older},
			[]string{older, "has version 0.1 of schema temporal", "or another directory"},
		},
		{
			"too many search attributes", temporalserver.Options{SearchAttributes: keywords},
			[]string{"Keyword9", "at most 10 of type Keyword"},
		},
		{
			"search attribute of another type",
			temporalserver.Options{DataDir: typed, SearchAttributes: map[string]enums.IndexedValueType{
				stack.GetName(): enums.INDEXED_VALUE_TYPE_INT,
			}},
			[]string{"TestStack", "has type Keyword"},
		},
		{
			"search attribute without a type",
			temporalserver.Options{SearchAttributes: map[string]enums.IndexedValueType{"Nothing": 0}},
			[]string{"Nothing", "no type"},
		},
		{
			"reserved search attribute",
			temporalserver.Options{SearchAttributes: map[string]enums.IndexedValueType{
				"WorkflowId": enums.INDEXED_VALUE_TYPE_KEYWORD,
			}},
			[]string{"WorkflowId", "reserved by Temporal"},
		},
		{
			"negative retention", temporalserver.Options{Retention: -time.Hour},
			[]string{"retention -1h0m0s is negative"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := temporalserver.Start(t.Context(), test.options)
			if err == nil {
				s.Stop()
				t.Fatal("started")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
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
	s := start(t, temporalserver.Options{DataDir: dir})
	port := portOf(t, s)
	s.Stop()

	for _, test := range []struct {
		name    string
		options temporalserver.Options
	}{
		{"UI port busy", temporalserver.Options{UI: true, UIPort: busy.Addr().(*net.TCPAddr).Port}},
		{"unusable search attribute", temporalserver.Options{SearchAttributes: map[string]enums.IndexedValueType{"Nothing": 0}}},
	} {
		test.options.DataDir, test.options.FrontendPort = dir, port
		if s, err := temporalserver.Start(t.Context(), test.options); err == nil {
			s.Stop()
			t.Fatalf("%s: started", test.name)
		}
		start(t, temporalserver.Options{DataDir: dir, FrontendPort: port}).Stop()
	}
}

// At any stage of the start.
func TestStartEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	s := start(t, temporalserver.Options{DataDir: dir})
	port := portOf(t, s)
	s.Stop()

	for patience := range 8 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(patience)*10*time.Millisecond)
		s, err := temporalserver.Start(ctx, temporalserver.Options{DataDir: dir, FrontendPort: port, UI: true})
		cancel()
		switch {
		case err == nil:
			s.Stop()
		case !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("after %d0 ms: %v", patience, err)
		}
	}
	start(t, temporalserver.Options{DataDir: dir, FrontendPort: port})
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// execSQL uses the SQLite driver that temporalserver links.
func execSQL(t *testing.T, dir, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "temporal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
