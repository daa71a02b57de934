package simulator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// Outcome is the result of a delivery.
type Outcome string

// The outcomes.
const (
	Pending   Outcome = "pending"
	Delivered Outcome = "delivered" // a 2xx
	Failed    Outcome = "failed"    // anything else, even after re-sends
	Dropped   Outcome = "dropped"   // by a fault, or because the webhook was off when its turn came
)

// maxResends is the number of re-sends to a webhook with retryOnFailure after a
// 5xx (https://docs.spacelift.io/integrations/webhooks).
// Assumption: connection errors and time-outs are not sent again.
const maxResends = 3

// Delivery is an entry of the delivery log.
type Delivery struct {
	ID       string             `json:"id"`      // a ULID and the last status, as Spacelift shows it
	Webhook  string             `json:"webhook"` // a named webhook's id, or "<stack>/<webhook>"
	Event    string             `json:"event"`   // run_updated, internal_error or module_version
	Run      spacelift.RunRef   `json:"run,omitzero"`
	State    spacelift.RunState `json:"state,omitempty"`
	Version  int                `json:"stateVersion"`
	Outcome  Outcome            `json:"outcome"`
	Faults   []string           `json:"faults,omitempty"`
	QueuedAt time.Time          `json:"queuedAt"`
	Method   string             `json:"method"`
	URL      string             `json:"url"`
	Header   http.Header        `json:"header"`
	Body     string             `json:"body"`
	Attempts []Attempt          `json:"attempts"`
}

// Attempt is one request of a delivery.
type Attempt struct {
	At       time.Time `json:"at"`
	Status   int       `json:"status,omitempty"` // 0 when there was no answer
	Error    string    `json:"error,omitempty"`
	Response string    `json:"response,omitempty"` // its first bytes
}

type delivery struct {
	Delivery
	id        string
	target    target
	notBefore time.Time
}

// lane is a queue whose deliveries are sent one after another: those of one run
// to one webhook.
type lane struct {
	queue []*delivery
	held  []*delivery // by a Reorder fault, until the next one is sent
	busy  bool        // the first of the queue is being sent
	timer *timer      // until the first of the queue may be sent
}

type laneKey struct {
	Webhook string          `json:"webhook"`
	Run     spacelift.RunID `json:"run,omitempty"`
	Own     string          `json:"own,omitempty"` // set to give a delivery a lane of its own
}

// maxLog bounds the delivery log and the request log; the oldest entries go.
const maxLog = 10_000

func deliveryClient(base *http.Client) *http.Client {
	if base == nil {
		base = &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		}}
	}
	client := *base
	// Assumption: a redirect is an answer that is not 2xx.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Timeout = 0
	return &client
}

// send queues a notification with its default body, or with the payload that a
// policy has made.
func (s *Simulator) send(ev event, t target, body *runBody, payload []byte) {
	faults := s.strike(ev, t.health.key)
	has := func(k DeliveryFaultKind) bool {
		return slices.ContainsFunc(faults, func(f DeliveryFault) bool { return f.Kind == k })
	}
	if body != nil {
		b := *body
		for _, f := range faults {
			b.distort(f.Kind)
		}
		payload = encode(b)
		if has(ExtraFields) {
			payload = addUnknown(payload)
		}
	}
	if has(InternalNoise) {
		s.enqueue(s.newDelivery(event{kind: "internal_error", run: ev.run}, t, encode(internalErrorBody{
			Title: "Simulated noise", Body: "an internal error right before a run event", Error: "simulated",
			Severity: "WARNING", Account: s.opts.Account,
		}), nil), laneKey{Webhook: t.health.key, Run: ev.run.Run})
	}
	d := s.newDelivery(ev, t, payload, faults)
	key := laneKey{Webhook: t.health.key, Run: ev.run.Run}
	if ev.run.Run == "" {
		key.Own = d.id
	}
	for _, f := range faults {
		switch f.Kind {
		case Drop:
			d.Outcome = Dropped
			return
		case Delay:
			d.notBefore = s.clock.Now().Add(time.Duration(f.Delay))
			key.Own = d.id
		}
	}
	if has(Reorder) && !ev.terminal {
		l := s.lane(key)
		l.held = append(l.held, d)
		return
	}
	s.enqueue(d, key)
	if has(Duplicate) {
		s.enqueue(s.newDelivery(ev, t, payload, faults), key)
	}
	if l := s.lanes[key]; l != nil && len(l.held) > 0 {
		late := l.held
		l.held = nil
		for _, d := range late {
			s.enqueue(d, key)
		}
	}
}

func (s *Simulator) newDelivery(ev event, t target, body []byte, faults []DeliveryFault) *delivery {
	d := &delivery{id: s.newID(), target: t}
	d.Delivery = Delivery{
		ID: d.id, Webhook: t.health.key, Event: ev.kind, Run: ev.run, State: ev.state, Version: ev.version,
		Outcome: Pending, QueuedAt: s.clock.Now(), Method: cmp.Or(t.method, http.MethodPost), URL: t.url(t.endpoint),
		Header: http.Header{}, Body: string(body), Attempts: []Attempt{},
	}
	secret, fedRAMP := t.secret, false
	for _, f := range faults {
		d.Faults = append(d.Faults, string(f.Kind))
		switch f.Kind {
		case WrongSecret:
			secret += "-not"
		case NoSHA1:
			fedRAMP = true
		}
	}
	s.headers(d.Header, t.headers, secret, body, fedRAMP)
	s.deliveries = appendBounded(s.deliveries, d)
	return d
}

// headers sets the headers of a real delivery. There is no delivery id among them.
// The signatures are set last, so no custom header replaces them.
func (s *Simulator) headers(h http.Header, custom map[string]string, secret string, body []byte, fedRAMP bool) {
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "Go-http-client/2.0")
	trace, parent := s.random.Uint64(), s.random.Uint64()
	h.Set("Traceparent", fmt.Sprintf("00-%016x%016x-%016x-01", 0, trace, parent))
	h.Set("Tracestate", fmt.Sprintf("dd=s:1;p:%016x", parent))
	h.Set("X-Datadog-Trace-Id", strconv.FormatUint(trace, 10))
	h.Set("X-Datadog-Parent-Id", strconv.FormatUint(binary.BigEndian.Uint64(s.randomBytes(8)), 10))
	h.Set("X-Datadog-Sampling-Priority", "1")
	for name, value := range custom {
		h.Set(name, value)
	}
	sha1Header, sha256Header := signatures(secret, body)
	h.Set("X-Signature", sha1Header)
	h.Set("X-Signature-256", sha256Header)
	if fedRAMP {
		h.Del("X-Signature")
	}
}

func (s *Simulator) lane(key laneKey) *lane {
	l := s.lanes[key]
	if l == nil {
		l = &lane{}
		s.lanes[key] = l
	}
	return l
}

func (s *Simulator) enqueue(d *delivery, key laneKey) {
	l := s.lane(key)
	l.queue = append(l.queue, d)
	s.pump(key)
}

// sortedLanes returns the lanes in an arbitrary order that is always the same.
func (s *Simulator) sortedLanes() []laneKey {
	return slices.SortedFunc(maps.Keys(s.lanes), func(a, b laneKey) int {
		return cmp.Or(cmp.Compare(a.Webhook, b.Webhook), cmp.Compare(a.Run, b.Run), cmp.Compare(a.Own, b.Own))
	})
}

// pump sends the first delivery of the lane if it may be sent now.
func (s *Simulator) pump(key laneKey) {
	l := s.lanes[key]
	if l == nil || l.busy || s.closed || s.restoring {
		return
	}
	s.unset(l.timer)
	l.timer = nil
	for len(l.queue) > 0 && *l.queue[0].target.health.disabled() {
		l.queue[0].Outcome = Dropped
		l.queue = l.queue[1:]
	}
	if len(l.queue) == 0 {
		if len(l.held) == 0 {
			delete(s.lanes, key)
		}
		return
	}
	d := l.queue[0]
	if wait := d.notBefore.Sub(s.clock.Now()); wait > 0 {
		l.timer = s.later(wait, timer{What: laneGoesOn, Lane: key})
		return
	}
	l.busy = true
	s.sending++
	s.senders.Go(func() {
		attempt := s.transmit(d)
		s.mu.Lock()
		defer s.mu.Unlock()
		l.busy = false
		s.sending--
		if s.attempted(d, attempt) {
			l.queue = l.queue[1:]
		}
		s.pump(key)
		s.touch()
	})
}

// attempt makes one request. It is called without the lock, and reads only fields
// that no longer change.
func (s *Simulator) attempt(d *delivery) Attempt {
	a := Attempt{At: s.clock.Now()}
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.DeliveryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, d.Method, d.URL, bytes.NewReader([]byte(d.Body)))
	if err != nil {
		a.Error = err.Error()
		return a
	}
	req.Header = d.Header.Clone()
	resp, err := s.client.Do(req)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	defer resp.Body.Close() //nolint:errcheck // the answer has been read
	start, err := io.ReadAll(io.LimitReader(resp.Body, 2048))
	if err != nil {
		a.Error = err.Error()
	}
	a.Status, a.Response = resp.StatusCode, string(start)
	return a
}

// attempted records an attempt and reports whether the delivery is over. An
// attempt that Close has cut short doesn't count: Restore repeats it.
func (s *Simulator) attempted(d *delivery, a Attempt) bool {
	if s.closed && a.Status == 0 {
		return false
	}
	d.Attempts = append(d.Attempts, a)
	d.ID = d.id + "/" + strconv.Itoa(a.Status)
	h := d.target.health
	if a.Status >= 200 && a.Status < 300 {
		d.Outcome = Delivered
		h.failures = 0
		return true
	}
	if a.Status >= 500 && d.target.retry && len(d.Attempts) <= maxResends {
		d.notBefore = s.clock.Now().Add(s.opts.RetrySpacing)
		return false
	}
	d.Outcome = Failed
	s.log.Warn("delivery failed", "webhook", d.Webhook, "run", d.Run.Run, "state", d.State, "status", a.Status, "reason", a.Error)
	// Assumption: a delivery counts once, whatever its re-sends, and every
	// answer but a 2xx is a failure.
	h.failures++
	if off := h.disabled(); h.failures >= failuresToDisable && !*off {
		*off = true
		s.log.Warn("webhook disabled", "webhook", d.Webhook, "failures", h.failures)
		s.notice("Webhook disabled", fmt.Sprintf("webhook %s was disabled after %d failures in a row", d.Webhook, h.failures), "WARNING")
	}
	return true
}

// Deliveries returns the delivery log, oldest first.
func (s *Simulator) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Delivery, 0, len(s.deliveries))
	for _, d := range s.deliveries {
		shown := d.Delivery
		shown.Attempts, shown.Faults, shown.Header = slices.Clone(d.Attempts), slices.Clone(d.Faults), d.Header.Clone()
		all = append(all, shown)
	}
	return all
}

func appendBounded[T any](log []T, entry T) []T {
	if len(log) >= 2*maxLog {
		log = slices.Clone(log[len(log)-maxLog:])
	}
	return append(log, entry)
}
