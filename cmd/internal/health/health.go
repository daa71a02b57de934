// Package health checks a program's own HTTP server. It is the health check of
// images that contain only the program.
package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// askTimeout bounds one request: a server that needs longer is not healthy.
	askTimeout = 3 * time.Second

	// askAgain is the pause between two requests.
	askAgain = 250 * time.Millisecond

	// maxAnswer bounds how much of an answer is read and printed.
	maxAnswer = 4 << 10
)

// Ask returns the answer to a GET of the URL, and an error unless its status is
// 200.
func Ask(ctx context.Context, url string) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	// Proxies are for other machines, and a certificate names how others call this one.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // no secret is sent
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("read the answer of %s: %w", url, err)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s: %s", url, res.Status, body)
	}
	return string(body), nil
}

// Await calls ask until it succeeds, at least once and for at most wait. It returns
// the last error.
func Await(ctx context.Context, wait time.Duration, ask func(context.Context) error) error {
	if wait <= 0 {
		return ask(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var last error
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) { // more informative than the timeout
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", wait, last)
		case <-time.After(askAgain):
		}
	}
}

// Local returns the address at which this machine reaches a server that listens on
// the address.
func Local(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("%q is not an address such as 127.0.0.1:8080", listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}
