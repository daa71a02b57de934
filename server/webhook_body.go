package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// The sizes that decide what reading a body may cost. Notifications are a few
// kilobytes.
const (
	maxBody    = 1 << 20  // Spacelift publishes no limit
	trustBody  = 64 << 10 // beyond it, a source that sent too much rubbish isn't read
	freeBody   = 16 << 10 // beyond it, bodies share a budget
	firstChunk = 4 << 10  // what a sender must have sent before memory is set aside for more
)

// The budget for the bodies in flight that are larger than freeBody, in bytes. One
// source can't use up all of it.
const (
	bodyBudget          = 4 << 20
	bodyBudgetPerSource = bodyBudget / 2
	bodyBudgetWait      = 2 * time.Second
)

var (
	errBodyTooLarge  = errors.New("the body is over 1 MiB")
	errSourceLimited = errors.New("the source sent too many requests that were not authentic")
	errNoBudget      = errors.New("too many large bodies are in flight")
)

// readBody reads a whole body: into room if that has room for it, and else into a
// buffer of its size. The memory follows what
// the sender has sent, not what it announces. The caller returns held, which is 0
// for small bodies, to the budget when the body is no longer in use.
func (f *frontDoor) readBody(r *http.Request, source netip.Prefix, room []byte) (body []byte, held int64, err error) {
	size := r.ContentLength
	if size > maxBody {
		return nil, 0, errBodyTooLarge
	}
	if size >= 0 && size <= int64(len(room)) {
		body = room[:size]
		_, err = io.ReadFull(r.Body, body)
		return body, 0, err
	}
	n, err := io.ReadFull(r.Body, room)
	if size < 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		return room[:n], 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if size < 0 {
		return f.readUnannounced(r, source, room)
	}
	if held, err = f.setAside(r.Context(), source, size); err != nil {
		return nil, 0, err
	}
	body = make([]byte, size)
	_, err = io.ReadFull(r.Body, body[copy(body, room):])
	return body, held, err
}

// readUnannounced reads the rest of a body whose length is unknown.
func (f *frontDoor) readUnannounced(r *http.Request, source netip.Prefix, first []byte) (body []byte, held int64, err error) {
	body = first
	for _, size := range []int{freeBody, maxBody} {
		if held, err = f.setAside(r.Context(), source, int64(size)); err != nil {
			return nil, 0, err
		}
		buffer := make([]byte, size+1) // one more shows whether there is more
		n := copy(buffer, body)
		more, err := io.ReadFull(r.Body, buffer[n:])
		if body = buffer[:n+more]; errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			if held > 0 { // for as much as the body might have had
				f.bodies.release(source, held-int64(len(body)))
				body, held = bytes.Clone(body), int64(len(body))
			}
			return body, held, nil
		}
		if err != nil {
			return nil, held, err
		}
	}
	return nil, held, errBodyTooLarge
}

// setAside waits for room for a body, and returns how much of the budget it takes.
func (f *frontDoor) setAside(ctx context.Context, source netip.Prefix, size int64) (held int64, err error) {
	if size > trustBody && f.refusals.exhausted(bucketKey{source: source}) {
		return 0, errSourceLimited
	}
	if size <= freeBody {
		return 0, nil
	}
	return size, f.bodies.acquire(ctx, source, size)
}

// budget limits the bytes of the bodies in flight, in all and by source.
type budget struct {
	mu    sync.Mutex
	free  int64
	held  map[netip.Prefix]int64
	freed chan struct{} // closed when something is given back
}

func newBudget() *budget {
	return &budget{free: bodyBudget, held: map[netip.Prefix]int64{}, freed: make(chan struct{})}
}

// acquire takes size bytes, or returns errNoBudget if they aren't free in time.
func (b *budget) acquire(ctx context.Context, source netip.Prefix, size int64) error {
	timeout := time.NewTimer(bodyBudgetWait)
	defer timeout.Stop()
	for {
		freed, ok := b.take(source, size)
		if ok {
			return nil
		}
		select {
		case <-freed:
		case <-timeout.C:
			return errNoBudget
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take takes size bytes if they are free. Otherwise it returns a channel that is
// closed when that may have changed.
func (b *budget) take(source netip.Prefix, size int64) (freed <-chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free < size || b.held[source]+size > bodyBudgetPerSource {
		return b.freed, false
	}
	b.free -= size
	b.held[source] += size
	return nil, true
}

func (b *budget) release(source netip.Prefix, size int64) {
	if size == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += size
	if b.held[source] -= size; b.held[source] == 0 {
		delete(b.held, source)
	}
	close(b.freed)
	b.freed = make(chan struct{})
}
