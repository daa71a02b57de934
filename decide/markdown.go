package decide

import (
	"net/url"
	"strings"
	"time"

	"github.com/gantryhq/gantry/untrusted"
)

// Moment returns a time as people read it, to the minute.
func Moment(t time.Time) string { return t.UTC().Format("2 Jan 15:04 MST") }

// maxSummary bounds the summary of an execution, an activity or a timer. Temporal takes
// 400 bytes, those of its encoding included (limit.userMetadataSummarySize).
const maxSummary = 300

// Summary returns a text as one line that Temporal takes as the summary of an activity or a
// timer, which its pages show as it is.
func Summary(text string) string { return Fit(untrusted.Line(text), maxSummary) }

// Opening is the text that Temporal's pages show of an execution from its start: its purpose in
// one line, and more about that, both in Markdown. Neither ever changes.
type Opening struct{ Summary, Details string }

// Open returns the opening of an execution, given what it is for and its page.
func Open(summary, what, page string) Opening {
	var d Markdown
	d.Paragraph(what)
	d.Link("Open in Gantry", page)
	return Opening{Fit(untrusted.Markdown(Fit(summary, maxSummary)), maxSummary), d.String()}
}

// Markdown is a text in Markdown. Its methods take plain text and show it as it is, and
// leave out what is empty.
type Markdown struct{ text, links strings.Builder }

// maxMarkdown bounds a text: Temporal keeps 20,000 bytes of details, and nobody reads more.
const maxMarkdown = 10_000

// Heading adds a paragraph in bold.
func (m *Markdown) Heading(text string) { m.add("**"+shown(text)+"**\n", text) }

// Paragraph adds a paragraph.
func (m *Markdown) Paragraph(text string) { m.add("\n"+shown(text)+"\n", text) }

// Item adds an item of a list, with a name.
func (m *Markdown) Item(name, text string) {
	m.add("\n- **"+shown(name)+"**: "+shown(text), text)
}

// Link adds a link to the line of links at the end.
func (m *Markdown) Link(text, address string) {
	u, err := url.Parse(address) //workflowcheck:ignore an address has one reading
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return
	}
	if m.links.Len() > 0 {
		m.links.WriteString(" · ")
	}
	m.links.WriteString("[" + shown(text) + "](<" + strings.NewReplacer("<", "%3C", ">", "%3E").Replace(u.String()) + ">)")
}

// String returns the text.
func (m *Markdown) String() string {
	if m.links.Len() == 0 {
		return m.text.String()
	}
	return m.text.String() + "\n\n" + m.links.String()
}

func (m *Markdown) add(markdown, text string) {
	if text != "" && m.text.Len()+len(markdown) <= maxMarkdown {
		m.text.WriteString(markdown)
	}
}

// shown returns a text in Markdown, cut to what people read.
func shown(text string) string { return untrusted.Markdown(Fit(text, 2*MaxText)) }
