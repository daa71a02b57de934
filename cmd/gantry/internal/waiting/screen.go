// Package waiting is the screen of gantry waiting: a list of the runs that wait for the
// person, on which they approve, reject, explain and open one after the other.
package waiting

import (
	"context"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
)

// Gantry is the Gantry that the screen reads from and sends decisions to.
type Gantry interface {
	// Waiting lists the runs, the longest wait first, and reports whether there are more.
	Waiting(ctx context.Context) (runs []api.RunSummary, more bool, err error)
	// Changes receives when the list may have changed, until ctx ends.
	Changes(ctx context.Context) <-chan struct{}
	// Decide decides about the plan of a run as the list showed it, and says what was done.
	Decide(ctx context.Context, run api.RunSummary, verdict api.Verdict, note string) (string, error)
	// Explain says in lines of a width why a run waits.
	Explain(ctx context.Context, run api.RunSummary, width int) (string, error)
	// Open opens a run in the browser, and says where.
	Open(ctx context.Context, run api.RunSummary) (string, error)
	// Subject names a run and its plan in a question.
	Subject(run api.RunSummary) string
	// Table prints runs as a table of a width, marking one of them.
	Table(runs []api.RunSummary, marked, width int) (string, error)
}

const (
	agePause   = time.Second // between two drawings, for the ages
	longestAge = time.Minute // of a list
)

// RetryPause is the time before a list is read again that wasn't answered. Tests shorten it.
var RetryPause = 5 * time.Second

// Show shows the screen until the person leaves it, and returns what they did. who are
// those for whom the listed runs wait, such as "you".
func Show(ctx context.Context, g Gantry, who string, in io.Reader, out io.Writer) (done []string, err error) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	s := &screen{ctx: ctx, gantry: g, who: who, width: 80, height: 24, changes: g.Changes(ctx)}
	_, err = tea.NewProgram(s, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithEnvironment(os.Environ())).Run()
	if ctx.Err() != nil {
		err = nil // interrupted
	}
	return s.done, err
}

// mode is the meaning of the keys.
type mode int

const (
	choosing   mode = iota // a run of the list
	confirming             // an approval
	noting                 // why the run is rejected
	reading                // an explanation
)

// screen is the state of the screen.
type screen struct {
	ctx           context.Context
	gantry        Gantry
	who           string
	width, height int
	changes       <-chan struct{}

	runs    []api.RunSummary
	more    bool      // runs than these
	read    time.Time // of the list; zero until it was ever read
	asked   bool      // the list is on its way
	stale   bool      // it may have changed since it was asked for
	trouble string    // why the list isn't known now; empty if it is
	marked  int
	top     int // of the runs that are shown
	mode    mode
	subject api.RunSummary // of the question or explanation
	note    string
	lines   []string // of the explanation
	scroll  int      // in them
	status  string   // the latest result of the person's doing
	busy    bool     // a decision is on its way
	done    []string
}

type (
	listedMsg struct {
		runs []api.RunSummary
		more bool
		err  error
	}
	changedMsg struct{} // the list may have changed
	againMsg   struct{} // it is time to ask again
	ageMsg     struct{} // a second has passed
	decidedMsg struct {
		text string
		err  error
	}
	explainedMsg struct {
		run  api.RunSummary
		text string
		err  error
	}
	openedMsg struct {
		text string
		err  error
	}
)

func (s *screen) Init() tea.Cmd { return tea.Batch(s.list(), s.awaitChange, nextAge()) }

// list asks for the list, or remembers to ask again if it is on its way.
func (s *screen) list() tea.Cmd {
	if s.asked {
		s.stale = true
		return nil
	}
	s.asked, s.stale = true, false
	return func() tea.Msg {
		runs, more, err := s.gantry.Waiting(s.ctx)
		return listedMsg{runs, more, err}
	}
}

func (s *screen) awaitChange() tea.Msg {
	select {
	case <-s.changes:
		return changedMsg{}
	case <-s.ctx.Done():
		return nil
	}
}

func nextAge() tea.Cmd { return tea.Tick(agePause, func(time.Time) tea.Msg { return ageMsg{} }) }

func (s *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = msg.Width, msg.Height
		if s.mode == reading {
			return s, s.explain(s.subject)
		}
	case changedMsg:
		return s, tea.Batch(s.list(), s.awaitChange)
	case againMsg:
		return s, s.list()
	case ageMsg:
		if !s.read.IsZero() && time.Since(s.read) > longestAge {
			return s, tea.Batch(s.list(), nextAge())
		}
		return s, nextAge()
	case listedMsg:
		return s, s.listedNow(msg)
	case decidedMsg:
		s.busy = false
		s.report(msg.text, msg.err)
		if msg.err == nil {
			s.done = append(s.done, msg.text)
		}
		return s, s.list()
	case explainedMsg:
		if msg.err != nil {
			s.report("", msg.err)
			break
		}
		if s.mode == confirming || s.mode == noting { // they are asked something now
			break
		}
		s.mode, s.subject, s.lines = reading, msg.run, strings.Split(strings.TrimRight(msg.text, "\n"), "\n")
	case openedMsg:
		s.report(msg.text, msg.err)
	case tea.PasteMsg:
		if s.mode == noting {
			s.note += output.Clean(msg.Content)
		}
	case tea.KeyPressMsg:
		return s, s.press(tea.Key(msg))
	}
	return s, nil
}

// report shows a result, or why there is none.
func (s *screen) report(text string, err error) {
	s.status = output.Clean(text)
	if err != nil {
		s.status = output.Clean(err.Error())
	}
}

// listedNow takes a new list. The mark stays with its run, or near where that was. A
// question about a plan that somebody else has decided about is withdrawn.
func (s *screen) listedNow(msg listedMsg) tea.Cmd {
	s.asked = false
	if msg.err != nil {
		s.trouble = output.Clean(msg.err.Error())
		return tea.Tick(RetryPause, func(time.Time) tea.Msg { return againMsg{} })
	}
	marked, had := s.current()
	before := s.runs
	s.runs, s.more, s.read, s.trouble = msg.runs, msg.more, time.Now(), ""
	for i, run := range s.runs {
		if had && same(run, marked) {
			s.marked = i
		}
	}
	s.marked = max(0, min(s.marked, len(s.runs)-1))
	if s.mode == confirming || s.mode == noting {
		s.withdraw()
	}
	var again tea.Cmd
	if s.stale {
		again = s.list()
	}
	if s.mode == reading && s.changed(before) {
		return tea.Batch(again, s.explain(s.subject))
	}
	return again
}

// changed reports whether the run that is explained has changed since a list.
func (s *screen) changed(before []api.RunSummary) bool {
	of := func(runs []api.RunSummary) api.RunSummary {
		i := slices.IndexFunc(runs, func(run api.RunSummary) bool { return same(run, s.subject) })
		if i < 0 {
			return api.RunSummary{}
		}
		return runs[i]
	}
	return !reflect.DeepEqual(of(before), of(s.runs))
}

func same(a, b api.RunSummary) bool {
	return a.Account == b.Account && a.Stack == b.Stack && a.Run == b.Run
}

// withdraw withdraws the question if its run no longer waits, or has another plan.
func (s *screen) withdraw() {
	i := slices.IndexFunc(s.runs, func(run api.RunSummary) bool { return same(run, s.subject) })
	switch {
	case i < 0:
		s.mode, s.status = choosing, s.gantry.Subject(s.subject)+" no longer waits for "+s.who+"."
	case stateVersion(s.runs[i]) != stateVersion(s.subject):
		s.mode, s.status = choosing, s.gantry.Subject(s.subject)+" has another plan now."
	}
}

// stateVersion returns the version of a run's plan; 0 if it isn't known.
func stateVersion(run api.RunSummary) int {
	if run.StateVersion == nil {
		return 0
	}
	return *run.StateVersion
}

// current returns the marked run.
func (s *screen) current() (run api.RunSummary, ok bool) {
	if s.marked >= len(s.runs) {
		return run, false
	}
	return s.runs[s.marked], true
}

func (s *screen) press(key tea.Key) tea.Cmd {
	if key.String() == "ctrl+c" {
		return tea.Quit
	}
	switch s.mode {
	case confirming:
		return s.pressConfirming(key)
	case noting:
		return s.pressNoting(key)
	case reading:
		return s.pressReading(key)
	}
	return s.pressChoosing(key)
}

func (s *screen) pressChoosing(key tea.Key) tea.Cmd {
	switch key.String() {
	case "q", "esc":
		return tea.Quit
	case "up", "k":
		s.marked = max(0, s.marked-1)
	case "down", "j":
		s.marked = max(0, min(s.marked+1, len(s.runs)-1))
	case "home", "g":
		s.marked = 0
	case "end", "G":
		s.marked = max(0, len(s.runs)-1)
	}
	run, ok := s.current()
	if !ok || s.busy {
		return nil
	}
	switch key.String() {
	case "a":
		s.ask(confirming, run, api.VerdictApprove)
	case "r":
		s.ask(noting, run, api.VerdictReject)
	case "e", "enter":
		return s.explain(run)
	case "o":
		return func() tea.Msg {
			text, err := s.gantry.Open(s.ctx, run)
			return openedMsg{text, err}
		}
	}
	return nil
}

// ask asks for a decision, unless Gantry would refuse it.
func (s *screen) ask(m mode, run api.RunSummary, verdict api.Verdict) {
	if !slices.Contains(run.CanDecide, verdict) {
		s.status = "You can't " + string(verdict) + " " + s.gantry.Subject(run) + "; e explains who can."
		return
	}
	s.mode, s.subject, s.note, s.status = m, run, "", ""
}

func (s *screen) explain(run api.RunSummary) tea.Cmd {
	width := s.width
	return func() tea.Msg {
		text, err := s.gantry.Explain(s.ctx, run, width)
		return explainedMsg{run, text, err}
	}
}

func (s *screen) pressConfirming(key tea.Key) tea.Cmd {
	s.mode = choosing
	if key.String() == "y" {
		return s.decide(api.VerdictApprove)
	}
	return nil
}

func (s *screen) pressNoting(key tea.Key) tea.Cmd {
	switch key.String() {
	case "esc":
		s.mode = choosing
	case "enter":
		s.mode = choosing
		return s.decide(api.VerdictReject)
	case "backspace":
		_, size := utf8.DecodeLastRuneInString(s.note)
		s.note = s.note[:len(s.note)-size]
	default:
		s.note += output.Clean(key.Text)
	}
	return nil
}

func (s *screen) pressReading(key tea.Key) tea.Cmd {
	switch key.String() {
	case "up", "k":
		s.scroll--
	case "down", "j":
		s.scroll++
	case "pgup":
		s.scroll -= s.room()
	case "pgdown", "space":
		s.scroll += s.room()
	case "a", "r", "o":
		s.mode, s.scroll = choosing, 0
		return s.pressChoosing(key)
	case "q", "esc", "enter", "e":
		s.mode, s.scroll = choosing, 0
	}
	s.scroll = max(0, min(s.scroll, len(s.lines)-s.room()))
	return nil
}

// decide sends a decision about the plan that the person was shown.
func (s *screen) decide(verdict api.Verdict) tea.Cmd {
	s.busy, s.status = true, "sending …"
	run, note := s.subject, s.note
	return func() tea.Msg {
		text, err := s.gantry.Decide(s.ctx, run, verdict, note)
		return decidedMsg{text, err}
	}
}

// room is the number of lines between the title and the foot.
func (s *screen) room() int { return max(1, s.height-4-len(s.foot())) }

// longestFoot bounds the lines of the foot.
const longestFoot = 4

// foot returns the question, the latest result or the trouble, in lines that fit.
func (s *screen) foot() []string {
	text := s.status
	switch {
	case s.mode == confirming:
		text = "Approve " + s.gantry.Subject(s.subject) + "?"
	case s.mode == noting:
		text = "Reject " + s.gantry.Subject(s.subject) + ", which discards it. Why? " + s.note + "▏"
	case s.trouble != "" && s.status != "":
		text += "\n" + s.trouble
	case s.trouble != "":
		text = s.trouble
	}
	lines := strings.Split(ansi.Wrap(text, s.width, ""), "\n")
	if s.mode == noting { // the person reads what they type
		return lines[max(0, len(lines)-longestFoot):]
	}
	return lines[:min(len(lines), longestFoot)]
}

func (s *screen) View() tea.View {
	v := tea.NewView(s.text())
	v.AltScreen = true
	v.WindowTitle = "gantry waiting"
	return v
}

func (s *screen) text() string {
	title, body, keys := fmt.Sprintf("Waiting for %s: %d", s.who, len(s.runs)), "", "↑↓ choose · a approve · r reject · e explain · o open · q quit"
	if s.more {
		title += " and more, which --all-pages lists; the longest waits first"
	}
	switch {
	case s.mode == reading:
		title, body = s.gantry.Subject(s.subject), strings.Join(s.lines[min(s.scroll, len(s.lines)):min(len(s.lines), s.scroll+s.room())], "\n")
		keys = "↑↓ scroll · a approve · r reject · o open · esc back"
	case s.read.IsZero():
		title, keys = "Waiting for Gantry …", "q quit"
	case len(s.runs) == 0:
		body, keys = "Nothing waits for "+s.who+".", "q quit"
	default:
		body = s.table()
	}
	switch s.mode {
	case confirming:
		keys = "y approve · any other key back"
	case noting:
		keys = "enter reject · esc back"
	}
	lines := strings.Split(strings.TrimRight(body, "\n"), "\n")
	body = strings.Join(lines[:min(len(lines), s.room())], "\n")
	below := strings.Repeat("\n", max(0, s.room()-strings.Count(body, "\n")-1)) // the foot keeps its place
	fit := func(line string) string { return ansi.Truncate(line, s.width, "…") }
	return strings.Join([]string{fit(title), "", body + below, "", strings.Join(s.foot(), "\n"), fit(keys)}, "\n")
}

// table returns as many runs around the mark as there is room for.
func (s *screen) table() string {
	s.top = max(0, min(s.top, s.marked))
	for size := min(len(s.runs), s.room()-1); size > 0; size-- {
		s.top = max(s.top, s.marked-size+1)
		text, err := s.gantry.Table(s.runs[s.top:min(len(s.runs), s.top+size)], s.marked-s.top, s.width)
		if err != nil {
			return err.Error()
		}
		if strings.Count(text, "\n") <= s.room() || size == 1 {
			return text
		}
	}
	return ""
}
