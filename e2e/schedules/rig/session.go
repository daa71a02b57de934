package rig

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// browser has the cookies of a session, even after its end: somebody may have copied
// them.
type browser struct {
	cookies []*http.Cookie
	csrf    string
}

// SignIn begins a session under a name with a person's token.
func (c *Client) SignIn(ctx context.Context, who, session string) error {
	g := c.balance(rand.IntN(len(c.replicas)))
	record := history.Request{Replica: g.Name, Who: who, Session: session, Operation: history.SignIn, Method: http.MethodPost, Path: "/sign-in/token"}
	began := c.history.Now()
	err := c.signIn(ctx, g, &record)
	if err != nil {
		record.Error = err.Error()
	}
	c.history.AddSince(began, history.Record{Schedule: history.ScheduleOf("s" + session), Request: &record})
	return err
}

func (c *Client) signIn(ctx context.Context, g *Gantry, record *history.Request) error {
	form := url.Values{"token": {c.bearer(record.Who)}}
	req, err := http.NewRequestWithContext(ctx, record.Method, g.URL+record.Path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // it has no body
	record.Status, record.ID = res.StatusCode, res.Header.Get("X-Request-Id")
	b := browser{cookies: res.Cookies()}
	for _, k := range b.cookies {
		if strings.HasSuffix(k.Name, "csrf") {
			b.csrf = k.Value
		}
	}
	if res.StatusCode != http.StatusSeeOther || b.csrf == "" {
		return fmt.Errorf("sign in: %s without a session", res.Status)
	}
	c.sessions.Store(record.Session, b)
	return nil
}

// authenticate adds the credentials of an Ask to its request.
func (c *Client) authenticate(req *http.Request, a Ask) error {
	if a.Session == "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer(a.Who))
		return nil
	}
	kept, found := c.sessions.Load(a.Session)
	if !found {
		return errors.New("the session didn't begin")
	}
	b := kept.(browser) //nolint:forcetypeassert // nothing else is stored
	for _, k := range b.cookies {
		req.AddCookie(k)
	}
	req.Header.Set("X-CSRF-Token", b.csrf)
	return nil
}
