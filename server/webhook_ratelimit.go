package server

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gantryhq/gantry/spacelift"
)

const reasonTooMany = "too-many-failures"

// RefusalLimit bounds what one source may spend on requests that are not
// authentic: a token bucket per address, or per /64 of IPv6. Authentic requests
// are never limited, unless they are over 64 KiB.
type RefusalLimit struct {
	PerSecond float64 // refill; 0 means 5
	Burst     int     // size; 0 means 50
	Sources   int     // buckets remembered, the least recently used is forgotten first; 0 means 4096
}

type refusalLimiter struct {
	limit RefusalLimit

	mu      sync.Mutex
	buckets map[bucketKey]*list.Element
	recent  *list.List // of *refusalBucket, most recent first
}

// bucketKey names a bucket. Requests that name a configured account, and may be
// its webhook with another secret, have a bucket of their own: strangers behind
// the same proxy don't keep them out of the log.
type bucketKey struct {
	source  netip.Prefix
	account spacelift.Account
}

type refusalBucket struct {
	key    bucketKey
	bucket *rate.Limiter
}

func newRefusalLimiter(l RefusalLimit) *refusalLimiter {
	if l.PerSecond == 0 {
		l.PerSecond = 5
	}
	if l.Burst == 0 {
		l.Burst = 50
	}
	if l.Sources == 0 {
		l.Sources = 4096
	}
	return &refusalLimiter{limit: l, buckets: map[bucketKey]*list.Element{}, recent: list.New()}
}

// spend takes a token from a bucket. It returns zero if there was one, and else
// the time until there will be.
func (l *refusalLimiter) spend(key bucketKey) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.buckets[key]
	if !ok {
		if l.recent.Len() >= l.limit.Sources {
			oldest := l.recent.Back()
			delete(l.buckets, oldest.Value.(*refusalBucket).key)
			l.recent.Remove(oldest)
		}
		e = l.recent.PushFront(&refusalBucket{key, rate.NewLimiter(rate.Limit(l.limit.PerSecond), l.limit.Burst)})
		l.buckets[key] = e
	}
	l.recent.MoveToFront(e)
	if e.Value.(*refusalBucket).bucket.Allow() {
		return 0
	}
	return l.refill()
}

// refill returns the time that a token takes.
func (l *refusalLimiter) refill() time.Duration {
	return time.Duration(float64(time.Second) / l.limit.PerSecond)
}

// exhausted reports whether a bucket has no token left. It takes none.
func (l *refusalLimiter) exhausted(key bucketKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.buckets[key]
	return ok && e.Value.(*refusalBucket).bucket.Tokens() < 1
}
