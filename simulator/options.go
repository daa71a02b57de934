package simulator

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// Options configure an account. The zero value is an account on the real clock.
type Options struct {
	// Account is the account's name; "acme" when empty.
	Account spacelift.Account
	// URL is the base of links in bodies and answers, without a slash at its end;
	// https://<account>.app.spacelift.io when empty.
	URL string
	// Seed makes ids, trace headers and faults by probability repeatable. The
	// scheduler orders events of one instant of a real clock, so a whole script
	// repeats exactly only on a ManualClock or in a testing/synctest bubble.
	Seed uint64
	// Clock is the real one when nil.
	Clock Clock
	// Phases are the times that runs stay in the states that machines leave;
	// RealisticPhases when nil. Tests use Instant.
	Phases Phases
	// BlockerLag is the time that a stack's slot stays taken after its run has ended.
	// Spacelift frees it asynchronously, so even 0 is not immediate.
	BlockerLag time.Duration
	// StopLag is the time that a worker takes to obey runStop.
	StopLag time.Duration
	// RetrySpacing is the wait before each re-send of a webhook with
	// RetryOnFailure; 5 seconds when zero.
	// Assumption: Spacelift documents the number of retries, not their spacing.
	RetrySpacing time.Duration
	// DeliveryTimeout bounds one delivery attempt; 10 seconds when zero.
	// Assumption: Spacelift documents none.
	DeliveryTimeout time.Duration
	// HTTPClient sends the deliveries; a plain one when nil. Its CheckRedirect
	// and Timeout are not used.
	HTTPClient *http.Client
	// TokenLife is the lifetime of a token from apiKeyUser; 1 hour when zero.
	TokenLife time.Duration
	// UnauthorizedStatus is the HTTP status of "unauthorized" answers: 200 (when
	// zero) or 401. Spacelift's own is not documented.
	UnauthorizedStatus int
	// Logger gets one record per state change and delivery; nil is silence.
	Logger *slog.Logger
	// Observer receives all that happens; nil is nobody.
	Observer Observer
}

// Phases says how long a run stays in a state. A state that is not in it takes
// no time. States that wait for people are never in it.
type Phases map[spacelift.RunState]time.Duration

// Instant returns phases that take no time.
func Instant() Phases { return Phases{} }

// RealisticPhases returns the times of one real run of a small stack, and
// plausible ones for the states it did not pass.
func RealisticPhases() Phases {
	return Phases{
		queued:          200 * time.Millisecond,
		ready:           3400 * time.Millisecond,
		preparing:       4800 * time.Millisecond,
		initializing:    13300 * time.Millisecond,
		planning:        28 * time.Second,
		confirmed:       time.Second,
		preparingApply:  5 * time.Second,
		applying:        30 * time.Second,
		performing:      10 * time.Second,
		destroying:      20 * time.Second,
		replanRequested: time.Second,
		preparingReplan: 5 * time.Second,
	}
}

// Scaled returns the phases with every duration multiplied by f.
func (p Phases) Scaled(f float64) Phases {
	scaled := make(Phases, len(p))
	for s, d := range p {
		scaled[s] = time.Duration(float64(d) * f)
	}
	return scaled
}

// Simulator is one Spacelift account. Its methods are safe for concurrent use.
type Simulator struct {
	opts    Options
	clock   Clock
	log     *slog.Logger
	client  *http.Client
	handler http.Handler
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	senders sync.WaitGroup
	// transmit is attempt. Deliveries outlive the request that caused them, so
	// they take their context from here and not from its caller.
	transmit func(*delivery) Attempt

	mu        sync.Mutex // guards everything below
	closed    bool
	restoring bool // being restored: nothing moves yet
	source    *rand.PCG
	random    *rand.Rand    // draws from source
	changed   chan struct{} // closed and replaced when something happened

	spaces       map[string]*space
	pools        map[string]WorkerPool
	stacks       map[spacelift.StackID]*stack
	order        []spacelift.StackID // in the order they were created
	runs         map[spacelift.RunID]*run
	dependencies []*dependency
	external     map[string]string // external dependency → FINISHED, FAILED, SKIPPED
	webhooks     []*namedWebhook
	policies     []*policy
	attachments  []*attachment
	contexts     []*bundle
	contextBonds []*contextAttachment
	inbox        []Notice

	keys     map[string]APIKey
	tokenKey []byte

	timers     map[*timer]struct{}
	timerCount int

	lanes      map[laneKey]*lane
	sending    int // HTTP requests under way
	deliveries []*delivery

	deliveryFaults []*armed[DeliveryFault]
	apiFaults      []*armed[APIFault]
	faultCount     int
	requests       []*Request
}

// New opens an account with a root space and nothing else in it. Close it.
func New(opts Options) *Simulator {
	s := open(opts)
	s.spaces[rootSpace] = &space{Space: Space{ID: rootSpace, Name: rootSpace}}
	s.tokenKey = s.randomBytes(32)
	return s
}

// open returns an account without anything in it.
func open(opts Options) *Simulator {
	if opts.Account == "" {
		opts.Account = "acme"
	}
	if opts.Clock == nil {
		opts.Clock = realClock{}
	}
	if opts.Phases == nil {
		opts.Phases = RealisticPhases()
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.UnauthorizedStatus == 0 {
		opts.UnauthorizedStatus = http.StatusOK
	}
	orDefault(&opts.RetrySpacing, 5*time.Second)
	orDefault(&opts.DeliveryTimeout, 10*time.Second)
	orDefault(&opts.TokenLife, time.Hour)

	s := &Simulator{
		opts:     opts,
		clock:    opts.Clock,
		log:      opts.Logger.With("account", opts.Account),
		client:   deliveryClient(opts.HTTPClient),
		source:   rand.NewPCG(opts.Seed, uint64(len(opts.Account))),
		changed:  make(chan struct{}),
		spaces:   map[string]*space{},
		pools:    map[string]WorkerPool{},
		stacks:   map[spacelift.StackID]*stack{},
		runs:     map[spacelift.RunID]*run{},
		external: map[string]string{},
		keys:     map[string]APIKey{},
		timers:   map[*timer]struct{}{},
		lanes:    map[laneKey]*lane{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background()) //nolint:forbidigo // Close ends it
	s.transmit = s.attempt
	s.random = rand.New(s.source)
	s.handler = s.routes()
	return s
}

func orDefault(d *time.Duration, otherwise time.Duration) {
	if *d == 0 {
		*d = otherwise
	}
}

// ServeHTTP serves GraphQL at /graphql and the control API under /simulator/v1/.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Account returns the account's name.
func (s *Simulator) Account() spacelift.Account { return s.opts.Account }

// Close stops all runs and deliveries where they are and waits for requests
// under way. Nothing changes afterwards; reading still works.
func (s *Simulator) Close() {
	s.mu.Lock()
	s.closed = true
	for t := range s.timers {
		if t.stop != nil {
			t.stop()
		}
	}
	s.mu.Unlock()
	s.cancel()
	s.senders.Wait()
}

// touch wakes everything that waits for a change. It is called under the lock.
func (s *Simulator) touch() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change of the account. To
// keep the account, call Changed, then Save, then wait.
func (s *Simulator) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// waitFor blocks until ok, which is called under the lock, returns true.
func (s *Simulator) waitFor(ctx context.Context, ok func() bool) error {
	for {
		s.mu.Lock()
		done, changed := ok(), s.changed
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// WaitState blocks until the run enters one of the states, has been in one of
// them, or has ended; it returns the run then. It is an error when the run
// ended elsewhere or ctx did.
func (s *Simulator) WaitState(ctx context.Context, stack spacelift.StackID, id spacelift.RunID, states ...spacelift.RunState) (Run, error) {
	var found Run
	var seen bool
	err := s.waitFor(ctx, func() bool {
		r, err := s.findRun(stack, id)
		if err != nil {
			return false
		}
		found = r.snapshot()
		seen = slices.ContainsFunc(found.History, func(t spacelift.Transition) bool { return slices.Contains(states, t.State) })
		return seen || found.State.Terminal()
	})
	switch {
	case err != nil:
		return found, fmt.Errorf("wait for run %s, now %q: %w", id, found.State, err)
	case !seen:
		return found, fmt.Errorf("wait for run %s: it ended as %s", id, found.State)
	}
	return found, nil
}

// Flush blocks until no delivery is under way or ready to be sent. Deliveries
// that wait for the clock (a retry, a delay) don't count.
func (s *Simulator) Flush(ctx context.Context) error {
	if err := s.waitFor(ctx, func() bool { return s.sending == 0 }); err != nil {
		return fmt.Errorf("wait for deliveries: %w", err)
	}
	return nil
}
