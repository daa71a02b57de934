package conformance

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
)

const eventStream = "text/event-stream"

// contents are the schemas of the events of each stream, by the end of its path; empty
// for an event without content.
var contents = map[string]map[string]string{
	"/v1/events":    {"ready": "", "reset": "", "progress": "", "run": "RunSummary", "chain": "ChainSummary", "account": "Account"},
	"/{run}/events": {"run": "Run", "end": "Run"},
}

// events checks a stream of server-sent events as it arrives.
type events struct {
	contents map[string]string
	rest     []byte
}

// eventsOf returns the check of the stream that answers a request.
func eventsOf(req *http.Request) *events {
	if strings.HasSuffix(req.URL.Path, "/v1/events") {
		return &events{contents: contents["/v1/events"]}
	}
	return &events{contents: contents["/{run}/events"]}
}

// read takes the next part of the stream, and checks each event that is whole.
func (e *events) read(part []byte) error {
	e.rest = append(e.rest, part...)
	for {
		event, rest, whole := bytes.Cut(e.rest, []byte("\n\n"))
		if !whole {
			return nil
		}
		e.rest = rest
		if bytes.HasPrefix(event, []byte(":")) || bytes.HasPrefix(event, []byte("retry: ")) { // a sign of life, the first line
			continue
		}
		name, more, _ := bytes.Cut(event, []byte("\n"))
		id, line, _ := bytes.Cut(more, []byte("\n"))
		data, isData := bytes.CutPrefix(line, []byte("data: "))
		schema, known := e.contents[strings.TrimPrefix(string(name), "event: ")]
		if !known || !bytes.HasPrefix(id, []byte("id: ")) || !isData {
			return fmt.Errorf("the stream has an event that the contract does not know: %.200q", event)
		}
		if err := checkContent(schema, data); err != nil {
			return fmt.Errorf("the content of an event: %w", err)
		}
	}
}
