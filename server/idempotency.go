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

	"github.com/gantryhq/gantry/decide"
)

// change identifies one request to change something, so that its repeat is recognised:
// as an update of an execution, as the execution itself, or in this process.
type change struct {
	// key is a digest of the caller and their Idempotency-Key, so that two people never
	// share one; empty without a key.
	key string

	// content is a digest of the operation and the request. The execution or process that
	// remembers the key refuses it with another content.
	content string
}

// changeOf identifies a request of an operation. keys are the values of the header
// Idempotency-Key; the contract allows one.
func changeOf(caller string, keys []string, operation string, request any) (change, error) {
	if len(keys) == 0 {
		return change{}, nil
	}
	content, err := json.Marshal(request)
	if err != nil {
		return change{}, fmt.Errorf("identify the request: %w", err)
	}
	return change{
		key:     digest([]byte(decide.NameKey(caller)), []byte(keys[0])),
		content: digest([]byte(operation), content),
	}, nil
}

// digest returns a digest that differs for different parts, whatever they contain.
func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// updateID returns the id of the Temporal update that carries the request: Temporal
// answers a repeat with the first result. Another content under the same key is another
// update, which the execution refuses.
func (c change) updateID() string {
	if c.key == "" {
		return "" // the client creates one
	}
	return c.key + "-" + c.content
}

// resourceID returns the id of the resource that the request creates, the same for a repeat.
func (c change) resourceID() string {
	if c.key == "" {
		return ulid.MustNew(ulid.Timestamp(time.Now()), rand.Reader).String()
	}
	sum := sha256.Sum256([]byte(c.key))
	return ulid.ULID(sum[:16]).String()
}

// maxReplays bounds how many answers are kept for repeats; the oldest is dropped first.
const maxReplays = 4096

// replayCache keeps the answers to requests with a key that only this process carries
// out. It ends with the process, so it must be harmless to carry out such a request twice.
type replayCache struct {
	mu     sync.Mutex
	byKey  map[string]*list.Element
	oldest *list.List // of *replay
}

type replay struct {
	request change
	done    chan struct{} // closed when the request has succeeded or failed
	answer  any
	ok      bool
}

func newReplayCache() *replayCache {
	return &replayCache{byKey: map[string]*list.Element{}, oldest: list.New()}
}

// doOnce carries out a request the first time, and answers repeats with the result. It
// forgets failures and panics. A repeat that arrives meanwhile waits.
func doOnce[T any](ctx context.Context, r *replayCache, this change, do func() (T, error)) (T, error) {
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
			return carryOut(r, first, do)
		}
		select {
		case <-first.done:
		case <-ctx.Done():
			return none, context.Cause(ctx)
		}
		if first.ok { // the same content has the same operation, and so the same type
			return first.answer.(T), nil
		}
	}
}

// carryOut carries out a request and settles its replay, even after a panic: otherwise
// every repeat would wait for an answer that never comes.
func carryOut[T any](r *replayCache, first *replay, do func() (T, error)) (answer T, err error) {
	ok := false
	defer func() { r.settle(first, answer, ok) }()
	answer, err = do()
	ok = err == nil
	return answer, err
}

// claim returns the replay of a request. mine reports that the caller must carry it out.
func (r *replayCache) claim(this change) (known *replay, mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.byKey[this.key]; ok {
		return e.Value.(*replay), false
	}
	if r.oldest.Len() >= maxReplays {
		delete(r.byKey, r.oldest.Remove(r.oldest.Front()).(*replay).request.key)
	}
	known = &replay{request: this, done: make(chan struct{})}
	r.byKey[this.key] = r.oldest.PushBack(known)
	return known, true
}

func (r *replayCache) settle(known *replay, answer any, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known.answer, known.ok = answer, ok
	close(known.done)
	if e := r.byKey[known.request.key]; !ok && e != nil && e.Value.(*replay) == known {
		r.oldest.Remove(e)
		delete(r.byKey, known.request.key)
	}
}
