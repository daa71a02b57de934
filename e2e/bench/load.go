package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

const webhookSecret = "bench-webhook-secret" //nolint:gosec // serves loopback only

// events numbers all notifications of this process, so that each is a new event.
var events atomic.Int64

// loadRuns limits the runs that notifications are about; 0 is no limit. While Temporal
// is up they must be fewer than runsAtFullSpeed, beyond which Gantry begins the next ones
// of an account at a pace and forwards less than it could.
var loadRuns atomic.Int64

const runsAtFullSpeed = 1500

// loadStates are the states that a run passes, again and again if the runs are limited.
// None ends it: then it would take no further events.
var loadStates = [...]string{"QUEUED", "READY", "PREPARING", "INITIALIZING", "PLANNING", "UNCONFIRMED", "CONFIRMED", "PREPARING_APPLY", "APPLYING"}

// statesOfRun is the number of consecutive events of one run.
const statesOfRun = int64(len(loadStates))

// notification returns the n-th notification: compact, about a kilobyte, as
// Spacelift sends them.
func notification(n int64) string {
	number, version := n/statesOfRun, n%statesOfRun
	if limit := loadRuns.Load(); limit > 0 {
		number, version = number%limit, number/limit*statesOfRun+version
	}
	run := fmt.Sprintf("01KDX3V4T8%016d", number)
	stack := "stack-" + strconv.FormatInt(number%500, 10)
	return `{"account":"acme","state":"` + loadStates[n%statesOfRun] + `","stateVersion":` + strconv.FormatInt(version, 10) +
		`,"timestamp":1767261661,"timestamp_millis":1767261661417,"run":{"id":"` + run +
		`","branch":"main","commit":{"authorLogin":"jdoe","authorName":"Jane Doe","hash":"9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12","message":"Widen private subnets","timestamp":1767261000,"url":"https://github.com/acme/infra-live/commit/9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12"},"createdAt":1767261600,"delta":{"added":3,"changed":1,"deleted":0,"resources":42},"driftDetection":false,"type":"TRACKED","url":"https://acme.app.spacelift.io/stack/` + stack + `/run/` + run +
		`"},"stack":{"id":"` + stack + `","name":"` + stack + `","description":"Shared network for production","labels":["env:prod","folder:network","gantry:managed"],"repository":"acme/infra-live","url":"https://acme.app.spacelift.io/stack/` + stack +
		`","vcs":"GITHUB"},"workerPool":{"public":false,"labels":["pool:prod"],"id":"01KDWP00V00000000000000001","name":"prod-workers"},"event_source":"spacelift","event_type":"run_state_changed_event"}`
}

// result is one measurement under load.
type result struct {
	perSecond float64
	p50, p99  time.Duration
	count     int64
	cpu       time.Duration // of the server, for each
}

// drive sends notifications over this number of connections for a while. The
// client is minimal, to leave the machine to the server.
func drive(ctx context.Context, address string, connections int, span time.Duration) (result, error) {
	var mu sync.Mutex
	var all []time.Duration
	var first error
	var senders sync.WaitGroup
	began := time.Now()
	for range connections {
		senders.Go(func() {
			took, err := drive1(ctx, address, began.Add(span))
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if first == nil {
				first = err
			}
		})
	}
	senders.Wait()
	elapsed := time.Since(began)
	if first != nil {
		return result{}, first
	}
	slices.Sort(all)
	return result{perSecond: float64(len(all)) / elapsed.Seconds(), p50: all[len(all)/2], p99: all[len(all)*99/100], count: int64(len(all))}, nil
}

func drive1(ctx context.Context, address string, until time.Time) ([]time.Duration, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // everything was read
	in := bufio.NewReader(conn)
	var took []time.Duration
	for ctx.Err() == nil && time.Now().Before(until) {
		body := notification(events.Add(1))
		request := "POST /webhook HTTP/1.1\r\nHost: gantry\r\nContent-Type: application/json\r\n" + spacelift.SignatureHeader + ": " +
			spacelift.Sign([]byte(webhookSecret), []byte(body)) + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
		began := time.Now()
		if _, err := io.WriteString(conn, request); err != nil {
			return nil, err
		}
		status, err := readAnswer(in)
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		if !strings.HasPrefix(status, "HTTP/1.1 202") {
			return nil, fmt.Errorf("a notification was answered %s", status)
		}
	}
	return took, ctx.Err()
}

// readAnswer reads one response and returns its status line.
func readAnswer(in *bufio.Reader) (string, error) {
	text := textproto.NewReader(in)
	status, err := text.ReadLine()
	if err != nil {
		return "", err
	}
	header, err := text.ReadMIMEHeader()
	if err != nil {
		return "", err
	}
	length, err := strconv.Atoi(header.Get("Content-Length"))
	if err != nil {
		return "", fmt.Errorf("an answer without a length: %w", err)
	}
	_, err = in.Discard(length)
	return status, err
}
