package simulator

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// NamedWebhook is a webhook of a space. It sends only what notification policies
// route to it.
type NamedWebhook struct {
	ID             string            `json:"id"`    // a slug of Name when empty
	Name           string            `json:"name"`  // ID when empty
	Space          string            `json:"space"` // "root" when empty
	Endpoint       string            `json:"endpoint"`
	Secret         string            `json:"-"`
	Labels         []string          `json:"labels"`
	Headers        map[string]string `json:"-"` // static secret headers
	RetryOnFailure bool              `json:"retryOnFailure"`
	Disabled       bool              `json:"disabled"`
}

// StackWebhook is a webhook of one stack or module. It sends every state change.
type StackWebhook struct {
	ID             string            `json:"id"` // made up when empty
	Stack          spacelift.StackID `json:"stack"`
	Endpoint       string            `json:"endpoint"` // unique on the stack
	Secret         string            `json:"-"`
	RetryOnFailure bool              `json:"retryOnFailure"`
	Disabled       bool              `json:"disabled"`
}

// failuresToDisable is the number of failures in a row that switch a webhook off
// (https://docs.spacelift.io/integrations/webhooks).
const failuresToDisable = 10

// health is the state of a webhook of either kind.
type health struct {
	key      string // identifies it in the delivery log
	failures int    // in a row
	disabled func() *bool
}

type namedWebhook struct {
	NamedWebhook
	health
	CreatedAt time.Time
}

type stackWebhook struct {
	StackWebhook
	health
}

// target is the destination of a delivery.
type target struct {
	health   *health
	endpoint string
	secret   string
	method   string
	headers  map[string]string
	query    string // added to the endpoint's own
	retry    bool
}

// url returns the address of a request to an endpoint.
func (t target) url(endpoint string) string {
	if t.query == "" {
		return endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint // the attempt fails and says why
	}
	query := u.Query()
	added, _ := url.ParseQuery(t.query) // our own encoding
	maps.Copy(query, added)
	u.RawQuery = query.Encode()
	return u.String()
}

// AddNamedWebhook adds a webhook to a space.
func (s *Simulator) AddNamedWebhook(w NamedWebhook) error {
	return s.act(func() error { _, err := s.addNamedWebhook(w); return err })
}

func (s *Simulator) addNamedWebhook(w NamedWebhook) (*namedWebhook, error) {
	w.Name = cmp.Or(w.Name, w.ID)
	w.ID = cmp.Or(w.ID, slug(w.Name))
	w.Space = cmp.Or(w.Space, rootSpace)
	switch {
	case w.ID == "":
		return nil, refuse("a named webhook needs a name")
	case exists(s.findWebhook(w.ID)):
		return nil, refuse("named webhook %s exists", w.ID)
	}
	if _, err := s.findSpace(w.Space); err != nil {
		return nil, err
	}
	w.Headers = maps.Clone(w.Headers)
	made := newNamedWebhook(w, s.clock.Now())
	s.webhooks = append(s.webhooks, made)
	s.touch()
	return made, nil
}

func newNamedWebhook(w NamedWebhook, at time.Time) *namedWebhook {
	made := &namedWebhook{NamedWebhook: w, CreatedAt: at}
	made.health = health{key: w.ID, disabled: func() *bool { return &made.Disabled }}
	return made
}

func newStackWebhook(w StackWebhook) *stackWebhook {
	made := &stackWebhook{StackWebhook: w}
	made.health = health{key: string(w.Stack) + "/" + w.ID, disabled: func() *bool { return &made.Disabled }}
	return made
}

func (s *Simulator) findWebhook(id string) (*namedWebhook, error) {
	return find(s.webhooks, "named webhook", id, func(w *namedWebhook) string { return w.ID })
}

// NamedWebhooks returns the named webhooks, without their secrets.
func (s *Simulator) NamedWebhooks() []NamedWebhook {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]NamedWebhook, 0, len(s.webhooks))
	for _, w := range s.webhooks {
		shown := w.NamedWebhook
		shown.Secret, shown.Headers, shown.Labels = "", nil, slices.Clone(w.Labels)
		all = append(all, shown)
	}
	return all
}

// EnableNamedWebhook switches a webhook on again after too many failures.
func (s *Simulator) EnableNamedWebhook(id string) error {
	return s.changeWebhook(id, func(w *namedWebhook) { w.Disabled, w.failures = false, 0 })
}

// SetWebhookSecret rotates the secret of a named webhook.
func (s *Simulator) SetWebhookSecret(id, secret string) error {
	return s.changeWebhook(id, func(w *namedWebhook) { w.Secret = secret })
}

// SetWebhookEndpoint moves a named webhook. Pending deliveries go to the new
// endpoint too, except requests under way.
func (s *Simulator) SetWebhookEndpoint(id, endpoint string) error {
	return s.changeWebhook(id, func(w *namedWebhook) {
		w.Endpoint = endpoint
		for _, l := range s.lanes {
			waiting := l.queue
			if l.busy {
				waiting = waiting[1:]
			}
			for _, d := range slices.Concat(waiting, l.held) {
				if d.target.health == &w.health {
					d.URL = d.target.url(endpoint)
				}
			}
		}
	})
}

func (s *Simulator) changeWebhook(id string, change func(*namedWebhook)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := s.findWebhook(id)
	if err != nil {
		return err
	}
	change(w)
	s.touch()
	return nil
}

// AddStackWebhook adds a webhook to a stack or module.
func (s *Simulator) AddStackWebhook(w StackWebhook) error {
	return s.act(func() error { _, err := s.addStackWebhook(w); return err })
}

func (s *Simulator) addStackWebhook(w StackWebhook) (*stackWebhook, error) {
	st, err := s.findStack(w.Stack)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(st.webhooks, func(o *stackWebhook) bool { return o.Endpoint == w.Endpoint }) {
		return nil, refuse("stack %s has a webhook to this endpoint", st.ID)
	}
	if w.ID == "" {
		w.ID = s.newID()
	}
	made := newStackWebhook(w)
	st.webhooks = append(st.webhooks, made)
	s.touch()
	return made, nil
}

// endpoints returns the webhooks that policies of an event in this space can name.
// Assumption: those of the space and the ones it inherits from, enabled or not;
// a disabled one then gets nothing.
func (s *Simulator) endpoints(space string) []*namedWebhook {
	reach := s.reach(space)
	var found []*namedWebhook
	for _, w := range s.webhooks {
		if slices.Contains(reach, w.Space) {
			found = append(found, w)
		}
	}
	return found
}

// Notice is an entry of Spacelift's notification inbox, the one place that says
// a webhook was switched off.
type Notice struct {
	At       time.Time `json:"at"`
	Title    string    `json:"title"`
	Body     string    `json:"body"`
	Severity string    `json:"severity"`
}

// Inbox returns the notices, oldest first.
func (s *Simulator) Inbox() []Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.inbox)
}

func (s *Simulator) notice(title, body, severity string) {
	s.inbox = append(s.inbox, Notice{At: s.clock.Now(), Title: title, Body: body, Severity: cmp.Or(severity, "INFO")})
	s.touch()
}

// notify sends the run's present state to the stack's webhooks and through the
// notification policies.
func (s *Simulator) notify(r *run) {
	event := eventOf(r)
	body := s.body(r)
	for _, w := range r.stack.webhooks {
		if !w.Disabled {
			s.send(event, target{health: &w.health, endpoint: w.Endpoint, secret: w.Secret, retry: w.RetryOnFailure}, &body, nil)
		}
	}
	logs := func(payload any) any { return s.fillLogs(r, payload) }
	s.evaluate(event, r.stack.Space, "run_updated", func() any { return s.runUpdated(r) }, &body, logs)
}

// SendInternalError reports a failure of Spacelift's own to the notification
// policies and the inbox.
func (s *Simulator) SendInternalError(e InternalError) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Space, e.Severity = cmp.Or(e.Space, rootSpace), cmp.Or(e.Severity, "ERROR")
	if _, err := s.findSpace(e.Space); err != nil {
		return err
	}
	s.notice(e.Title, e.Body, e.Severity)
	body := internalErrorBody{Title: e.Title, Body: e.Body, Error: e.Error, Severity: e.Severity, Account: s.opts.Account}
	s.evaluate(event{kind: "internal_error"}, e.Space, "internal_error", func() any { return s.internalErrorInput(e) }, body, nil)
	s.touch()
	return nil
}

// PublishModuleVersion evaluates notification policies for a module version.
// Only rules with a payload send something, and others get a notice: the default
// body of this event is not documented.
func (s *Simulator) PublishModuleVersion(v ModuleVersion) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.findStack(v.Module)
	if err != nil {
		return err
	}
	if !st.Module {
		return refuse("%s is a stack, not a module", v.Module)
	}
	s.fillCommit(st, &v.Commit)
	s.evaluate(event{kind: "module_version"}, st.Space, "module_version", func() any { return s.moduleVersionInput(st, v) }, nil, nil)
	s.touch()
	return nil
}

// fillLogs replaces the placeholder of a phase's log in a payload's values.
func (s *Simulator) fillLogs(r *run, payload any) any {
	switch v := payload.(type) {
	case string:
		for _, state := range []spacelift.RunState{initializing, preparing, planning, applying} {
			mark := "spacelift::logs::" + strings.ToLower(string(state))
			if strings.Contains(v, mark) {
				v = strings.ReplaceAll(v, mark, strings.Join(r.logLines(state), ""))
			}
		}
		return v
	case []any:
		for i := range v {
			v[i] = s.fillLogs(r, v[i])
		}
	case object:
		for k := range v {
			v[k] = s.fillLogs(r, v[k])
		}
	}
	return payload
}
