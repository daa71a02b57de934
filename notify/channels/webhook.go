package channels

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/untrusted"
)

// Key sizes of the specification: "At least 24 bytes (192 bits, 512 maximum)". A
// shorter key can be guessed; a longer one is probably the wrong file.
const (
	minKey = 24
	maxKey = 64
)

// signingKeys returns the keys in a text with space between them. Errors name the
// number of an invalid key, never its content.
func signingKeys(secrets string) ([][]byte, error) {
	var keys [][]byte
	for i, secret := range strings.Fields(secrets) {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			return nil, fmt.Errorf("has a signing secret (number %d) that is not base64", i+1)
		}
		if len(key) < minKey || len(key) > maxKey {
			return nil, fmt.Errorf("has a signing secret (number %d) of %d bytes; it must have %d to %d", i+1, len(key), minKey, maxKey)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("has no signing secret")
	}
	return keys, nil
}

// webhookBody is the payload the specification recommends.
type webhookBody struct {
	Type      string      `json:"type"`
	Timestamp time.Time   `json:"timestamp"`
	Data      webhookData `json:"data"`
}

type webhookData struct {
	Version int `json:"version"`
	notify.Message
}

func encodeWebhook(m notify.Message) ([]byte, error) {
	m.At = m.At.UTC()
	if m.Urgency == "" {
		m.Urgency = notify.Info
	}
	m.Text = untrusted.Cut(m.Text, maxWebhookText, utf16.RuneLen)
	return encodeJSON(webhookBody{Type: m.Type, Timestamp: m.At, Data: webhookData{Version: notify.MessageVersion, Message: m}})
}

// maxWebhookText keeps payloads near the 20 KB that the specification
// recommends; a note or a log's tail may be of any length.
const maxWebhookText = 16_000

// sign sets the headers of the specification: the message's id, the time of this
// attempt, and each key's signature over both and the body.
func sign(h http.Header, keys [][]byte, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, 0, len(keys))
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", strings.Join(signatures, " "))
}

// encodeJSON doesn't escape <, > and &: these bodies don't go into HTML.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the message: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
