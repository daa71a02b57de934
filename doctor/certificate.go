package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/gantryhq/gantry/config"
)

func checkCertificate(_ context.Context, p *Machine) Finding {
	if p.LoadErr != nil {
		return leftOut
	}
	return judgeCertificate(p.Loaded.TLS, p.URL, time.Now(), nil)
}

// renewal is the time before the end of a certificate from which it needs attention.
const renewal = 14 * 24 * time.Hour

// judgeCertificate reports whether Gantry's own certificate, if it has one, fits the address
// of the webhook. Authorities are those that sign certificates; nil
// for the system's.
func judgeCertificate(t config.TLS, address string, at time.Time, authorities *x509.CertPool) Finding {
	opened, err := t.Open(slog.New(slog.DiscardHandler))
	if opened == nil && err == nil {
		return ok("Gantry has none: the listener speaks plain HTTP")
	}
	if err != nil {
		return leftOut // the check configuration names the fault
	}
	pair, err := opened.Get(nil)
	if err != nil {
		return leftOut
	}
	leaf, until := pair.Leaf, pair.Leaf.NotAfter.UTC().Format(time.DateOnly)
	u, err := url.Parse(address)
	switch {
	case !at.Before(leaf.NotAfter):
		return fail("replace "+t.CertFile+" and "+t.KeyFile+"; gantry serve reads them again", "%s ended on %s", t.CertFile, until)
	case at.Before(leaf.NotBefore):
		return fail("correct this machine's clock, or replace the certificate", "%s isn't valid before %s", t.CertFile, leaf.NotBefore.UTC().Format(time.RFC3339))
	case address != "" && err == nil && u.Scheme == "http":
		return warn("give --url with https, unless a proxy in front of Gantry takes http", "the listener speaks TLS (tls.certFile), but --url is http")
	case address != "" && err == nil && leaf.VerifyHostname(u.Hostname()) != nil:
		return warn("get a certificate for that name, unless a proxy in front of Gantry has one",
			"%s is for %s, not for %s", t.CertFile, strings.Join(namesOn(leaf), ", "), u.Hostname())
	}
	chain := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			chain.AddCert(c)
		}
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: authorities, Intermediates: chain, CurrentTime: at})
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return warn("put the whole chain into tls.certFile, of an authority that Spacelift trusts, unless a proxy in front of Gantry has another certificate",
			"no authority that this machine trusts has signed %s (issuer: %s), so Spacelift may refuse it", t.CertFile, leaf.Issuer)
	}
	if leaf.NotAfter.Sub(at) < renewal {
		return warn("replace it soon; gantry serve reads it again", "%s ends on %s", t.CertFile, until)
	}
	return ok("it is for %s, until %s", strings.Join(namesOn(leaf), ", "), until)
}

// namesOn returns the names and addresses that a certificate is for.
func namesOn(leaf *x509.Certificate) []string {
	all := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		all = []string{"no name"}
	}
	return all
}

// CertificateNote returns what is wrong with Gantry's own certificate for an address, and the
// fix; empty if it fits.
func CertificateNote(t config.TLS, address string) string {
	f := judgeCertificate(t, address, time.Now(), nil)
	if f.Verdict == "" || f.Verdict == OK {
		return ""
	}
	return fmt.Sprintf("%s: %s", f.Text, f.Fix)
}
