package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gantryhq/gantry/gen/api"
)

// peerHeader marks a request that a replica passes on: the one that gets it answers alone.
const peerHeader = "Gantry-Peer"

// Limits of requests to other replicas. A replica that is away must not hold up a list.
const (
	peerDialTimeout = time.Second
	peerTimeout     = 3 * time.Second
	idlePeer        = 30 * time.Second // that an unused connection stays open
	maxPeerAnswer   = 16 << 20
)

// ParsePeer reads an address of other replicas, such as http://gantry-headless:8080.
func ParsePeer(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%q is not an address such as http://gantry-headless:8080", address)
	}
	return u, nil
}

// peers asks other replicas on behalf of a caller, with the caller's own token.
type peers struct {
	at     []peerAddress
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// peerAddress is an address of one replica, or a name of several.
type peerAddress struct {
	url    *url.URL
	client *http.Client
}

func newPeers(addresses []string) (*peers, error) {
	p := &peers{lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
	for _, a := range addresses {
		u, err := ParsePeer(a)
		if err != nil {
			return nil, fmt.Errorf("peers: %w", err)
		}
		p.at = append(p.at, peerAddress{u, &http.Client{
			// The token goes to the configured addresses alone: no proxy, no redirect.
			Transport: &http.Transport{
				DialContext:     (&net.Dialer{Timeout: peerDialTimeout}).DialContext,
				TLSClientConfig: &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12},
				IdleConnTimeout: idlePeer, MaxIdleConnsPerHost: 2,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       peerTimeout,
		}})
	}
	return p, nil
}

// peerAnswer is the answer of one replica, or why there is none.
type peerAnswer struct {
	address string
	status  int
	header  http.Header
	body    []byte
	err     error
}

// ask sends a call to all other replicas, and returns their answers in no order. Replicas
// that are asked through several addresses, this one among them, answer several times.
func (p *peers) ask(ctx context.Context, from string, c *call) []peerAnswer {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	var mu sync.Mutex
	var all []peerAnswer
	var asked sync.WaitGroup
	for _, at := range p.at {
		asked.Go(func() {
			hosts, err := p.hosts(ctx, at.url)
			if err != nil {
				hosts = []string{""}
			}
			for _, host := range hosts {
				asked.Go(func() {
					a := peerAnswer{address: at.url.Host, err: err}
					if err == nil {
						a = at.ask(ctx, host, from, c)
					}
					mu.Lock()
					defer mu.Unlock()
					all = append(all, a)
				})
			}
		})
	}
	asked.Wait()
	return all
}

// hosts returns the hosts and ports of all replicas with an address. Of a name with IPv4
// and IPv6 addresses it takes the former: they are the same replicas.
func (p *peers) hosts(ctx context.Context, u *url.URL) (all []string, err error) {
	addresses := []netip.Addr{}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		addresses = append(addresses, a)
	} else if addresses, err = p.lookup(ctx, u.Hostname()); err != nil {
		return nil, err
	}
	v4 := func(a netip.Addr) bool { return a.Unmap().Is4() }
	mixed := slices.ContainsFunc(addresses, v4)
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	for _, a := range addresses {
		if !mixed || v4(a) {
			all = append(all, net.JoinHostPort(a.Unmap().String(), port))
		}
	}
	return all, nil
}

// ask sends a call to one replica.
func (at peerAddress) ask(ctx context.Context, host, from string, c *call) peerAnswer {
	a := peerAnswer{address: host}
	target := *c.request.URL
	target.Scheme, target.Host = at.url.Scheme, host
	var r *http.Request
	if r, a.err = http.NewRequestWithContext(ctx, c.request.Method, target.String(), nil); a.err != nil {
		return a
	}
	r.Host = at.url.Host
	for _, name := range []string{"Authorization", "Cookie", csrfHeader, "Idempotency-Key"} {
		if value := c.request.Header.Get(name); value != "" {
			r.Header.Set(name, value)
		}
	}
	r.Header.Set(requestIDHeader, c.requestID)
	r.Header.Set(peerHeader, from)
	response, err := at.client.Do(r)
	if err != nil {
		a.err = err
		return a
	}
	defer func() { _ = response.Body.Close() }()
	a.status, a.header = response.StatusCode, response.Header
	a.body, a.err = io.ReadAll(io.LimitReader(response.Body, maxPeerAnswer))
	return a
}

// refusal returns the problem that a replica answers with; ok is false if it doesn't.
func (a *peerAnswer) refusal() (p api.Problem, ok bool) {
	ok = a.err == nil && json.Unmarshal(a.body, &p) == nil && strings.HasPrefix(p.Type, problemTypePrefix) && p.Status == a.status
	return p, ok
}

// problem explains to the caller why a replica's deliveries are missing.
func (a *peerAnswer) problem() string {
	if e, ok := errors.AsType[*url.Error](a.err); ok && e.Timeout() {
		return fmt.Sprintf("it did not answer within %s", peerTimeout)
	} else if ok {
		return e.Err.Error()
	}
	if a.err != nil {
		return a.err.Error()
	}
	if p, ok := a.refusal(); ok {
		return fmt.Sprintf("it answers %d: %s", a.status, p.Title)
	}
	return fmt.Sprintf("it answers %d, which is not an answer of Gantry's API", a.status)
}

// fromPeer reports whether another replica passed this call on.
func (c *call) fromPeer() bool { return c.request.Header.Get(peerHeader) != "" }

// self returns this replica, as answers name it.
func (h *handlers) self() api.Replica {
	return api.Replica{Name: h.replica, ID: new(h.inbox.IDSuffix())}
}

// askPeers sends a call to all other replicas and lets take read each answer. It returns
// this replica and the others, with those that didn't answer. Several answers of one
// replica count once.
func askPeers[T any](ctx context.Context, h *handlers, replicasOf func(T) []api.Replica, take func(T)) []api.Replica {
	self, c := h.self(), callOf(ctx)
	var others []api.Replica
	seen := map[string]bool{*self.ID: true}
	if !c.fromPeer() {
		for _, a := range h.peers.ask(ctx, *self.ID, c) {
			var answer T
			if a.err != nil || a.status/100 != 2 || json.Unmarshal(a.body, &answer) != nil || len(replicasOf(answer)) != 1 {
				others = append(others, api.Replica{Name: a.address, Problem: new(a.problem())})
				continue
			}
			replica := replicasOf(answer)[0]
			if id := deref(replica.ID); !seen[id] {
				seen[id] = true
				others = append(others, replica)
				take(answer)
			}
		}
	}
	slices.SortFunc(others, func(a, b api.Replica) int { return strings.Compare(a.Name, b.Name) })
	return append([]api.Replica{self}, others...)
}

// replicaAwayError reports that a delivery may be in a replica that didn't answer. It
// holds the addresses, by problem.
type replicaAwayError map[string][]string

func (e replicaAwayError) Error() string {
	var all []string
	for _, problem := range slices.Sorted(maps.Keys(e)) {
		slices.Sort(e[problem])
		all = append(all, fmt.Sprintf("%s (%s)", strings.Join(e[problem], ", "), problem))
	}
	return "this delivery may be at an address that gives no answer; try again, or repair what is wrong there: " + strings.Join(all, "; ")
}

// passOn sends a call about one delivery to the other replicas, and returns the answer of
// the one that has it. missing is the error if none does.
func passOn[T any](ctx context.Context, h *handlers, delivery string, idOf func(T) string, missing error) (answer T, err error) {
	c, self := callOf(ctx), h.inbox.IDSuffix()
	if len(h.peers.at) == 0 || c.fromPeer() || strings.HasSuffix(delivery, self) {
		return answer, missing
	}
	away := replicaAwayError{}
	for _, a := range h.peers.ask(ctx, self, c) {
		p, refused := a.refusal()
		switch {
		case a.err == nil && a.status/100 == 2 && json.Unmarshal(a.body, &answer) == nil && idOf(answer) != "":
			c.note = []any{"passedTo", a.address}
			return answer, nil
		case refused && p.Status == http.StatusNotFound:
		case refused && (p.Status == http.StatusConflict || p.Status == http.StatusUnprocessableEntity):
			return answer, &refusal{p}
		default:
			away[a.problem()] = append(away[a.problem()], a.address)
		}
	}
	if len(away) > 0 {
		return answer, away
	}
	return answer, &refusal{notFound("no replica has this delivery; the log may have dropped it")}
}
