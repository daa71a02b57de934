package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
)

// Streams of one run poll its execution, so their number is bounded more narrowly than
// that of event streams, which share one hub.
const (
	maxRunStreams      = 100
	maxEventStreams    = 1000
	maxTokenStreams    = 10               // so that no caller takes the places of all others
	maxPageStreams     = 50               // event streams of one person's pages: each open page has one
	heartbeat          = 15 * time.Second // proxies close connections after a minute or so of silence
	streamPatience     = 10 * time.Second // before a client that does not read is cut off
	reconnectAfter     = 5 * time.Second  // how long a client waits before it connects again
	credentialsChecked = 10 * time.Second // how often a stream looks its caller up again, at its next sign of life
)

// openStreams counts the streams that are open, by caller.
type openStreams struct {
	most, mostOfToken, mostOfPages int

	mu       sync.Mutex
	all      int
	byCaller map[streamCaller]int
}

// streamCaller is a caller whose streams add up: a person's tokens, or their browsers.
type streamCaller struct {
	name  string
	pages bool
}

func newOpenStreams(most, mostOfToken, mostOfPages int) *openStreams {
	return &openStreams{most: most, mostOfToken: mostOfToken, mostOfPages: mostOfPages, byCaller: map[streamCaller]int{}}
}

// open takes a place for a stream of a caller. The caller must call done at its end.
func (s *openStreams) open(p authority.Principal) (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	caller, most := streamCaller{decide.NameKey(p.Person.Name), p.How == authority.HowSession}, s.mostOfToken
	if caller.pages {
		most = s.mostOfPages
	}
	switch {
	case s.byCaller[caller] >= most:
		return nil, &tooManyStreamsError{fmt.Sprintf("%s has %d open; close one, or read instead of streaming", p.Person.Name, most)}
	case s.all >= s.most:
		return nil, &tooManyStreamsError{"this replica serves no more now; read instead of streaming, or try again later"}
	}
	s.all++
	s.byCaller[caller]++
	return func() { s.close(caller) }, nil
}

// any reports whether a stream is open.
func (s *openStreams) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all > 0
}

func (s *openStreams) close(caller streamCaller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.byCaller[caller]--; s.byCaller[caller] == 0 {
		delete(s.byCaller, caller)
	}
}

// tooManyStreamsError explains why a stream is refused.
type tooManyStreamsError struct{ why string }

func (e *tooManyStreamsError) Error() string { return e.why }

// Connection is the connection of a request. Others may take its place while it has no
// stream.
type Connection interface {
	// Hold keeps the connection's place for a stream until release is called.
	Hold() (release func())
}

type connectionKey struct{}

// WithConnection returns the context of a connection's requests.
func WithConnection(ctx context.Context, c Connection) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}

// ConnectionOf returns the connection of a request by its context; nil in a test without
// a listener.
func ConnectionOf(ctx context.Context) Connection {
	c, _ := ctx.Value(connectionKey{}).(Connection)
	return c
}

// stream answers with server-sent events for as long as its caller has the rights that
// they had at its beginning.
type stream struct {
	ctx context.Context
	h   *handlers

	// may fails once the caller lacks the rights that the stream needs.
	may func(context.Context) error

	w       http.ResponseWriter
	at      time.Time // of the last write
	checked time.Time // when the caller was last looked up
}

// serve serves the stream until follow returns. It answers errors before the first byte
// as problems; later ones only end the stream.
func (s *stream) serve(w http.ResponseWriter, places *openStreams, follow func() error) error {
	done, err := places.open(principalOf(s.ctx))
	if err != nil {
		return err
	}
	defer done()
	if c := ConnectionOf(s.ctx); c != nil {
		defer c.Hold()()
	}
	s.w, s.checked = w, time.Now()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would buffer the events
	w.WriteHeader(http.StatusOK)
	if headOnly(s.ctx) {
		return nil
	}
	err = s.write(fmt.Sprintf("retry: %d\n\n", reconnectAfter.Milliseconds()))
	if err == nil {
		err = follow()
	}
	if err != nil {
		s.h.log.DebugContext(s.ctx, "stream ended", "requestId", requestIDOf(w), "path", callOf(s.ctx).request.URL.Path, "error", err)
	}
	return nil
}

// errRightsChanged ends a stream whose caller has other rights than at its beginning.
var errRightsChanged = errors.New("the caller's rights have changed")

// check looks the caller up again, from time to time.
func (s *stream) check() error {
	if time.Since(s.checked) < credentialsChecked {
		return nil
	}
	s.checked = time.Now()
	now, err := principalNow(s.ctx)
	if err != nil {
		return err
	}
	if was := principalOf(s.ctx); !reflect.DeepEqual([]any{now.Person, now.Grants}, []any{was.Person, was.Grants}) {
		return errRightsChanged
	}
	return s.may(s.ctx)
}

// beat writes a sign of life after a silence.
func (s *stream) beat() error {
	if time.Since(s.at) < heartbeat {
		return nil
	}
	return s.write(": nothing new\n\n")
}

func (s *stream) event(name, id string, data []byte) error {
	return s.write(fmt.Sprintf("event: %s\nid: %s\ndata: %s\n\n", name, id, data))
}

func (s *stream) write(text string) error {
	s.at = time.Now()
	c := http.NewResponseController(s.w)
	// The server's own deadline is for answers, not for streams.
	if err := c.SetWriteDeadline(s.at.Add(streamPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return c.Flush()
}

// mayView returns the check of a stream about one stack.
func (h *handlers) mayView(c *call) func(context.Context) error {
	return func(ctx context.Context) error {
		return h.allow(ctx, authority.RoleViewer, c.account.Name, c.stack)
	}
}
