package docs

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// picture is a Mermaid block that is being read, by the grammar our documents use.
type picture struct {
	nodes map[string]string  // the text of each node that has one, by id
	used  map[string]bool    // ids that edges and transitions name
	open  []string           // subgraphs or composite states that are not closed
	line  func(string) error // reads one line of this kind of picture
}

const (
	identifier = `[A-Za-z]\w*(?:-\w+)*`
	nodeText   = `\["[^"]+"\]|\(\["[^"]+"\]\)|\[\("[^"]+"\)\]|\{"[^"]+"\}|\("[^"]+"\)`
)

var (
	flowNode    = regexp.MustCompile(`^(` + identifier + `)(` + nodeText + `)?`)
	flowEdge    = regexp.MustCompile(`^ (?:-->|<-->|-\.->|==>)(?:\|"[^"|]+"\|)? `)
	flowGroup   = regexp.MustCompile(`^subgraph (` + identifier + `)(?: (\["[^"]+"\]))?$`)
	transition  = regexp.MustCompile(`^(` + identifier + `|\[\*\]) --> (` + identifier + `|\[\*\])(?:: [^:;#]+)?$`)
	stateName   = regexp.MustCompile(`^(?:state "([^"]+)" as (` + identifier + `)|(` + identifier + `): ([^:;#]+))$`)
	participant = regexp.MustCompile(`^(?:participant|actor) (` + identifier + `)(?: as ([^:;#]+))?$`)
	message     = regexp.MustCompile(`^(` + identifier + `)(?:->>|-->>|-\)|--\))(` + identifier + `): [^:;#]+$`)
)

// checkPicture returns an error that names the first line of a Mermaid block which
// GitHub would not draw as it is meant.
func checkPicture(block string) error {
	lines := strings.Split(strings.TrimRight(block, "\n"), "\n")
	p := &picture{nodes: map[string]string{}, used: map[string]bool{}}
	switch header := strings.TrimSpace(lines[0]); {
	case regexp.MustCompile(`^flowchart (LR|RL|TB|TD|BT)$`).MatchString(header):
		p.line = p.flow
	case header == "stateDiagram-v2":
		p.line = p.state
	case header == "sequenceDiagram":
		p.line = p.sequence
	default:
		return fmt.Errorf("line 1: %q is none of flowchart LR, stateDiagram-v2 and sequenceDiagram", header)
	}
	for i, line := range lines[1:] {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "%%") {
			continue
		}
		if err := p.line(line); err != nil {
			return fmt.Errorf("line %d: %w: %s", i+2, err, line)
		}
	}
	if len(p.open) > 0 {
		return fmt.Errorf("%s is not closed", strings.Join(p.open, ", "))
	}
	for _, id := range slices.Sorted(maps.Keys(p.used)) {
		if _, named := p.nodes[id]; !named && len(p.nodes) > 0 {
			return fmt.Errorf("%s is used and has no text of its own: is it misspelt?", id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.nodes)) {
		if !p.used[id] {
			return fmt.Errorf("nothing leads to or from %s", id)
		}
	}
	return nil
}

// name gives an id its text, once.
func (p *picture) name(id, text string) error {
	if id == "end" {
		return errors.New("end is a keyword")
	}
	if _, twice := p.nodes[id]; twice {
		return fmt.Errorf("%s is there twice", id)
	}
	p.nodes[id] = text
	return nil
}

// flow reads a line of a flowchart: the start or end of a subgraph, or nodes with
// edges between them.
func (p *picture) flow(line string) error {
	if line == "end" && len(p.open) == 0 {
		return errors.New("there is nothing to close")
	} else if line == "end" {
		p.open = p.open[:len(p.open)-1]
		return nil
	}
	if m := flowGroup.FindStringSubmatch(line); m != nil {
		p.open, p.used[m[1]] = append(p.open, m[1]), true
		return p.name(m[1], m[2])
	}
	for rest, first := line, true; ; first = false {
		m := flowNode.FindStringSubmatch(rest)
		if m == nil {
			return fmt.Errorf("no node at %q", rest)
		}
		if m[2] != "" {
			if err := p.name(m[1], m[2]); err != nil {
				return err
			}
		}
		rest = rest[len(m[0]):]
		if p.used[m[1]] = p.used[m[1]] || !first || rest != ""; rest == "" {
			return nil
		}
		edge := flowEdge.FindString(rest)
		if edge == "" {
			return fmt.Errorf("no edge at %q", rest)
		}
		rest = rest[len(edge):]
	}
}

// state reads a line of a state diagram. A state needs no text: its id is one.
func (p *picture) state(line string) error {
	if m := stateName.FindStringSubmatch(line); m != nil {
		return p.name(m[2]+m[3], m[1]+m[4])
	}
	m := transition.FindStringSubmatch(line)
	if m == nil {
		return errors.New("neither a state nor a transition")
	}
	for _, id := range m[1:3] {
		p.nodes[id] = cmp.Or(p.nodes[id], id)
		p.used[id] = true
	}
	return nil
}

// sequence reads a line of a sequence diagram.
func (p *picture) sequence(line string) error {
	if m := participant.FindStringSubmatch(line); m != nil {
		return p.name(m[1], m[2])
	}
	m := message.FindStringSubmatch(line)
	if m == nil {
		return errors.New("neither a participant nor a message")
	}
	p.used[m[1]], p.used[m[2]] = true, true
	return nil
}
