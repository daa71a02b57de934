package simulator

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// DeliveryFaultKind is a kind of fault of a notification.
type DeliveryFaultKind string

// The faults of a notification's delivery, and of its default body. Faults of the
// body don't change a policy's own payload.
const (
	Drop          DeliveryFaultKind = "drop"           // it is never sent
	Duplicate     DeliveryFaultKind = "duplicate"      // it is sent twice
	Delay         DeliveryFaultKind = "delay"          // it is sent Delay later; others overtake it
	Reorder       DeliveryFaultKind = "reorder"        // the next one of its run is sent before it
	WrongSecret   DeliveryFaultKind = "wrong-secret"   // its signatures don't fit
	NoSHA1        DeliveryFaultKind = "no-sha1"        // no X-Signature, as in FedRAMP accounts
	StaleVersion  DeliveryFaultKind = "stale-version"  // a terminal state carries the stateVersion before it
	NullOptional  DeliveryFaultKind = "null-optional"  // empty optional fields are null instead of left out
	OldShape      DeliveryFaultKind = "old-shape"      // the body as documented before timestamp_millis
	UnknownState  DeliveryFaultKind = "unknown-state"  // the state is one that Spacelift does not have
	ExtraFields   DeliveryFaultKind = "extra-fields"   // unknown fields appear at every level
	InternalNoise DeliveryFaultKind = "internal-error" // an internal-error body comes before it
)

var deliveryFaultKinds = []DeliveryFaultKind{
	Drop, Duplicate, Delay, Reorder, WrongSecret, NoSHA1, StaleVersion, NullOptional, OldShape, UnknownState, ExtraFields, InternalNoise,
}

// DeliveryFault makes deliveries go wrong. Empty fields match every delivery.
type DeliveryFault struct {
	Kind    DeliveryFaultKind  `json:"kind"`
	Webhook string             `json:"webhook,omitempty"` // a named webhook's id, or "<stack>/<id>"
	Stack   spacelift.StackID  `json:"stack,omitempty"`
	Run     spacelift.RunID    `json:"run,omitempty"`
	State   spacelift.RunState `json:"state,omitempty"`
	// Probability of each delivery that matches; 0 is always.
	Probability float64 `json:"probability,omitempty"`
	// Times is the number of deliveries it strikes; 0 is without end.
	Times int `json:"times,omitempty"`
	// Delay is for the fault of that name.
	Delay Duration `json:"delay,omitempty"`
}

// APIFaultKind is a kind of fault of a GraphQL request.
type APIFaultKind string

// The faults of a GraphQL request. Nothing happens to the account
// unless the description says so, or the fault has After set: then the request
// is carried out and only its answer goes wrong.
const (
	RateLimited   APIFaultKind = "rate-limited"  // 429
	ServerError   APIFaultKind = "server-error"  // Status or 502
	LostResponse  APIFaultKind = "lost-response" // it happens, then the connection breaks, after Delay; needs a real server
	Slow          APIFaultKind = "slow"          // it happens, and is answered, after Delay
	Hang          APIFaultKind = "hang"          // no answer until the client gives up; needs a real server
	Unauthorized  APIFaultKind = "unauthorized"  // "unauthorized", with Status
	NotExecutable APIFaultKind = "refused"       // a GraphQL error with Message
	NoEffect      APIFaultKind = "no-effect"     // an answer as if it had happened; for fields that act on a run
)

var apiFaultKinds = []APIFaultKind{RateLimited, ServerError, LostResponse, Slow, Hang, Unauthorized, NotExecutable, NoEffect}

// withoutEffect lists the fields that NoEffect is for.
var withoutEffect = []string{
	"runConfirm", "runDiscard", "runCancel", "runStop", "runKill", "runReview", "runTargetedReplan",
}

// APIFault makes GraphQL requests go wrong.
type APIFault struct {
	Kind APIFaultKind `json:"kind"`
	// Field is a root field such as "runConfirm", or "query" or "mutation" for
	// all of them; every request but apiKeyUser when empty.
	Field       string  `json:"field,omitempty"`
	Probability float64 `json:"probability,omitempty"` // as for DeliveryFault
	Times       int     `json:"times,omitempty"`       // as for DeliveryFault
	// After lets the request happen before its answer goes wrong.
	After bool     `json:"after,omitempty"`
	Delay Duration `json:"delay,omitempty"`
	// Status is 500 to 599 for ServerError, and 200 or 401 for Unauthorized.
	Status     int      `json:"status,omitempty"`
	RetryAfter Duration `json:"retryAfter,omitempty"` // sent as Retry-After; Spacelift itself sends none
	Message    string   `json:"message,omitempty"`
}

// Duration is a time.Duration that JSON writes as "1.5s".
type Duration time.Duration

// MarshalText writes the duration as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a duration as Go writes it.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// armed is a fault that has been injected.
type armed[F any] struct {
	ID          string  `json:"id"`
	Fault       F       `json:"fault"`
	Probability float64 `json:"probability,omitempty"`
	Left        int     `json:"left"` // -1 is without end
}

// strikes reports whether the fault strikes now, and counts that.
func (a *armed[F]) strikes(s *Simulator) bool {
	if a.Left == 0 || a.Probability > 0 && s.random.Float64() >= a.Probability {
		return false
	}
	if a.Left > 0 {
		a.Left--
	}
	return true
}

// inject arms a fault and returns its id.
func inject[F any](s *Simulator, faults *[]*armed[F], fault F, probability float64, times int) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faultCount++
	a := &armed[F]{ID: "fault-" + strconv.Itoa(s.faultCount), Fault: fault, Probability: probability, Left: times}
	if times == 0 {
		a.Left = -1
	}
	*faults = append(*faults, a)
	s.touch()
	return a.ID, nil
}

// InjectDelivery arms a fault for deliveries still to come and returns its id.
// Several can strike one delivery.
func (s *Simulator) InjectDelivery(f DeliveryFault) (string, error) {
	if !slices.Contains(deliveryFaultKinds, f.Kind) {
		return "", refuse("delivery fault %q", f.Kind)
	}
	if err := checkFault(f.Probability, f.Times, f.Delay); err != nil {
		return "", err
	}
	return inject(s, &s.deliveryFaults, f, f.Probability, f.Times)
}

// InjectAPI arms a fault for GraphQL requests still to come and returns its id.
// The first that matches strikes.
func (s *Simulator) InjectAPI(f APIFault) (string, error) {
	if !slices.Contains(apiFaultKinds, f.Kind) {
		return "", refuse("API fault %q", f.Kind)
	}
	if err := cmp.Or(checkFault(f.Probability, f.Times, f.Delay), f.check()); err != nil {
		return "", err
	}
	return inject(s, &s.apiFaults, f, f.Probability, f.Times)
}

// check returns an error for settings that a fault of this kind can't have.
func (f APIFault) check() error {
	if f.Status != 0 {
		switch f.Kind {
		case ServerError:
			if f.Status < 500 || f.Status > 599 {
				return refuse("status %d of a server error is not within 500 and 599", f.Status)
			}
		case Unauthorized:
			if f.Status != http.StatusOK && f.Status != http.StatusUnauthorized {
				return refuse("status %d of an unauthorized answer is neither 200 nor 401", f.Status)
			}
		default:
			return refuse("a fault of kind %s has no status", f.Kind)
		}
	}
	if f.Kind != NoEffect {
		return nil
	}
	if f.After {
		return refuse("a fault of kind %s leaves nothing to happen before the answer", f.Kind)
	}
	if !slices.Contains(withoutEffect, f.Field) {
		return refuse("a fault of kind %s needs a field: %s", f.Kind, strings.Join(withoutEffect, ", "))
	}
	return nil
}

func checkFault(probability float64, times int, delay Duration) error {
	switch {
	case probability < 0 || probability > 1:
		return refuse("probability %v is not within 0 and 1", probability)
	case times < 0:
		return refuse("a fault can't strike %d times", times)
	case delay < 0:
		return refuse("delay %s is negative", time.Duration(delay))
	}
	return nil
}

// ClearFaults disarms the faults with these ids, or all of them when there are none.
func (s *Simulator) ClearFaults(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := func(id string) bool { return len(ids) == 0 || slices.Contains(ids, id) }
	s.deliveryFaults = slices.DeleteFunc(s.deliveryFaults, func(a *armed[DeliveryFault]) bool { return gone(a.ID) })
	s.apiFaults = slices.DeleteFunc(s.apiFaults, func(a *armed[APIFault]) bool { return gone(a.ID) })
	s.touch()
}

// strike returns the faults that hit a delivery.
func (s *Simulator) strike(ev event, webhook string) []DeliveryFault {
	var hit []DeliveryFault
	for _, a := range s.deliveryFaults {
		f := a.Fault
		switch {
		case f.Webhook != "" && f.Webhook != webhook,
			f.Stack != "" && f.Stack != ev.run.Stack,
			f.Run != "" && f.Run != ev.run.Run,
			f.State != "" && f.State != ev.state,
			f.Kind == StaleVersion && !ev.terminal:
			continue
		}
		if a.strikes(s) {
			hit = append(hit, f)
		}
	}
	return hit
}

// strikeAPI returns the fault that hits a request with these root fields.
func (s *Simulator) strikeAPI(operation string, fields []string) (APIFault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.apiFaults {
		matches := a.Fault.Field == operation || slices.Contains(fields, a.Fault.Field)
		if a.Fault.Field == "" {
			matches = !slices.Contains(fields, "apiKeyUser")
		}
		if matches && a.strikes(s) {
			return a.Fault, true
		}
	}
	return APIFault{}, false
}

// distort applies a fault to the body.
func (b *runBody) distort(kind DeliveryFaultKind) {
	switch kind {
	case StaleVersion:
		b.StateVersion--
	case UnknownState:
		b.State = "AWAITING_LAUNCH_WINDOW"
	case NullOptional:
		b.Note.orNull()
		b.Run.Command.orNull()
		b.Run.Delta.orNull()
		b.Run.TriggeredBy.orNull()
		b.Run.Commit.AuthorLogin.orNull()
	case OldShape:
		b.TimestampMillis, b.WorkerPool, b.EventSource, b.EventType = 0, nil, "", ""
		b.Run.DriftDetection, b.Run.URL = nil, ""
		b.Stack.Repository, b.Stack.URL, b.Stack.VCS = "", "", ""
	}
}

// addUnknown adds fields that Spacelift does not have to an encoded body.
func addUnknown(body []byte) []byte {
	const extra = `{"future_field":{"nested":[1,"two",null]},`
	out := strings.Replace(string(body), "{", extra, 1)
	for _, part := range []string{`"run":{`, `"commit":{`, `"stack":{`} {
		out = strings.Replace(out, part, strings.TrimSuffix(part, "{")+extra, 1)
	}
	return []byte(out)
}
