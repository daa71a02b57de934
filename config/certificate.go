package config

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Certificate is a certificate in files that may change, for a TLS server.
type Certificate struct {
	files TLS
	log   *slog.Logger

	mu        sync.Mutex
	checked   time.Time
	cert, key []byte // contents of the files
	current   *tls.Certificate
}

// Open returns the certificate, or nil if none is configured. It returns an error if
// the files can't be used together.
func (t TLS) Open(log *slog.Logger) (*Certificate, error) {
	if t.CertFile == "" {
		return nil, nil //nolint:nilnil // none is a valid choice
	}
	c := &Certificate{files: t, log: log, checked: time.Now()}
	if err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

// Get returns the current certificate, for tls.Config.GetCertificate. If the files
// can't be used any more, the last certificate remains, and each check logs the error.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < recheck {
		return c.current, nil
	}
	c.checked = time.Now()
	if err := c.read(); err != nil {
		c.log.Error("certificate can't be read again; the last one remains in effect", "error", err)
	}
	return c.current, nil
}

// read replaces the certificate if the files changed.
func (c *Certificate) read() error {
	cert, err := os.ReadFile(c.files.CertFile)
	if err != nil {
		return fmt.Errorf("tls.certFile: %w", err)
	}
	key, err := os.ReadFile(c.files.KeyFile)
	if err != nil {
		return fmt.Errorf("tls.keyFile: %w", err)
	}
	if bytes.Equal(cert, c.cert) && bytes.Equal(key, c.key) {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("tls.certFile %s and tls.keyFile %s can't be used together: %w; give a certificate with its chain and its own key, in PEM", c.files.CertFile, c.files.KeyFile, err)
	}
	c.cert, c.key, c.current = cert, key, &pair
	c.log.Info("certificate read", "file", c.files.CertFile, "names", pair.Leaf.DNSNames, "until", pair.Leaf.NotAfter)
	return nil
}
