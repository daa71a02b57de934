package web

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/gantryhq/gantry/web/graph"
)

// mark is the state of a stack in a graph, as people see it: a colour, a shape and a
// word each.
type mark string

const (
	markFailed  mark = "failed"  // its run did not finish
	markHeld    mark = "held"    // it can't continue before somebody fixes something
	markAsks    mark = "asks"    // people must decide
	markMoving  mark = "moving"  // a run is at work
	markWaiting mark = "waiting" // for the stacks that it follows
	markDone    mark = "done"
	markSkipped mark = "skipped"
)

// marks lists all marks in the order of urgency.
var marks = []mark{markFailed, markHeld, markAsks, markMoving, markWaiting, markDone, markSkipped}

// word returns what the mark says.
func (m mark) word() string {
	switch m {
	case markAsks:
		return "waits for people"
	case markWaiting:
		return "not yet"
	}
	return string(m)
}

// class returns the name of the mark's style.
func (m mark) class() string { return "is-" + string(m) }

// inTheWay reports whether somebody must act before what follows can continue.
func (m mark) inTheWay() bool { return m == markFailed || m == markHeld || m == markAsks }

// passed reports whether the stack lets those behind it continue.
func (m mark) passed() bool { return m == markDone || m == markSkipped }

// graphStack is a stack in a graph, or several that are shown as one.
type graphStack struct {
	Stack string
	After []string // the stacks that it follows
	Mark  mark
	Short string        // a few words below the name
	Long  string        // a sentence
	To    templ.SafeURL // where it leads
	Count int           // of the stacks that are shown as this one; 0 for one
}

// drawing is a graph as it is drawn, in pixels.
type drawing struct {
	Width, Height int
	Columns       int
	Boxes         []box
	Lines         []line
	Folded        int // stacks that are not drawn one by one
}

type box struct {
	graphStack
	X, Y       int
	Name, Text string // cut to the width
}

type line struct{ Path, Class string }

// The measures of a drawing.
const (
	boxWidth, boxHeight   = 200, 54
	columnStep, rowStep   = boxWidth + 56, boxHeight + 18
	drawingEdge           = 5
	nameLength, textCount = 19, 28 // characters that fit into a box
)

// draw draws a graph. The stacks come in the order of a chain: none before one that it
// follows.
func (p *Pages) draw(stacks []graphStack) drawing {
	index := make(map[string]int, len(stacks))
	after := make([][]int, len(stacks))
	for i, s := range stacks {
		index[s.Stack] = i
		for _, a := range s.After {
			if j, ok := index[a]; ok && j != i {
				after[i] = append(after[i], j)
			}
		}
	}
	l := p.graphs.Of(after)
	x := func(at graph.Point) int { return drawingEdge + int(at.X)*columnStep }
	y := func(at graph.Point) int { return drawingEdge + int(math.Round(at.Y*rowStep)) }
	d := drawing{
		Columns: l.Columns,
		Width:   2*drawingEdge + (l.Columns-1)*columnStep + boxWidth,
		Height:  2*drawingEdge + int(math.Ceil((l.Rows-1)*rowStep)) + boxHeight,
	}
	for i, s := range stacks {
		d.Folded += s.Count
		b := box{s, x(l.Nodes[i]), y(l.Nodes[i]), middle(s.Stack, nameLength), middle(s.Short, textCount)}
		if s.Count > 0 {
			b.Name = strconv.Itoa(s.Count) + " others"
		}
		d.Boxes = append(d.Boxes, b)
	}
	d.Lines = lines(l, stacks, x, y)
	return d
}

// lines returns the lines of a graph, those of a class as one. Edges that begin at the
// same stack share a line as far as they go the same way.
func lines(l graph.Layout, stacks []graphStack, x, y func(graph.Point) int) []line {
	paths := map[string]*strings.Builder{"passed": {}, "stopped": {}, "waits": {}, "tips": {}}
	type part struct {
		from     int
		at, next graph.Point
	}
	drawn := map[part]bool{}
	tips := map[int]bool{}
	for _, e := range l.Edges {
		b := paths[lineClass(stacks[e.From].Mark)]
		at := l.Nodes[e.From]
		for i, next := range append(slices.Clip(e.Bends), l.Nodes[e.To]) {
			if p := (part{e.From, at, next}); !drawn[p] {
				drawn[p] = true
				curve(b, x(at), y(at)+boxHeight/2, x(next), y(next)+boxHeight/2, i == 0)
			}
			at = next
		}
		if to := l.Nodes[e.To]; !tips[e.To] {
			tips[e.To] = true
			fmt.Fprintf(paths["tips"], "M%d %dl-7-4v8z", x(to), y(to)+boxHeight/2)
		}
	}
	var all []line
	for _, class := range []string{"waits", "passed", "stopped", "tips"} {
		if path := paths[class].String(); path != "" {
			all = append(all, line{path, class})
		}
	}
	return all
}

// lineClass returns the class of the lines that begin at a stack.
func lineClass(from mark) string {
	switch {
	case from.passed():
		return "passed"
	case from == markFailed, from == markHeld:
		return "stopped"
	}
	return "waits"
}

// curve draws the line from a place to one in a later column: straight through the column
// where it begins, then a curve. It begins beside the box of a stack if it is first.
func curve(b *strings.Builder, fromX, fromY, toX, toY int, first bool) {
	beside := fromX + boxWidth
	if first {
		fmt.Fprintf(b, "M%d %d", beside, fromY)
	} else {
		fmt.Fprintf(b, "M%d %dh%d", fromX, fromY, boxWidth)
	}
	if fromY == toY {
		fmt.Fprintf(b, "H%d", toX)
		return
	}
	half, across, down := (toX-beside)/2, toX-beside, toY-fromY
	fmt.Fprintf(b, "c%d 0 %d %d %d %d", half, across-half, down, across, down)
}

// middle cuts a text to a number of characters, in its middle: names of stacks often
// differ at their ends.
func middle(text string, most int) string {
	r := []rune(text)
	if len(r) <= most {
		return text
	}
	head := (most - 1) / 2
	return string(r[:head]) + "…" + string(r[len(r)-(most-1-head):])
}

// label returns the name of a box for assistive technology, which begins with what others
// read in it.
func (b box) label() string {
	switch {
	case b.Count > 0:
		return b.Name + " " + b.Text
	case b.Name != b.Stack:
		return b.Name + " " + b.Text + ". " + b.Stack + ": " + stopped(b.Long)
	}
	return b.Name + " " + b.Text + ". " + sentence(b.Long)
}

func (b box) at() string { return fmt.Sprintf("translate(%d %d)", b.X, b.Y) }

func (d drawing) viewBox() string { return fmt.Sprintf("0 0 %d %d", d.Width, d.Height) }

// mostDrawn is the number of stacks that are drawn one by one unless somebody asks for
// all.
const mostDrawn = 48

// fold leaves those stacks of a large graph that matter now: what is in the way or moves,
// what follows it and what it follows. All others that have passed become one, and all
// others that wait become one. to leads to them.
func fold(stacks []graphStack, to func(mark) templ.SafeURL) []graphStack {
	if len(stacks) <= mostDrawn {
		return stacks
	}
	keep := worthDrawing(stacks)
	first := &graphStack{Stack: "\x00first", Mark: markDone, Short: markDone.word(), To: to(markDone)} // no ids of stacks
	last := &graphStack{Stack: "\x00last", Mark: markWaiting, Short: markWaiting.word(), To: to(markWaiting)}
	hidden := map[string]*graphStack{}
	for _, s := range stacks {
		group := last
		if s.Mark.passed() {
			group = first
		}
		if !keep[s.Stack] {
			group.Count++
			hidden[s.Stack] = group
		}
	}
	shown := unfolded(stacks, hidden, first)
	last.After = endsOf(stacks, hidden, last, shown)
	if first.Count > 0 {
		shown = append([]graphStack{*first}, shown...)
	}
	if last.Count > 0 {
		shown = append(shown, *last)
	}
	return shown
}

// unfolded returns the stacks that are drawn one by one, with those of them that each
// follows. One that follows only others follows their group: more lines from what is
// folded would say little.
func unfolded(stacks []graphStack, hidden map[string]*graphStack, first *graphStack) (shown []graphStack) {
	for _, s := range stacks {
		if hidden[s.Stack] != nil {
			continue
		}
		after, behindFirst := shownOf(s.After, hidden, first)
		if len(after) == 0 && behindFirst {
			after = []string{first.Stack}
		}
		s.After = after
		shown = append(shown, s)
	}
	return shown
}

// endsOf returns the stacks among the shown ones that only stacks of a group follow.
func endsOf(stacks []graphStack, hidden map[string]*graphStack, group *graphStack, shown []graphStack) (ends []string) {
	leads := map[string]bool{}
	for _, s := range shown {
		for _, a := range s.After {
			leads[a] = true
		}
	}
	for _, s := range stacks {
		if hidden[s.Stack] != group {
			continue
		}
		after, _ := shownOf(s.After, hidden, group)
		for _, a := range after {
			if !leads[a] {
				leads[a], ends = true, append(ends, a)
			}
		}
	}
	return ends
}

// shownOf returns those of some stacks that are drawn, and whether one of the others is
// in a group.
func shownOf(stacks []string, hidden map[string]*graphStack, group *graphStack) (shown []string, inGroup bool) {
	for _, s := range stacks {
		switch hidden[s] {
		case nil:
			shown = append(shown, s)
		case group:
			inGroup = true
		}
	}
	return shown, inGroup
}

// worthDrawing picks the stacks that matter now, at most mostDrawn of them.
func worthDrawing(stacks []graphStack) map[string]bool {
	keep, front := map[string]bool{}, map[string]bool{}
	add := func(id string) {
		if len(keep) < mostDrawn {
			keep[id] = true
		}
	}
	for _, m := range marks {
		for _, s := range stacks {
			if s.Mark == m && (m.inTheWay() || m == markMoving) {
				add(s.Stack)
			}
		}
	}
	for id := range keep {
		front[id] = true
	}
	for _, s := range stacks { // those that follow first: they are what somebody waits for
		if slices.ContainsFunc(s.After, func(a string) bool { return front[a] }) {
			add(s.Stack)
		}
	}
	for _, s := range stacks {
		if front[s.Stack] {
			for _, a := range s.After {
				add(a)
			}
		}
	}
	return keep
}
