package channels_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/notify/channels"
)

var update = flag.Bool("update", false, "rewrite the golden bodies")

// slackPath is the secret part of the channels' URLs in these tests.
const slackPath = "/services/T0000/B0000/hushhushhush"

// Two secrets from the specification's reference library.
const (
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

var (
	happened = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	sent     = time.Date(2026, 11, 23, 9, 30, 5, 0, time.UTC)
)

// decision returns a message with every field set.
func decision() notify.Message {
	return notify.Message{
		ID:        "msg_0123456789abcdef",
		Thread:    "run/acme/network-prod/01J8ZK3V5Q2N7M4R6T8W0Y1XAB",
		Type:      notify.RunDecisionNeeded,
		At:        happened,
		Title:     "network-prod waits for 2 approvals",
		Text:      "The plan deletes 1 resource. It is discarded at 10:30 UTC if nobody decides.",
		Account:   "acme",
		Stack:     "network-prod",
		StackName: "Network (prod)",
		Run:       "01J8ZK3V5Q2N7M4R6T8W0Y1XAB",
		URL:       "https://acme.app.spacelift.io/stack/network-prod/run/01J8ZK3V5Q2N7M4R6T8W0Y1XAB",
		State:     "UNCONFIRMED",
		Facts: []notify.Fact{
			{Name: "Plan", Value: "+2 ~1 -1"},
			{Name: "Commit", Value: "allow <https://evil.example|peering> & more <!channel>"},
		},
		Links:   []notify.Link{{Text: "Approve or reject", URL: "https://gantry.example.com/runs/acme/network-prod/01J8?a=1&b=2"}},
		Urgency: notify.Action,
	}
}

// receiver records the requests that a channel sends.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
}

type request struct {
	Method string
	Header http.Header
	Body   []byte
}

func (r *receiver) received() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

// one returns the only request.
func (r *receiver) one(t *testing.T) request {
	t.Helper()
	got := r.received()
	if len(got) != 1 {
		t.Fatalf("the receiver got %d requests, want 1", len(got))
	}
	return got[0]
}

// newReceiver listens on this machine, with TLS and a certificate for example.com.
func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Errorf("read the request: %v", err)
		}
		r.mu.Lock()
		r.requests = append(r.requests, request{Method: req.Method, Header: req.Header.Clone(), Body: body})
		r.mu.Unlock()
		answer(w, req)
	}))
	r.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail on purpose
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// sender returns a sender with one channel, "it", that posts to the receiver.
func (r *receiver) sender(t *testing.T, kind channels.Kind, change ...func(*channels.Channel, *channels.Options)) *channels.Sender {
	t.Helper()
	channel := channels.Channel{Name: "it", Kind: kind, URL: text(r.URL + slackPath), AllowPrivate: true}
	if kind == channels.Webhook {
		channel.Secret = text(secret)
	}
	opts := channels.Options{
		RootCAs: r.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
		Now:     func() time.Time { return sent },
	}
	for _, f := range change {
		f(&channel, &opts)
	}
	s, err := channels.New([]channels.Channel{channel}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.CloseIdleConnections)
	return s
}

func text(s string) func() string { return func() string { return s } }

// golden compares an indented body with testdata/name.
func golden(t *testing.T, name string, body []byte) {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, body, "", "  "); err != nil {
		t.Fatalf("the body is not JSON: %v\n%s", err, body)
	}
	indented.WriteByte('\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, indented.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), indented.String()); diff != "" {
		t.Errorf("body differs from %s (-want +got):\n%s", path, diff)
	}
}

// resolver is a name server that gives every host the same address, which a test
// can change.
type resolver struct {
	mu      sync.Mutex
	address netip.Addr
	asked   int
}

func (r *resolver) leadTo(address netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.address = address
}

func (r *resolver) questions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func (r *resolver) resolver(t *testing.T) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer func() { _ = theirs.Close() }()
			for {
				// Over a stream, each message follows its length (RFC 1035, 4.2.2).
				var size [2]byte
				if _, err := io.ReadFull(theirs, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(theirs, query); err != nil {
					t.Errorf("read a DNS query: %v", err)
					return
				}
				answer := r.answer(query)
				if _, err := theirs.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
					return
				}
			}
		}()
		return ours, nil
	}}
}

// answer returns one record if the query is for the address's family, and none
// otherwise.
func (r *resolver) answer(query []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	question := query[12:]
	end := bytes.IndexByte(question, 0) + 1 // the name's end
	kind := binary.BigEndian.Uint16(question[end:])
	question = question[:end+4]
	out := append([]byte{}, query[:2]...) // its id
	out = append(out, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	out = append(out, question...)
	if raw := r.address.AsSlice(); kind == 1 && len(raw) == 4 || kind == 28 && len(raw) == 16 { // A and AAAA
		out[7] = 1                  // there is one record,
		out = append(out, 0xc0, 12) // for the question's name
		out = binary.BigEndian.AppendUint16(out, kind)
		out = append(out, 0, 1, 0, 0, 0, 0) // of the internet, for no time:
		out = append(append(out, 0, byte(len(raw))), raw...)
	}
	return out
}
