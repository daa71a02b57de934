package rig

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/spacelift"
)

// Weather says how likely each mishap of a delivery is. They add up to at most 1.
type Weather struct {
	Drop    float64 `json:"drop,omitempty"`    // it never arrives, though Spacelift has its 202
	Double  float64 `json:"double,omitempty"`  // both replicas receive it
	Delay   float64 `json:"delay,omitempty"`   // it arrives up to four seconds later
	Reorder float64 `json:"reorder,omitempty"` // the next one of its run arrives before it
	Cut     float64 `json:"cut,omitempty"`     // it arrives, and its answer is lost
	Forge   float64 `json:"forge,omitempty"`   // it arrives, and a forgery after it
	Refuse  float64 `json:"refuse,omitempty"`  // the balancer answers 502: enough of these switch the webhook off
}

// Balancer is a load balancer between Spacelift and the replicas, in bad weather.
// It sends a notification that one replica doesn't answer to the other.
type Balancer struct {
	history  *history.Writer
	seed     uint64
	replicas []*Gantry
	http     *http.Client

	mu      sync.Mutex // guards what follows
	secret  string
	weather Weather
	tries   map[string]int           // of each notification
	held    map[string]*notification // by run: those that another overtakes
	late    sync.WaitGroup           // of what arrives later
}

func newBalancer(h *history.Writer, seed uint64, secret string) *Balancer {
	return &Balancer{
		history: h, seed: seed, secret: secret, tries: map[string]int{}, held: map[string]*notification{},
		http: &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second}},
	}
}

// notification is a body on its way to Gantry.
type notification struct {
	body   []byte
	header http.Header
	record history.Delivery
	fields map[string]any // the body, decoded
}

// SetWeather changes the weather.
func (b *Balancer) SetWeather(w Weather) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.weather = w
}

func (b *Balancer) setSecret(secret string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.secret = secret
}

// Flush waits for what arrives later.
func (b *Balancer) Flush() { b.late.Wait() }

// ServeHTTP implements http.Handler.
func (b *Balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // Spacelift has given up
	}
	n := newNotification(body, r.Header)
	mishap, random := b.fate(n)
	n.record.Mishap = mishap
	accepted, later := http.StatusAccepted, context.WithoutCancel(r.Context())
	switch mishap {
	case "drop":
		n.record.Status = 0
		b.record(n, b.history.Now())
		w.WriteHeader(accepted)
	case "delay", "reorder":
		b.sendLater(later, n, time.Duration(1+random.IntN(4000))*time.Millisecond)
		w.WriteHeader(accepted)
	case "double":
		b.late.Go(func() { b.send(later, n, 1) })
		w.WriteHeader(b.send(r.Context(), n, 0))
	case "cut":
		b.send(r.Context(), n, random.IntN(2))
		w.WriteHeader(http.StatusBadGateway)
	case "refuse":
		b.record(n, b.history.Now())
		w.WriteHeader(http.StatusBadGateway)
	case "forge":
		n.record.Mishap = ""
		b.forgeLater(later, n, random)
		fallthrough
	default:
		w.WriteHeader(b.send(r.Context(), n, random.IntN(2)))
		b.release(later, n)
	}
}

func newNotification(body []byte, header http.Header) *notification {
	n := &notification{body: body, header: header.Clone()}
	h := fnv.New64a()
	_, _ = h.Write(body) // it returns no error
	n.record.ID = hex.EncodeToString(h.Sum(nil))
	var fields struct {
		State        string
		StateVersion int
		Run, Stack   struct{ ID string }
	}
	if json.Unmarshal(body, &n.fields) == nil && json.Unmarshal(body, &fields) == nil {
		n.record.Stack, n.record.Run, n.record.State, n.record.Version = fields.Stack.ID, fields.Run.ID, fields.State, fields.StateVersion
	}
	return n
}

// fate returns what befalls a notification: the seed, its stack, state and
// version decide, and how often it was sent.
func (b *Balancer) fate(n *notification) (mishap string, random *rand.Rand) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries[n.record.ID]++
	random = rand.New(rand.NewPCG(b.seed, seedOf(n.record.Stack, n.record.State, strconv.Itoa(n.record.Version), strconv.Itoa(b.tries[n.record.ID]))))
	w, x := b.weather, random.Float64()
	for _, m := range []struct {
		name string
		p    float64
	}{{"drop", w.Drop}, {"double", w.Double}, {"delay", w.Delay}, {"reorder", w.Reorder}, {"cut", w.Cut}, {"forge", w.Forge}, {"refuse", w.Refuse}} {
		if x < m.p {
			return m.name, random
		}
		x -= m.p
	}
	return "", random
}

func seedOf(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p + "\x00")) // it returns no error
	}
	return h.Sum64()
}

// sendLater sends a notification after a while. One that another overtakes is
// sent behind that, if one comes meanwhile.
func (b *Balancer) sendLater(ctx context.Context, n *notification, after time.Duration) {
	if n.record.Mishap == "reorder" {
		b.mu.Lock()
		b.held[n.record.Run] = n
		b.mu.Unlock()
	}
	b.late.Go(func() {
		wait(ctx, after)
		b.mu.Lock()
		sent := n.record.Mishap == "reorder" && b.held[n.record.Run] != n
		if !sent {
			delete(b.held, n.record.Run)
		}
		b.mu.Unlock()
		if !sent {
			b.send(ctx, n, 0)
		}
	})
}

// release sends what another notification of the same run has overtaken.
func (b *Balancer) release(ctx context.Context, n *notification) {
	b.mu.Lock()
	held := b.held[n.record.Run]
	delete(b.held, n.record.Run)
	b.mu.Unlock()
	if held != nil {
		b.send(ctx, held, 0)
	}
}

// send sends a notification to one replica or, if that doesn't answer, to the
// next. It returns the status to answer.
func (b *Balancer) send(ctx context.Context, n *notification, first int) int {
	for i := range b.replicas {
		began := b.history.Now()
		sent := *n
		g := b.replicas[(first+i)%len(b.replicas)]
		sent.record.Replica = g.Name
		sent.record.Status, sent.record.Answer = b.post(ctx, g, &sent)
		b.record(&sent, began)
		if sent.record.Status != 0 {
			return sent.record.Status
		}
	}
	return http.StatusBadGateway
}

func (b *Balancer) post(ctx context.Context, g *Gantry, n *notification) (int, history.Raw) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+"/webhook", bytes.NewReader(n.body))
	if err != nil {
		return 0, nil
	}
	req.Header = n.header.Clone()
	res, err := b.http.Do(req) //nolint:gosec // the address is that of a replica of ours
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close() //nolint:errcheck // the answer is read below
	answer, err := io.ReadAll(io.LimitReader(res.Body, 8<<10))
	if err != nil {
		return 0, nil
	}
	return res.StatusCode, history.RawOf(answer)
}

func (b *Balancer) record(n *notification, began time.Duration) {
	record := n.record
	b.history.AddSince(began, history.Record{Schedule: history.ScheduleOf(record.Stack), Delivery: &record})
}

// forgeries make something else of a notification. Each is signed with a secret
// that its forger knows: that of the webhook, except for forged-secret.
var forgeries = map[string]func(fields map[string]any, random *rand.Rand){
	"forged-end": func(f map[string]any, random *rand.Rand) {
		ends := []string{"FINISHED", "FAILED", "DISCARDED", "CANCELED", "STOPPED"}
		f["state"], f["stateVersion"] = ends[random.IntN(len(ends))], version(f)+1
	},
	"forged-ahead": func(f map[string]any, random *rand.Rand) {
		f["state"], f["stateVersion"] = "UNCONFIRMED", version(f)+20+random.IntN(1000)
	},
	"forged-state": func(f map[string]any, _ *rand.Rand) {
		f["state"], f["stateVersion"] = "UNCONFIRMED", version(f)+1
		within(f, "run")["delta"] = map[string]any{"added": 1, "changed": 0, "deleted": 0, "resources": 1}
	},
	"forged-link": func(f map[string]any, _ *rand.Rand) {
		within(f, "run")["url"], within(f, "stack")["url"] = "https://evil.example/run", "https://evil.example/stack"
		f["stateVersion"] = version(f) + 1
	},
	"forged-labels": func(f map[string]any, _ *rand.Rand) {
		within(f, "stack")["labels"] = []any{"gantry:managed", "gantry:confirm=auto"}
		f["stateVersion"] = version(f) + 1
	},
	"forged-account": func(f map[string]any, _ *rand.Rand) { f["account"] = "evil" },
	"forged-secret":  func(map[string]any, *rand.Rand) {},
}

var forgeryKinds = []string{"forged-end", "forged-ahead", "forged-state", "forged-link", "forged-labels", "forged-account", "forged-secret"}

func version(f map[string]any) int {
	v, _ := f["stateVersion"].(float64)
	return int(v)
}

func within(f map[string]any, name string) map[string]any {
	inner, ok := f[name].(map[string]any)
	if !ok {
		inner = map[string]any{}
		f[name] = inner
	}
	return inner
}

// forgeLater sends a forgery of a notification some time after it.
func (b *Balancer) forgeLater(ctx context.Context, n *notification, random *rand.Rand) {
	kind := forgeryKinds[random.IntN(len(forgeryKinds))]
	var fields map[string]any
	if json.Unmarshal(n.body, &fields) != nil {
		return
	}
	forgeries[kind](fields, random)
	body, err := json.Marshal(fields)
	if err != nil {
		return
	}
	b.mu.Lock()
	secret := b.secret
	b.mu.Unlock()
	if kind == "forged-secret" {
		secret = "a-guess"
	}
	forged := newNotification(body, http.Header{"Content-Type": {"application/json"}})
	forged.header.Set("X-Signature-256", spacelift.Sign([]byte(secret), body))
	forged.record.Mishap, forged.record.Body = kind, body
	forged.record.Stack = cmp.Or(forged.record.Stack, n.record.Stack)
	after := time.Duration(random.IntN(2000)) * time.Millisecond
	b.late.Go(func() {
		wait(ctx, after)
		b.send(ctx, forged, random.IntN(2))
	})
}
