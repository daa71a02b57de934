package service_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/config"
)

// certificate returns a new certificate of 127.0.0.1 and its key, in PEM.
func certificate(t *testing.T, serial int64) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"gantry.example.com"},
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes}))
}

// withTLS gives the public listener a certificate.
func (r *rig) withTLS(serial int64) (cert string) {
	r.Helper()
	cert, key := certificate(r.T, serial)
	r.config.TLS = config.TLS{CertFile: r.file("cert.pem", cert), KeyFile: r.file("key.pem", key)}
	return cert
}

// handshake returns the answer to a GET of /healthz by TLS from those who trust the
// certificates and speak no version above max.
func (g *gantry) handshake(maxVersion uint16, trusted ...string) (*http.Response, error) {
	g.Helper()
	roots := x509.NewCertPool()
	for _, c := range trusted {
		roots.AppendCertsFromPEM([]byte(c))
	}
	transport := &http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "gantry.example.com", MinVersion: tls.VersionTLS10, MaxVersion: maxVersion},
	}
	req, err := http.NewRequestWithContext(g.Context(), http.MethodGet, strings.Replace(g.url, "http://", "https://", 1)+"/healthz", nil)
	g.must(err)
	res, err := (&http.Client{Transport: transport, Timeout: patience}).Do(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	return res, err
}

// With a certificate, the public listener speaks TLS 1.2 and 1.3 with HTTP/2, and
// nothing older. The operations listener remains as it is.
func TestTLS(t *testing.T) {
	t.Parallel()
	for _, role := range []string{config.RoleAll, config.RoleWorker} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.config.Role = role
			cert := r.withTLS(1)
			g := r.start()
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				res, err := g.handshake(version, cert)
				r.must(err)
				if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 || res.TLS.Version != version {
					t.Errorf("it answers %s with %s and TLS %x, want 200 with HTTP/2 and TLS %x", res.Status, res.Proto, res.TLS.Version, version)
				}
			}
			if res, err := g.handshake(tls.VersionTLS11, cert); err == nil {
				t.Errorf("it speaks TLS %x", res.TLS.Version)
			}
			if a := g.get("/healthz"); a.Status != http.StatusBadRequest {
				t.Errorf("plain HTTP is answered with %d %s, want 400", a.Status, a.Body)
			}
			if a := g.operator("/healthz"); a.Status != http.StatusOK {
				t.Errorf("operators get %d %s", a.Status, a.Body)
			}
		})
	}
}

// A certificate that is replaced in its files counts without a restart. Files that
// don't fit each other leave the last one in effect.
func TestCertificateIsReplaced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Role = config.RoleAPI
	cert := r.withTLS(1)
	g := r.start()
	serial := func(trusted ...string) int64 {
		t.Helper()
		res, err := g.handshake(tls.VersionTLS13, trusted...)
		r.must(err)
		return res.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(cert); got != 1 {
		t.Fatalf("it shows certificate %d, want 1", got)
	}
	next, key := certificate(t, 2)
	r.rotate(r.config.TLS.CertFile, next) // its key isn't there yet
	g.eventually(func() bool {
		if got := serial(cert, next); got != 1 {
			t.Fatalf("it shows certificate %d before its key is there", got)
		}
		return r.log.find("certificate can't be read again") != ""
	}, func() string { return "the missing key isn't logged" })
	r.rotate(r.config.TLS.KeyFile, key)
	g.eventually(func() bool { return serial(cert, next) == 2 }, func() string { return "it shows the former certificate" })
	r.must(os.Remove(r.config.TLS.KeyFile))
	if got := serial(cert, next); got != 2 {
		t.Errorf("without the file of the key it shows certificate %d, want 2", got)
	}
	if bytes.Contains([]byte(r.log.find("certificate read")), []byte("PRIVATE")) {
		t.Error("the log shows the key")
	}
}
