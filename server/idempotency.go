package server

import (
	"container/list"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// change names one request to change something, so that a repeat of it is
// recognised where it arrives: as an update of an execution, as the execution
// itself, or in this process.
type change struct {
	// key is the caller's Idempotency-Key with who gave it, so that two people
	// never share one; empty without a key.
	key string

	// content is the operation and what the caller asked of it. The same key with
	// another content is a mistake, and the execution or process that remembers the key refuses it.
	content string
}

// changeOf names the request of an operation, made under the keys of its header;
// the contract allows one at most.
func changeOf(caller string, keys []string, operation string, request any) (change, error) {
	if len(keys) == 0 {
		return change{}, nil
	}
	content, err := json.Marshal(request)
	if err != nil {
		return change{}, fmt.Errorf("name the request: %w", err)
	}
	return change{
		key:     digest([]byte(caller), []byte(keys[0])),
		content: digest([]byte(operation), content),
	}, nil
}

// digest is unique for the parts, whatever they hold.
func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// updateID is the id of the Temporal update that carries the request: Temporal
// answers a repeat with what came of the first. Another content under the same
// key is another update, so that the execution sees and refuses it.
func (c change) updateID() string {
	if c.key == "" {
		return "" // the client makes one of its own
	}
	return c.key + "-" + c.content
}

// resourceID returns the id of the resource that the request creates: the same for a repeat.
func (c change) resourceID() string {
	if c.key == "" {
		return ulid.MustNew(ulid.Timestamp(time.Now()), rand.Reader).String()
	}
	sum := sha256.Sum256([]byte(c.key))
	return ulid.ULID(sum[:16]).String()
}

// maxRepeats bounds how many answers are remembered for repeats; the oldest is
// forgotten first.
const maxRepeats = 4096

// repeats remembers the answers to requests with a key whose work is done in
// this process alone. It is forgotten with the process: what such a request
// does must be harmless when it is done twice.
type repeats struct {
	mu     sync.Mutex
	byKey  map[string]*list.Element
	oldest *list.List // of *repeat
}

type repeat struct {
	request change
	done    chan struct{} // closed when there is an answer, or none will be
	answer  any
	ok      bool
}

func newRepeats() *repeats { return &repeats{byKey: map[string]*list.Element{}, oldest: list.New()} }

// once does the work of a request the first time, and answers repeats with what
// came of it. Failures are not remembered. A repeat that comes meanwhile waits.
func once[T any](ctx context.Context, r *repeats, this change, do func() (T, error)) (T, error) {
	var none T
	if this.key == "" {
		return do()
	}
	for {
		first, mine := r.claim(this)
		if first.request.content != this.content {
			return none, errKeyReused
		}
		if mine {
			answer, err := do()
			r.settle(first, answer, err == nil)
			return answer, err
		}
		select {
		case <-first.done:
		case <-ctx.Done():
			return none, context.Cause(ctx)
		}
		if first.ok { // the content names the operation, and with it the type
			return first.answer.(T), nil
		}
	}
}

// claim returns what is known of a request, or makes it known as the caller's.
func (r *repeats) claim(this change) (known *repeat, mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.byKey[this.key]; ok {
		return e.Value.(*repeat), false
	}
	if r.oldest.Len() >= maxRepeats {
		delete(r.byKey, r.oldest.Remove(r.oldest.Front()).(*repeat).request.key)
	}
	known = &repeat{request: this, done: make(chan struct{})}
	r.byKey[this.key] = r.oldest.PushBack(known)
	return known, true
}

func (r *repeats) settle(known *repeat, answer any, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known.answer, known.ok = answer, ok
	close(known.done)
	if e := r.byKey[known.request.key]; !ok && e != nil && e.Value.(*repeat) == known {
		r.oldest.Remove(e)
		delete(r.byKey, known.request.key)
	}
}
