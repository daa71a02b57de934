package graph_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/web/graph"
)

func TestAChainIsAStraightLine(t *testing.T) {
	l := graph.Of([][]int{nil, {0}, {1}, {2}})
	for i, p := range l.Nodes {
		if p != (graph.Point{X: float64(i)}) {
			t.Errorf("node %d is at %v, want column %d and row 0", i, p, i)
		}
	}
	if l.Columns != 4 || l.Rows != 1 {
		t.Errorf("the layout has %d columns and %v rows, want 4 and 1", l.Columns, l.Rows)
	}
}

func TestCrossingsAreUndone(t *testing.T) {
	// 0 → 1, 2; 1 → 4 and 2 → 3, so that the order of numbers crosses.
	l := graph.Of([][]int{nil, {0}, {0}, {2}, {1}})
	if (l.Nodes[1].Y < l.Nodes[2].Y) != (l.Nodes[4].Y < l.Nodes[3].Y) {
		t.Errorf("the edges cross: %v", l.Nodes)
	}
}

func TestAnEdgePassesBesideNodes(t *testing.T) {
	l := graph.Of([][]int{nil, {0}, {1}, {0, 2}}) // 0 → 3 passes the columns of 1 and 2
	long := l.Edges[2]
	if long.From != 0 || long.To != 3 || len(long.Bends) != 2 {
		t.Fatalf("the third edge is %+v, want 0 → 3 with two bends", long)
	}
	for _, bend := range long.Bends {
		node := l.Nodes[int(bend.X)]
		if d := bend.Y - node.Y; d > -0.6 && d < 0.6 {
			t.Errorf("the edge passes %v, through the node at %v", bend, node)
		}
	}
}

// TestLayouts checks any graph: edges go to the right, and nodes of a
// column don't overlap.
func TestLayouts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		after := make([][]int, rapid.IntRange(0, 40).Draw(t, "nodes"))
		for i := 1; i < len(after); i++ {
			after[i] = rapid.SliceOfNDistinct(rapid.IntRange(0, i-1), 0, min(i, 4), rapid.ID).Draw(t, "after")
		}
		check(t, after, graph.Of(after))
	})
}

type failer interface {
	Fatalf(format string, args ...any)
}

func check(t failer, after [][]int, l graph.Layout) {
	if len(l.Nodes) != len(after) {
		t.Fatalf("%d nodes have places, want %d", len(l.Nodes), len(after))
	}
	byColumn := map[float64][]float64{}
	for i, p := range l.Nodes {
		if p.X < 0 || p.X >= float64(l.Columns) || p.Y < -1e-6 || p.Y > l.Rows-1+1e-6 {
			t.Fatalf("node %d is at %v, outside of %d columns and %v rows", i, p, l.Columns, l.Rows)
		}
		for _, y := range byColumn[p.X] {
			if d := y - p.Y; d > -0.999 && d < 0.999 {
				t.Fatalf("two nodes of column %v are at %v and %v", p.X, y, p.Y)
			}
		}
		byColumn[p.X] = append(byColumn[p.X], p.Y)
		for _, parent := range after[i] {
			if l.Nodes[parent].X >= p.X {
				t.Fatalf("node %d follows %d and isn't to the right of it", i, parent)
			}
		}
	}
}

func TestIncompleteGraphsAreTakenAsTheyAre(t *testing.T) {
	l := graph.Of([][]int{{3, -1, 0}, {0, 9}})
	if len(l.Edges) != 1 || l.Edges[0].From != 0 || l.Edges[0].To != 1 {
		t.Errorf("the edges are %v, want 0 → 1 alone", l.Edges)
	}
}

// largest is the largest chain that Gantry follows: 1,000 stacks and 5,000 edges.
func largest(reach int) [][]int {
	r := rand.New(rand.NewPCG(1, 2))
	after := make([][]int, 1000)
	for i := 1; i < len(after); i++ {
		after[i] = []int{max(0, i-1-r.IntN(reach))}
	}
	for range 4001 {
		i := 1 + r.IntN(len(after)-1)
		after[i] = append(after[i], max(0, i-1-r.IntN(reach)))
	}
	return after
}

// TestTheLargestChainIsLaidOutInTime bounds the time, generously: CI's machines are slow.
func TestTheLargestChainIsLaidOutInTime(t *testing.T) {
	for _, reach := range []int{1, 40, 200, 1000} {
		after := largest(reach)
		began := time.Now()
		l := graph.Of(after)
		took := time.Since(began)
		check(t, after, l)
		t.Logf("reach %d: %d columns, %.0f rows in %v", reach, l.Columns, l.Rows, took)
		if took > 2*time.Second {
			t.Errorf("the layout took %v, want less than 2 s", took)
		}
	}
}

func BenchmarkLargest(b *testing.B) {
	after := largest(200)
	for b.Loop() {
		graph.Of(after)
	}
}
