// Package decide holds what all of Gantry's decisions share: refusals, and the
// idempotency keys of requests. Its folders decide, each about one thing: a run
// (managed), a chain (chain), an account (account), a policy (policy). All are plain
// functions of what Gantry knows and the time.
package decide

import "fmt"

// Refusal is the reason that Gantry refuses a request: one of the ErrType constants,
// and a sentence for the caller. A nil refusal accepts.
type Refusal struct {
	Type   string
	Reason string
}

// Refuse returns a refusal.
func Refuse(kind, format string, args ...any) *Refusal {
	return &Refusal{Type: kind, Reason: fmt.Sprintf(format, args...)}
}
