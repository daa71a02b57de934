package e2e

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gantryhq/gantry/spacelift"
)

const (
	thousand     = 1000
	thousandLast = 2 * time.Second // of each attack, at least
	thousandMost = 120             // megabytes
)

// sends uses a connection until it ends. The source is what a trusted proxy would name,
// so that no limit of one source keeps memory small.
type sends func(conn net.Conn, source string)

// Whatever a thousand connections send to the webhook, the program's memory is
// bounded, small signed events on connections of their own are accepted, and people's
// streams stay.
func TestMemoryOfAThousandConnections(t *testing.T) {
	signature := "X-Signature-256: " + spacelift.Sign([]byte("guess"), nil) + "\r\n"
	body := func(size int) sends {
		return request(signature+fmt.Sprintf("Content-Length: %d\r\n\r\n", size), strings.Repeat("x", size-1))
	}
	long := "X-Long: " + strings.Repeat("x", 15<<10)
	attacks := map[string]sends{
		"megabytes": body(1 << 20), "small bodies": body(15 << 10), "chunks": request(signature+"Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("3e8\r\n"+strings.Repeat("x", 1000)+"\r\n", 1000)),
		"long header": request(long, ""), "long header and body": request(signature+long+"\r\nContent-Length: 15360\r\n\r\n", strings.Repeat("x", 15<<10-1)), "short fields": request(shortFields(15<<10), ""),
	}
	t.Run("plain", func(t *testing.T) {
		newWorld(t).thousand("http", attacks)
	})
	t.Run("TLS", func(t *testing.T) {
		header := hpack.HeaderField{Name: "x-long", Value: strings.Repeat("x", 10<<10), Sensitive: true}
		newWorld(t).thousand("https", map[string]sends{
			"short fields": attacks["short fields"], "streams of small bodies": streams(15<<10, body(15<<10)),
			"streams of megabytes": streams(1<<20, body(1<<20)), "streams with long headers": streams(15<<10, body(15<<10), header),
			"brief streams": brief(streams(15<<10, body(15<<10))),
		})
	})
}

// request sends a head and a part of a body.
func request(head, body string) sends {
	return func(conn net.Conn, source string) {
		_, _ = io.WriteString(conn, "POST /webhook HTTP/1.1\r\nHost: gantry\r\nX-Forwarded-For: "+source+"\r\n"+head+body)
		_, _ = io.Copy(io.Discard, conn)
	}
}

// shortFields returns a header of many fields.
func shortFields(size int) string {
	var b strings.Builder
	for i := 36 * 36; b.Len() < size; i++ {
		b.WriteString(strconv.FormatInt(int64(i), 36) + ":\r\n")
	}
	return b.String()
}

// thousand checks one program under all attacks in turn.
func (w *world) thousand(scheme string, attacks map[string]sends) {
	more := withToken + "trustedProxies: [127.0.0.0/8]\n"
	if scheme == "https" {
		file := w.certificate()
		more += fmt.Sprintf("tls: {certFile: %s, keyFile: %s}\n", file, file)
	}
	p := w.launch(more)
	w.eventually("Gantry is ready", func(ctx context.Context) error {
		p.Lives()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.ops()+"/readyz", nil)
		w.must(err)
		res, err := http.DefaultClient.Do(req)
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("readyz says %s", res.Status)
		}
		return err
	})
	stream := w.openEvents(&http.Client{Transport: &http.Transport{TLSClientConfig: insecure()}}, scheme, "e2e", "")
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, stream)
		ended <- err
	}()
	for name, attack := range attacks {
		w.under(attack, scheme, func(ctx context.Context) { w.acceptsSigned(ctx, name, scheme) })
		now, peak := p.memory("VmRSS"), p.memory("VmHWM")
		w.t.Logf("%s %s: %d MB, at most %d so far", scheme, name, now, peak)
		if peak > thousandMost {
			w.t.Errorf("after %s the program has used %d MB, want at most %d", name, peak, thousandMost)
		}
	}
	select {
	case err := <-ended:
		w.t.Errorf("a person's stream has ended: %v", err)
	default:
	}
}

// under runs check while a thousand connections attack. A connection that ends is
// followed by another one.
func (w *world) under(attack sends, scheme string, check func(context.Context)) {
	ctx, stop := context.WithCancel(w.t.Context())
	var attackers sync.WaitGroup
	var connected atomic.Int64
	defer attackers.Wait()
	defer stop()
	for i := range thousand {
		attackers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				conn, err := w.dial(ctx, scheme)
				if err != nil {
					continue
				}
				if n == 0 {
					connected.Add(1)
				}
				end := context.AfterFunc(ctx, func() { _ = conn.Close() })
				attack(conn, fmt.Sprintf("10.0.%d.%d", i/250, i%250))
				end()
				_ = conn.Close()
			}
		})
	}
	w.eventually("all are connected", func(context.Context) error {
		if n := connected.Load(); n < thousand {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	check(ctx)
}

// dial connects to the webhook's listener.
func (w *world) dial(ctx context.Context, scheme string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	address := fmt.Sprintf("127.0.0.1:%d", w.port)
	if scheme == "http" {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	return (&tls.Dialer{Config: insecure("h2", "http/1.1")}).DialContext(ctx, "tcp", address)
}

func insecure(protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}
}

// acceptsSigned sends signed events, each on a new connection, and returns once they are
// accepted and the attack has lasted.
func (w *world) acceptsSigned(ctx context.Context, name, scheme string) {
	lasted := time.After(thousandLast)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: insecure()}}
	var events sync.WaitGroup
	for n := range 20 {
		req, err := w.signed(ctx, w.notification("network-prod", "01KDXTHOUSAND0000000000000", spacelift.RunStateQueued, n))
		w.must(err)
		req.URL.Scheme = scheme
		events.Go(func() {
			res, err := client.Do(req)
			if err != nil {
				w.t.Errorf("under %s, signed event %d got %v", name, n, err)
				return
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusAccepted {
				w.t.Errorf("under %s, signed event %d got %s", name, n, res.Status)
			}
		})
	}
	events.Wait()
	<-lasted
}

// memory returns a field of the process's status, in megabytes.
func (p *process) memory(field string) int {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	m := regexp.MustCompile(field + `:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		p.t.Fatalf("no %s in %s", field, status)
	}
	kilobytes, err := strconv.Atoi(string(m[1]))
	if err != nil {
		p.t.Fatal(err)
	}
	return kilobytes >> 10
}

// certificate returns a file with a new certificate and its key.
func (w *world) certificate() (file string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	w.must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	w.must(err)
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	file = filepath.Join(w.dir, "tls.pem")
	w.must(os.WriteFile(file, both, 0o600))
	return file
}

// streams sends bodies that lack their last byte on as many streams as the server
// takes; otherwise is sent where it doesn't speak HTTP/2.
func streams(size int, otherwise sends, more ...hpack.HeaderField) sends {
	return func(conn net.Conn, source string) {
		if c, ok := conn.(*tls.Conn); !ok || c.ConnectionState().NegotiatedProtocol != "h2" {
			otherwise(conn, source)
			return
		}
		c := &streamer{Framer: http2.NewFramer(conn, conn), size: size, open: map[uint32]*stream{}, next: 1, window: 65535}
		c.header = append([]hpack.HeaderField{
			{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: "/webhook"}, {Name: ":authority", Value: "gantry"},
			{Name: "x-forwarded-for", Value: source}, {Name: "x-signature-256", Value: spacelift.Sign([]byte("guess"), nil)}, {Name: "content-length", Value: strconv.Itoa(size)},
		}, more...)
		c.encoder = hpack.NewEncoder(&c.block)
		if _, err := io.WriteString(conn, http2.ClientPreface); err != nil || c.WriteSettings() != nil {
			return
		}
		for c.step() == nil {
		}
	}
}

// brief ends an attack's connection soon, with what is open on it.
func brief(attack sends) sends {
	return func(conn net.Conn, source string) {
		end := time.AfterFunc(20*time.Millisecond, func() { _ = conn.Close() })
		defer end.Stop()
		attack(conn, source)
	}
}

// streamer attacks over one connection with HTTP/2.
type streamer struct {
	*http2.Framer
	header  []hpack.HeaderField
	encoder *hpack.Encoder
	block   bytes.Buffer
	size    int // of each body
	open    map[uint32]*stream
	next    uint32
	most    int   // streams
	initial int64 // window of a stream
	window  int64
}

type stream struct{ window, left int64 }

// step reads a frame and sends what it allows.
func (c *streamer) step() error {
	frame, err := c.ReadFrame()
	if err != nil {
		return err
	}
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if err = c.settle(f); err != nil {
			return err
		}
	case *http2.WindowUpdateFrame:
		if s := c.open[f.StreamID]; s != nil {
			s.window += int64(f.Increment)
		} else if f.StreamID == 0 {
			c.window += int64(f.Increment)
		}
	case *http2.RSTStreamFrame:
		delete(c.open, f.StreamID)
	case *http2.DataFrame:
		if f.StreamEnded() { // it was answered before it was read
			delete(c.open, f.StreamID)
			err = c.WriteRSTStream(f.StreamID, http2.ErrCodeCancel)
		}
	}
	return cmp.Or(err, c.begin(), c.send())
}

func (c *streamer) settle(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.most, c.initial = 100, 65535
	if most, ok := f.Value(http2.SettingMaxConcurrentStreams); ok {
		c.most = int(most)
	}
	if initial, ok := f.Value(http2.SettingInitialWindowSize); ok {
		c.initial = int64(initial)
	}
	return c.WriteSettingsAck()
}

// begin opens streams.
func (c *streamer) begin() error {
	for len(c.open) < c.most {
		c.block.Reset()
		for _, f := range c.header {
			if err := c.encoder.WriteField(f); err != nil {
				return err
			}
		}
		if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: c.next, BlockFragment: c.block.Bytes(), EndHeaders: true}); err != nil {
			return err
		}
		c.open[c.next] = &stream{c.initial, int64(c.size) - 1}
		c.next += 2
	}
	return nil
}

// send sends as much of the bodies as the server has windows for.
func (c *streamer) send() error {
	frame := make([]byte, 16<<10)
	for id, s := range c.open {
		for n := s.ready(c.window); n > 0; n = s.ready(c.window) {
			if err := c.WriteData(id, false, frame[:n]); err != nil {
				return err
			}
			s.left, s.window, c.window = s.left-n, s.window-n, c.window-n
		}
	}
	return nil
}

func (s *stream) ready(window int64) int64 { return min(s.left, s.window, window, 16<<10) }
