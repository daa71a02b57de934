package main

import (
	"encoding/json"
	"fmt"
	"strconv"

	"gopkg.in/yaml.v3"
)

// jsonOf converts YAML to JSON. It refuses numbers that JSON would spell
// differently: YAML reads 00012345 as 5349, which a secret surely isn't.
func jsonOf(content []byte) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		return nil, err
	}
	if err := keepText(&document); err != nil {
		return nil, err
	}
	var values map[string]any
	if err := document.Decode(&values); err != nil {
		return nil, err
	}
	return json.Marshal(values)
}

func keepText(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		switch n.ShortTag() {
		case "!!timestamp":
			n.Tag = "!!str"
		case "!!int", "!!float":
			var number json.Number
			if json.Unmarshal([]byte(n.Value), &number) != nil {
				return fmt.Errorf("line %d: %s is a number that can be read in several ways; write it in quotes, or in plain digits", n.Line, strconv.Quote(n.Value))
			}
		}
	}
	for _, child := range n.Content {
		if err := keepText(child); err != nil {
			return err
		}
	}
	return nil
}
