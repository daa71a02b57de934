// Package health asks a program's own HTTP server how it is. It is the health
// check of images that hold nothing but the program.
package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// askTimeout bounds one question: who needs longer is not healthy.
	askTimeout = 3 * time.Second

	// askAgain is the pause between two questions.
	askAgain = 250 * time.Millisecond

	// maxAnswer bounds what is read and shown of an answer.
	maxAnswer = 4 << 10
)

// Ask returns what a GET of the URL is answered, and an error unless that is
// 200.
func Ask(ctx context.Context, url string) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	// A proxy for the world outside is none for this machine.
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
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

// Await asks until the answer is no error, for as long as wait, and once at
// least. The error is that of the last answer.
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
		if last == nil || !errors.Is(err, context.DeadlineExceeded) { // says more than that time is up
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", wait, last)
		case <-time.After(askAgain):
		}
	}
}

// Local returns where a server that listens on the address is reached from its
// own machine.
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
