package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/config"
)

// certificate returns the files of a certificate for gantry.example.com, and the authority
// that signed it.
func certificate(t *testing.T, from, until time.Time) (config.TLS, *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "acme's own"}, NotBefore: from, NotAfter: until, DNSNames: []string{"gantry.example.com"},
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	files := config.TLS{CertFile: filepath.Join(t.TempDir(), "cert.pem"), KeyFile: filepath.Join(t.TempDir(), "key.pem")}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, content := range map[string][]byte{files.CertFile: cert, files.KeyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	authority := x509.NewCertPool()
	authority.AppendCertsFromPEM(cert)
	return files, authority
}

// Gantry's own certificate is for the name at which Spacelift reaches it, and lasts.
func TestCertificates(t *testing.T) {
	at := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	files, signer := certificate(t, at.AddDate(0, -1, 0), at.AddDate(0, 1, 0))
	const here = "https://gantry.example.com/webhook"
	for _, tt := range []struct {
		name, url string
		at        time.Time
		trusts    *x509.CertPool
		verdict   Verdict
		says      string
	}{
		{"fits", here, at, signer, OK, "for gantry.example.com, until 2026-02-05"},
		{"no address", "", at, signer, OK, "until 2026-02-05"},
		{"another name", "https://hooks.example.com/webhook", at, signer, Warn, "is for gantry.example.com, not for hooks.example.com"},
		{"plain http", "http://gantry.example.com/webhook", at, signer, Warn, "speaks TLS"},
		{"nobody's authority", here, at, x509.NewCertPool(), Warn, "acme's own"},
		{"ends soon", here, at.AddDate(0, 0, 20), signer, Warn, "ends on 2026-02-05"},
		{"has ended", here, at.AddDate(0, 2, 0), signer, Fail, "ended on 2026-02-05"},
		{"not yet", here, at.AddDate(0, -2, 0), signer, Fail, "isn't valid before 2025-12-05"},
	} {
		f := judgeCertificate(files, tt.url, tt.at, tt.trusts)
		if f.Verdict != tt.verdict || !strings.Contains(f.Text, tt.says) || f.Fix == "" != (tt.verdict == OK) {
			t.Errorf("%s: %+v", tt.name, f)
		}
	}
	if f := judgeCertificate(config.TLS{}, here, at, signer); f.Verdict != OK {
		t.Errorf("without a certificate: %+v", f)
	}
}
