package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// serveBare is the baseline: a handler that checks the signature, decodes into a
// plain struct and answers. It stores nothing.
func serveBare(ctx context.Context, address string) error {
	type notification struct {
		Account      string `json:"account"`
		State        string `json:"state"`
		StateVersion int64  `json:"stateVersion"`
		Timestamp    int64  `json:"timestamp"`
		Run          struct {
			ID     string `json:"id"`
			Type   string `json:"type"`
			Branch string `json:"branch"`
			Commit struct {
				Hash        string `json:"hash"`
				Message     string `json:"message"`
				AuthorLogin string `json:"authorLogin"`
			} `json:"commit"`
			Delta *struct {
				Added, Changed, Deleted, Resources int
			} `json:"delta"`
		} `json:"run"`
		Stack struct {
			ID     string   `json:"id"`
			Labels []string `json:"labels"`
		} `json:"stack"`
	}
	return serve(ctx, address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil || spacelift.VerifySignature([]byte(webhookSecret), body, r.Header.Get(spacelift.SignatureHeader)) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var n notification
		if err := json.Unmarshal(body, &n); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"outcome":"accepted"}`)
	}))
}

// serve serves a handler as the product serves its own: with the same limits of time,
// each of which costs every request a microsecond, so that only handlers are compared.
func serve(ctx context.Context, address string, handler http.Handler) error {
	srv := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
