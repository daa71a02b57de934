package temporalserver

import (
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"go.temporal.io/server/common/log/tag"
	"go.temporal.io/server/service/history/shard"
)

// On its own, Temporal ends the process then.
func TestPortTakenAtTheLastMomentIsAnError(t *testing.T) {
	db, err := openMemory()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{log: newServerLog(nil), store: db}
	defer s.Stop()
	if err := db.ensureNamespace(t.Context(), DefaultNamespace, 0, nil); err != nil {
		t.Fatal(err)
	}
	taken, err := reservePorts(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.release()

	if err := s.startTemporal(taken, false); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want an address in use", err)
	}
}

func TestLogKeepsErrorsUntilMuted(t *testing.T) {
	var out strings.Builder
	l := newServerLog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	tagged := l.With(tag.String("queue", "runs"))

	tagged.Warn("quiet")
	tagged.Error("loud", tag.Error(syscall.ENOSPC))
	tagged.Error("passing", tag.Error(shard.ErrShardStatusUnknown))
	l.mute()
	tagged.Error("late")

	got := out.String()
	for _, want := range []string{"level=ERROR", "msg=loud", "component=temporal", "queue=runs", syscall.ENOSPC.Error()} {
		if !strings.Contains(got, want) {
			t.Errorf("log lacks %q: %s", want, got)
		}
	}
	if strings.Count(got, "\n") != 1 {
		t.Errorf("want one line: %s", got)
	}
}
