package simulator

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode"

	"github.com/oklog/ulid/v2"
)

// randomSource lets the seeded generator be read like crypto/rand.
type randomSource struct{ s *Simulator }

func (r randomSource) Read(p []byte) (int, error) { return copy(p, r.s.randomBytes(len(p))), nil }

func (s *Simulator) randomBytes(n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, s.random.Uint64())
	}
	return b[:n]
}

func (s *Simulator) randomHex(bytes int) string { return hex.EncodeToString(s.randomBytes(bytes)) }

// newID returns a ULID of the current time. Called under the lock.
func (s *Simulator) newID() string {
	return ulid.MustNew(ulid.Timestamp(s.clock.Now()), randomSource{s}).String()
}

// slug makes an id from a name the way Spacelift does for stacks and named
// webhooks: lower case, everything else a single dash.
func slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.TrimSuffix(b.String(), "-")
}
