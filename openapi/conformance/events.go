package conformance

import (
	"bytes"
	"fmt"
)

const eventStream = "text/event-stream"

// events checks a stream of server-sent events as it arrives.
type events struct{ rest []byte }

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
		id, data, _ := bytes.Cut(more, []byte("\n"))
		run, isData := bytes.CutPrefix(data, []byte("data: "))
		if string(name) != "event: run" && string(name) != "event: end" || !bytes.HasPrefix(id, []byte("id: ")) || !isData {
			return fmt.Errorf("the stream has an event that the contract does not know: %.200q", event)
		}
		if err := checkRun(run); err != nil {
			return fmt.Errorf("the run of an event: %w", err)
		}
	}
}
