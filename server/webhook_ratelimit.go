package server

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const reasonTooMany = "too-many-failures"

// RefusalLimit bounds what one source may spend on requests that are not
// authentic: a token bucket per address. Authentic requests are never limited.
type RefusalLimit struct {
	PerSecond float64 // refill; 0 means 5
	Burst     int     // size; 0 means 50
	Sources   int     // addresses remembered, the least recently refused is forgotten first; 0 means 4096
}

type refusalLimiter struct {
	limit RefusalLimit

	mu      sync.Mutex
	buckets map[string]*list.Element
	recent  *list.List // of *refusalBucket, most recent first
}

type refusalBucket struct {
	source string
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
	return &refusalLimiter{limit: l, buckets: map[string]*list.Element{}, recent: list.New()}
}

// spend takes a token of the source. It returns zero if there was one, and
// else how long until there will be.
func (l *refusalLimiter) spend(source string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.buckets[source]
	if !ok {
		if l.recent.Len() >= l.limit.Sources {
			oldest := l.recent.Back()
			delete(l.buckets, oldest.Value.(*refusalBucket).source)
			l.recent.Remove(oldest)
		}
		e = l.recent.PushFront(&refusalBucket{source, rate.NewLimiter(rate.Limit(l.limit.PerSecond), l.limit.Burst)})
		l.buckets[source] = e
	}
	l.recent.MoveToFront(e)
	if e.Value.(*refusalBucket).bucket.Allow() {
		return 0
	}
	return time.Duration(float64(time.Second) / l.limit.PerSecond)
}
