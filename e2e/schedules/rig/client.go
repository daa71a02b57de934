package rig

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path"
	"sync"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/openapi/conformance"
)

// Client sends requests to Gantry in people's names, and records them.
type Client struct {
	history  *history.Writer
	replicas []*Gantry
	bearer   func(name string) string // token of a person
	http     *http.Client
	streams  *http.Client // without a time limit
	answers  sync.Map     // the last one to each GET of a person: tagged
	sessions sync.Map     // by name: browser
}

func newClient(h *history.Writer, replicas []*Gantry, bearer func(name string) string) *Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 32, IdleConnTimeout: 5 * time.Second}
	return &Client{
		history: h, replicas: replicas, bearer: bearer, streams: &http.Client{Transport: transport},
		http: &http.Client{
			Timeout: 20 * time.Second, Transport: transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Ask is a request to Gantry.
type Ask struct {
	Who       string
	Session   string // of the browser that sends the request, in place of the token; empty for none
	Operation string // operationId, or history.SignOut
	Method    string
	Path      string // below /v1/accounts/<account>/, or absolute
	Stack     string // for the record
	Run       string // for the record
	Key       string // Idempotency-Key
	Body      any
	Replica   int  // from 0; any of them if it is negative
	Janitor   bool // who asks is the janitor
	Schedule  int  // for the record, where no stack shows it
}

// RunPath returns the path of a run's resource.
func RunPath(stack, run string, more ...string) string {
	return path.Join(append([]string{"stacks", stack, "runs", run}, more...)...)
}

// Do sends a request and returns its record. There is no error: a request without
// an answer has the status 0.
func (c *Client) Do(ctx context.Context, a Ask) history.Request {
	if a.Replica < 0 {
		a.Replica = rand.IntN(len(c.replicas))
	}
	g := c.balance(a.Replica)
	address := a.Path
	if address == "" || address[0] != '/' {
		address = "/v1/accounts/" + Account + "/" + a.Path
	}
	record := history.Request{
		Replica: g.Name, Who: a.Who, Session: a.Session, Operation: a.Operation, Method: a.Method, Path: address, Key: a.Key,
		Stack: a.Stack, Run: a.Run, Janitor: a.Janitor,
	}
	began := c.history.Now()
	if err := c.exchange(ctx, g, a, &record); err != nil {
		record.Error = err.Error()
	}
	c.history.AddSince(began, history.Record{Schedule: cmp.Or(a.Schedule, history.ScheduleOf(a.Stack)), Request: &record})
	return record
}

// balance returns a replica, or another one while it doesn't run, as a load balancer does.
func (c *Client) balance(replica int) *Gantry {
	if g := c.replicas[replica]; g.running() {
		return g
	}
	return c.replicas[(replica+1)%len(c.replicas)]
}

func (c *Client) exchange(ctx context.Context, g *Gantry, a Ask, record *history.Request) error {
	var body []byte
	if a.Body != nil {
		var err error
		if body, err = json.Marshal(a.Body); err != nil {
			return fmt.Errorf("encode the body: %w", err)
		}
		record.Body = body
	}
	req, err := http.NewRequestWithContext(ctx, a.Method, g.URL+record.Path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if err := c.authenticate(req, a); err != nil {
		return err
	}
	if a.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.Key != "" {
		req.Header.Set("Idempotency-Key", a.Key)
	}
	known := c.known(req, a.Who+a.Session)
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // the answer is read below
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err // half an answer is none
	}
	record.Status, record.ID, record.Answer = res.StatusCode, res.Header.Get("X-Request-Id"), history.RawOf(answer)
	if a.Operation == history.SignOut {
		return nil // which is no operation of the contract
	}
	if err := conformance.Check(req, conformance.Answer{Status: res.StatusCode, Header: res.Header, Body: answer}); err != nil {
		record.Contract = err.Error()
	}
	if res.StatusCode == http.StatusNotModified {
		record.Status, record.Answer, record.Unchanged = http.StatusOK, known, true
		return nil
	}
	if tag := res.Header.Get("ETag"); tag != "" && res.StatusCode == http.StatusOK {
		c.answers.Store(a.Who+a.Session+record.Path, tagged{tag, record.Answer})
	}
	if res.StatusCode >= http.StatusBadRequest {
		var problem struct{ Type string }
		_ = json.Unmarshal(answer, &problem) // Contract says what is wrong with it
		record.Problem = path.Base(problem.Type)
	}
	return nil
}

// tagged is an answer with its ETag.
type tagged struct {
	tag    string
	answer history.Raw
}

// known returns the last answer to a person's GET, if any, and asks whether it is still
// right, as a client that polls does.
func (c *Client) known(req *http.Request, who string) history.Raw {
	if req.Method != http.MethodGet {
		return nil
	}
	if last, found := c.answers.Load(who + req.URL.RequestURI()); found {
		t := last.(tagged) //nolint:forcetypeassert // nothing else is stored
		req.Header.Set("If-None-Match", t.tag)
		return t.answer
	}
	return nil
}

// Pending returns how many accepted events wait in a replica's inbox.
func (c *Client) Pending(ctx context.Context, replica int) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.replicas[replica].ops+"/readyz", nil)
	if err != nil {
		return 0, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask %s whether it is ready: %w", c.replicas[replica].Name, err)
	}
	defer res.Body.Close() //nolint:errcheck // it is read below
	var readiness struct{ Inbox *struct{ Pending int } }
	if err := json.NewDecoder(res.Body).Decode(&readiness); err != nil || readiness.Inbox == nil {
		return 0, fmt.Errorf("ask %s whether it is ready: %s: %w", c.replicas[replica].Name, res.Status, err)
	}
	return readiness.Inbox.Pending, nil
}
