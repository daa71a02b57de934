package spacelift_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/spacelift"
)

type signatureVector struct {
	Name   string `json:"name"`
	Secret string `json:"secret"`
	Body   string `json:"body"`
	SHA1   string `json:"X-Signature"`
	SHA256 string `json:"X-Signature-256"`
}

func signatureVectors(t testing.TB) []signatureVector {
	t.Helper()
	raw, err := os.ReadFile("testdata/signature_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []signatureVector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	return vectors
}

// signSHA1 returns the value of SignatureSHA1Header, which Gantry doesn't verify.
func signSHA1(secret, body string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha1=" + hex.EncodeToString(mac.Sum(nil))
}

func TestSignaturesMatchTheVectors(t *testing.T) {
	for _, v := range signatureVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			if got := spacelift.Sign([]byte(v.Secret), []byte(v.Body)); got != v.SHA256 {
				t.Errorf("Sign = %s, want %s", got, v.SHA256)
			}
			if got := signSHA1(v.Secret, v.Body); got != v.SHA1 {
				t.Errorf("the vector's X-Signature is %s, want %s", v.SHA1, got)
			}
			err := spacelift.VerifySignature([]byte(v.Secret), []byte(v.Body), v.SHA256)
			if v.Secret == "" {
				if !errors.Is(err, spacelift.ErrSignatureWrong) {
					t.Errorf("an empty secret verified: %v", err)
				}
			} else if err != nil {
				t.Errorf("VerifySignature: %v", err)
			}
		})
	}
}

func TestVerifySignatureSaysWhatIsWrong(t *testing.T) {
	const secret, body = "local-dev-secret", `{"hello":"world"}`
	good := spacelift.Sign([]byte(secret), []byte(body))
	for _, c := range []struct {
		name, secret, body, header string
		want                       error
	}{
		{"no header", secret, body, "", spacelift.ErrSignatureMissing},
		{"bare hex", secret, body, strings.TrimPrefix(good, "sha256="), spacelift.ErrSignatureMalformed},
		{"SHA-1 in its place", secret, body, signSHA1(secret, body), spacelift.ErrSignatureMalformed},
		{"prefix alone", secret, body, "sha256=", spacelift.ErrSignatureMalformed},
		{"cut short", secret, body, good[:len(good)-2], spacelift.ErrSignatureMalformed},
		{"too long", secret, body, good + "00", spacelift.ErrSignatureMalformed},
		{"not hex", secret, body, "sha256=" + strings.Repeat("zz", 32), spacelift.ErrSignatureMalformed},
		{"two values joined", secret, body, good + ", " + good, spacelift.ErrSignatureMalformed},
		{"another secret", "other", body, good, spacelift.ErrSignatureWrong},
		{"another body", secret, `{"hello": "world"}`, good, spacelift.ErrSignatureWrong},
		{"empty body", secret, "", good, spacelift.ErrSignatureWrong},
		{"empty secret", "", body, spacelift.Sign(nil, []byte(body)), spacelift.ErrSignatureWrong},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := spacelift.VerifySignature([]byte(c.secret), []byte(c.body), c.header)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// Only the one header that Sign makes verifies (in either case of its hex), and
// it stops verifying when a bit of the body or of the signature flips.
func FuzzVerifySignature(f *testing.F) {
	for _, v := range signatureVectors(f) {
		f.Add([]byte(v.Secret), []byte(v.Body), v.SHA256)
		f.Add([]byte(v.Secret), []byte(v.Body), v.SHA1)
	}
	f.Add([]byte("s"), []byte{}, "")
	f.Add([]byte("s"), []byte("\x00"), "sha256=")
	f.Add([]byte{}, []byte("b"), "SHA256="+strings.Repeat("0", 64))
	f.Fuzz(func(t *testing.T, secret, body []byte, header string) {
		right := spacelift.Sign(secret, body)
		same := strings.HasPrefix(header, "sha256=") && strings.EqualFold(header, right)
		if verified := spacelift.VerifySignature(secret, body, header) == nil; verified != (same && len(secret) > 0) {
			t.Fatalf("VerifySignature(%q) = %v, the right one is %q", header, verified, right)
		}
		if len(secret) == 0 {
			return
		}
		if err := spacelift.VerifySignature(secret, append(slices.Clip(body), 0), right); !errors.Is(err, spacelift.ErrSignatureWrong) {
			t.Fatalf("a longer body verified: %v", err)
		}
		bent := []byte(right)
		last := len(bent) - 1
		if bent[last]++; bent[last] == '9'+1 || bent[last] == 'f'+1 {
			bent[last] = '0'
		}
		if err := spacelift.VerifySignature(secret, body, string(bent)); !errors.Is(err, spacelift.ErrSignatureWrong) {
			t.Fatalf("a bent signature verified: %v", err)
		}
	})
}
