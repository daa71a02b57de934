package authority_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/authority/issuertest"
)

var signIn = authority.SignIn{Issuer: "sso", ClientID: "web", ClientSecretFile: "a", SessionKeyFile: "b", Idle: time.Hour, Lifetime: 12 * time.Hour}

func sessions(t *testing.T) *authority.Sessions {
	t.Helper()
	s, err := authority.NewSessions(signIn, "https://gantry.example.com", trusting(t, issuertest.New(t), nil), "secret", strings.Repeat("k", 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A session ends when it was idle for too long, when it is too old however busy, and
// when the person signs out.
func TestSessionEnds(t *testing.T) {
	s, began := sessions(t), time.Now()
	session := authority.Session{ID: "1", Identity: authority.Identity{Issuer: "sso", Name: "jane"}, SignedIn: began, Seen: began}
	at := func(seen, now time.Duration) error {
		session.Seen = began.Add(seen)
		value, err := s.Seal(session)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Open(value, began.Add(now))
		if err == nil && got.Identity.Name != "jane" {
			t.Errorf("it is %+v", got)
		}
		return err
	}
	for _, tt := range []struct {
		seen, now time.Duration
		want      error
	}{
		{0, 59 * time.Minute, nil}, {0, time.Hour, authority.ErrSessionEnded},
		{50 * time.Minute, 100 * time.Minute, nil}, {11*time.Hour + 59*time.Minute, 12*time.Hour - time.Second, nil},
		{11*time.Hour + 59*time.Minute, 12 * time.Hour, authority.ErrSessionEnded},
	} {
		if err := at(tt.seen, tt.now); !errors.Is(err, tt.want) {
			t.Errorf("seen after %s, at %s: %v", tt.seen, tt.now, err)
		}
	}
	s.End(session, began)
	if err := at(0, time.Minute); !errors.Is(err, authority.ErrSessionEnded) {
		t.Errorf("after the person signed out: %v", err)
	}
}

// Nothing but Gantry's own sealed session opens one.
func TestForgedSessions(t *testing.T) {
	s := sessions(t)
	value, err := s.Seal(authority.Session{ID: "1", SignedIn: time.Now(), Seen: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	_, note, err := s.Begin(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(value)
	flipped[len(flipped)/2] ^= 1
	for name, forged := range map[string]string{"empty": "", "text": "session", "a note of a sign-in": note, "flipped": string(flipped), "cut": value[:len(value)-4]} {
		if _, err := s.Open(forged, time.Now()); !errors.Is(err, authority.ErrNoSession) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if strings.Contains(value, "jane") {
		t.Error("it isn't encrypted")
	}
	large := authority.Session{ID: "1", Identity: authority.Identity{Groups: []string{strings.Repeat("g", 5000)}}}
	if _, err := s.Seal(large); err == nil || !strings.Contains(err.Error(), "too many groups") {
		t.Errorf("too large: %v", err)
	}
}

func TestInvalidSignIn(t *testing.T) {
	if problems := signIn.Problems([]authority.Issuer{{Name: "sso"}}); len(problems) != 0 {
		t.Errorf("valid: %v", problems)
	}
	if problems := (authority.SignIn{Idle: time.Hour, Lifetime: time.Hour}).Problems(nil); len(problems) != 0 {
		t.Errorf("none: %v", problems)
	}
	text := errors.Join(authority.SignIn{Issuer: "other", Idle: time.Second, Lifetime: time.Hour * 1000}.Problems(nil)...).Error()
	for _, want := range []string{
		"signIn.issuer: issuers has none", "signIn.clientId: it is missing", "signIn.clientSecretFile: it is missing", "signIn.sessionKeyFile: it is missing", "signIn.idle:", "signIn.lifetime:",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
	for key, secret := range map[string]string{"short": "x", strings.Repeat("k", 32): ""} {
		if _, err := authority.NewSessions(signIn, "https://gantry.example.com", trusting(t, issuertest.New(t), nil), secret, key); err == nil {
			t.Errorf("key %q and secret %q are accepted", key, secret)
		}
	}
}
