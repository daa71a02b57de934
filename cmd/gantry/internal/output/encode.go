package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"gopkg.in/yaml.v3"

	"github.com/gantryhq/gantry/untrusted"
)

// Encode prints a value as JSON or YAML, or what --jq selects from it.
func (p *Printer) Encode(v any) error {
	switch {
	case p.jq != nil:
		return p.query(v)
	case p.Format == YAML:
		return writeYAML(p.Out, v)
	}
	return WriteJSON(p.Out, v, "  ")
}

// EncodeLine is Encode for one of several values: JSON on a line of its own, or a
// document of YAML.
func (p *Printer) EncodeLine(v any) error {
	switch {
	case p.jq != nil:
		return p.query(v)
	case p.Format == YAML:
		fmt.Fprintln(p.Out, "---")
		return writeYAML(p.Out, v)
	}
	return WriteJSON(p.Out, v, "")
}

// query prints each result of --jq on a line: a text as it is, and anything else as JSON.
func (p *Printer) query(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var decoded any
	if err := json.Unmarshal(raw, &decoded); err != nil {
		return err
	}
	results := p.jq.Run(decoded)
	for {
		result, more := results.Next()
		if !more {
			return nil
		}
		switch result := result.(type) {
		case error:
			return fmt.Errorf("--jq: %w", result)
		case string:
			if _, err := fmt.Fprintln(p.Out, result); err != nil {
				return err
			}
		default:
			if err := WriteJSON(p.Out, result, ""); err != nil {
				return err
			}
		}
	}
}

// writeYAML writes a value as YAML, with the names and the order that it has in JSON.
func writeYAML(w io.Writer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(escapeObeyed(string(raw))), &document); err != nil { // JSON is YAML
		return err
	}
	restyle(&document)
	var text bytes.Buffer
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	if err := e.Encode(&document); err != nil {
		return err
	}
	_, err = io.WriteString(w, escapeObeyed(text.String()))
	return err
}

// restyle lets the encoder choose the style of each value, which JSON writes in flow
// style. A text with characters that a terminal obeys stays in double quotes, where
// they can be escaped.
func restyle(n *yaml.Node) {
	n.Style = 0
	for _, r := range n.Value {
		if untrusted.Obeyed(r) && r != '\n' {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	for _, child := range n.Content {
		restyle(child)
	}
}
