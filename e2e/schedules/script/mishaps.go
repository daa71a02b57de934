package script

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gantryhq/gantry/simulator"
)

// Mishap is something that goes wrong for a while.
type Mishap struct {
	At     time.Duration `json:"at"`
	For    time.Duration `json:"for"`
	Kind   string        `json:"kind"`
	Target string        `json:"target,omitempty"` // a process
	// Fault is for mishaps of the API.
	Fault *simulator.APIFault `json:"fault,omitempty"`
	P     float64             `json:"p,omitempty"` // probability of each request or notification

	Ahead time.Duration `json:"ahead,omitempty"` // of a clock; negative: behind
}

// The kinds of mishaps.
const (
	Kill         = "kill"          // kill -9, and a start after For
	Terminate    = "terminate"     // SIGTERM, and a start after For
	Pause        = "pause"         // SIGSTOP for For
	Stutter      = "stutter"       // slow: SIGSTOP nine tenths of the time
	DiskFull     = "disk-full"     // no file of the process grows
	API          = "api"           // Fault
	APICut       = "api-cut"       // requests break before they have an effect
	APIStale     = "api-stale"     // queries have old answers
	TokensOver   = "tokens-over"   // every token that Spacelift issued is refused
	WebhookFails = "webhook-fails" // the balancer refuses all notifications, so that Spacelift switches the webhook off
	Rotate       = "rotate-secret" // the webhook has another secret
	Reconfigure  = "reconfigure"   // profiles change, and each process starts again
	Reload       = "reload"        // profiles change, and the processes take the file over while they run
	ReceiverDown = "receiver-down" // channels answer 503
	Clock        = "clock"         // the clock of a process is Ahead
)

// Mishaps returns what goes wrong in a storm. Each kind happens: twice as often
// in a storm that is twice as long, and at least once.
func Mishaps(seed uint64, storm time.Duration) []Mishap {
	r := rand.New(rand.NewPCG(seed, 3))
	var all []Mishap
	span := func(from, to time.Duration) time.Duration { return from + time.Duration(r.Int64N(int64(to-from))) }
	add := func(m Mishap) {
		m.At = time.Duration(r.Int64N(int64(storm * 8 / 10)))
		m.For = min(m.For, storm-m.At)
		all = append(all, m)
	}
	processes := []string{"replica-1", "replica-2", "worker"}
	rounds := max(1, int(storm/(30*time.Second)))
	for range rounds {
		for _, target := range processes {
			kind := []string{Kill, Terminate, Pause}[r.IntN(3)]
			add(Mishap{Kind: kind, Target: target, For: span(200*time.Millisecond, 4*time.Second)})
		}
		add(Mishap{Kind: []string{Kill, Pause, Stutter}[r.IntN(3)], Target: "temporal", For: span(500*time.Millisecond, 4*time.Second)})
		add(Mishap{Kind: DiskFull, Target: processes[r.IntN(2)], For: span(time.Second, 4*time.Second)})
		for _, f := range []simulator.APIFault{
			{Kind: simulator.RateLimited, RetryAfter: simulator.Duration(time.Second)}, {Kind: simulator.ServerError},
			{Kind: simulator.LostResponse, Field: "mutation"}, {Kind: simulator.LostResponse}, {Kind: simulator.Slow, Delay: simulator.Duration(1500 * time.Millisecond)},
			{Kind: simulator.Hang}, {Kind: simulator.ServerError, After: true, Field: "mutation"}, {Kind: simulator.Unauthorized, Status: 401},
			{Kind: simulator.NotExecutable, Field: "mutation"}, {Kind: simulator.NoEffect, Field: "runConfirm"},
		} {
			f.Probability = 0.1 + 0.4*r.Float64()
			add(Mishap{Kind: API, Fault: &f, For: span(2*time.Second, 6*time.Second)})
		}
		add(Mishap{Kind: APICut, P: 0.3, For: span(2*time.Second, 5*time.Second)})
		add(Mishap{Kind: TokensOver})
		add(Mishap{Kind: ReceiverDown, For: span(time.Second, 5*time.Second)})
	}
	for _, m := range []Mishap{
		{Kind: WebhookFails, For: span(3*time.Second, 6*time.Second)}, {Kind: Rotate}, {Kind: APIStale, P: 0.3, For: span(2*time.Second, 5*time.Second)}, {Kind: Reconfigure}, {Kind: Reload},
	} {
		if r.IntN(3) > 0 {
			add(m)
		}
	}
	if r.IntN(2) == 0 { // two replicas: one ahead, another behind
		ahead, behind := span(time.Minute, 5*time.Minute), -span(time.Minute, 5*time.Minute)
		first := r.IntN(2)
		add(Mishap{Kind: Clock, Target: processes[first], Ahead: ahead, For: span(8*time.Second, 20*time.Second)})
		add(Mishap{Kind: Clock, Target: processes[1-first], Ahead: behind, For: span(8*time.Second, 20*time.Second)})
	}
	slices.SortStableFunc(all, func(a, b Mishap) int { return int(a.At - b.At) })
	return all
}
