package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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
	// another content is a mistake, and is refused by whoever remembers the key.
	content string
}

// changeOf names the request of an operation. what is everything the caller
// gave beside the key.
func changeOf(ctx context.Context, operation string, key *string, what any) (change, error) {
	if key == nil {
		return change{}, nil
	}
	content, err := json.Marshal(what)
	if err != nil {
		return change{}, fmt.Errorf("name the request: %w", err)
	}
	return change{
		key:     digest([]byte(principalOf(ctx).Name), []byte(*key)),
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

// thingID is the id of a thing that the request makes: the same for a repeat.
func (c change) thingID() string {
	if c.key == "" {
		return ulid.MustNew(ulid.Timestamp(time.Now()), rand.Reader).String()
	}
	sum := sha256.Sum256([]byte(c.key))
	return ulid.ULID(sum[:16]).String()
}
