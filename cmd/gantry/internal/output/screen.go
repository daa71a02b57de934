package output

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"
)

// Screen shows one text after the other on a terminal, each in the place of the one before.
// Complaints may be printed below.
type Screen struct {
	out   io.Writer
	began bool
}

// NewScreen returns a screen on a terminal. It is empty until Show.
func NewScreen(w io.Writer) *Screen { return &Screen{out: underlying(w)} }

// Show writes what a Printer has printed over what was shown before. Lines and columns for
// which there is no room are left out, so that nothing scrolls, and the terminal shows the
// whole change in one step.
func (s *Screen) Show(printed string) error {
	var text strings.Builder
	if !s.began {
		text.WriteString(ansi.EraseEntireScreen)
		s.began = true
	}
	text.WriteString(ansi.SetModeSynchronizedOutput + ansi.CursorHomePosition)
	width, height := s.size()
	lines := strings.Split(strings.TrimRight(printed, "\n"), "\n")
	if room := height - 1; height > 0 && len(lines) > room {
		rest := len(lines) - max(room-1, 0)
		lines = append(lines[:max(room-1, 0):max(room-1, 0)], fmt.Sprintf("… %d lines more", rest))
	}
	for _, line := range lines {
		if width > 0 {
			line = ansi.Truncate(line, width, "…")
		}
		if text.WriteString(line); width == 0 || ansi.StringWidth(line) < width { // a full line leaves nothing to erase
			text.WriteString(ansi.EraseLineRight)
		}
		text.WriteString("\n")
	}
	text.WriteString(ansi.EraseScreenBelow + ansi.ResetModeSynchronizedOutput)
	_, err := io.WriteString(s.out, text.String())
	return err
}

// size returns the columns and lines of the terminal; 0 for unknown ones.
func (s *Screen) size() (width, height int) {
	if file, ok := s.out.(*os.File); ok {
		if width, height, err := term.GetSize(int(file.Fd())); err == nil {
			return width, height
		}
	}
	return widthOf(s.out), 0
}
