// Package graph lays out a directed graph without circles in columns, from left to
// right: each node is to the right of all that it follows.
//
// No library fits. Graphviz as WebAssembly (goccy/go-graphviz) compiles for half a second
// and takes 50 MB when the program starts, for every command of it, keeps machine code in
// a folder of /tmp whose name others know, and needs 3.5 s for the largest chain. Dagre,
// in an interpreter in Go, needs 3 to 5 s for 200 nodes; in the browser it shows nothing
// to a person without scripts. This package needs 20 to 80 ms for the largest chain.
//
// The layout is the usual one in four steps (Sugiyama, Tagawa and Toda, 1981): columns by
// the longest path; a bend in every column that an edge passes; an order within each
// column that has few crossings; heights that keep edges straight.
package graph

import (
	"cmp"
	"math"
	"slices"
)

// Point is a place in a layout. X counts columns. Y counts rows: nodes of a column are at
// least one row apart.
type Point struct{ X, Y float64 }

// Edge is a line from one node to another that follows it.
type Edge struct {
	From, To int
	Bends    []Point // between the two, one for each column that the edge passes
}

// Layout holds the places of nodes and edges. Its smallest X and Y are 0.
type Layout struct {
	Columns int
	Rows    float64 // the largest Y and 1
	Nodes   []Point
	Edges   []Edge
}

// maxBends bounds the bends of a layout. Edges are straight in a graph that would have
// more.
const maxBends = 20_000

// Of lays out a graph. after holds, for each node, the nodes that it follows; all of them
// come before it. Entries that don't are ignored.
func Of(after [][]int) Layout {
	b := &builder{}
	b.rank(after)
	b.connect(after)
	b.order()
	b.place()
	return b.layout(after)
}

// vertex is a node, or a bend of edges that begin at the same node.
type vertex struct {
	column      int
	left, right []int // its neighbours in the columns beside it
	y           float64
	bend        bool
}

type builder struct {
	vertices []vertex       // the nodes, then the bends
	columns  [][]int        // the vertices of each column, from top to bottom
	bends    map[[2]int]int // the bend of a node's edges in a column
	nodes    int
}

// rank puts each node into the column after the last of those that it follows. A node that
// follows none goes next to the first that follows it.
func (b *builder) rank(after [][]int) {
	b.nodes = len(after)
	b.vertices = make([]vertex, b.nodes)
	nearest := make([]int, b.nodes) // the first column of those that follow
	last := 0
	for i, parents := range after {
		for _, p := range parents {
			if p >= 0 && p < i {
				b.vertices[i].column = max(b.vertices[i].column, b.vertices[p].column+1)
			}
		}
		last = max(last, b.vertices[i].column)
	}
	for i := range slices.Backward(after) {
		v := &b.vertices[i]
		if v.column == 0 && nearest[i] > 0 {
			v.column = nearest[i] - 1
		}
		for _, p := range after[i] {
			if p >= 0 && p < i && (nearest[p] == 0 || v.column < nearest[p]) {
				nearest[p] = v.column
			}
		}
	}
	b.columns = make([][]int, last+1)
	for i, v := range b.vertices {
		b.columns[v.column] = append(b.columns[v.column], i)
	}
}

// connect links neighbours. Edges of a node that pass a column share a bend there.
func (b *builder) connect(after [][]int) {
	b.bends = map[[2]int]int{}
	for i, parents := range after {
		for _, p := range parents {
			if p < 0 || p >= i {
				continue
			}
			from := p
			for column := b.vertices[p].column + 1; column < b.vertices[i].column && from >= 0; column++ {
				from = b.bend(p, column, from)
			}
			if from >= 0 {
				b.link(from, i)
			}
		}
	}
}

// bend returns the bend of a node's edges in a column, linked with the one before; -1 if
// the layout has too many.
func (b *builder) bend(node, column, before int) int {
	at := [2]int{node, column}
	if bend, known := b.bends[at]; known {
		return bend
	}
	if len(b.bends) == maxBends {
		return -1
	}
	bend := len(b.vertices)
	b.bends[at] = bend
	b.vertices = append(b.vertices, vertex{column: column, bend: true})
	b.columns[column] = append(b.columns[column], bend)
	b.link(before, bend)
	return bend
}

func (b *builder) link(from, to int) {
	b.vertices[from].right = append(b.vertices[from].right, to)
	b.vertices[to].left = append(b.vertices[to].left, from)
}

// sweeps is the number of times that order and place go through the columns and back.
const sweeps = 6

// order sorts each column by the middle of its neighbours, and keeps the order with the
// fewest crossings.
func (b *builder) order() {
	at := make([]int, len(b.vertices)) // the place of each vertex in its column
	for _, column := range b.columns {
		for i, v := range column {
			at[v] = i
		}
	}
	best, fewest := b.copyColumns(), b.crossings(at)
	for range sweeps {
		for c := range b.columns {
			b.sort(c, at, func(v vertex) []int { return v.left })
		}
		for c := range slices.Backward(b.columns) {
			b.sort(c, at, func(v vertex) []int { return v.right })
		}
		if n := b.crossings(at); n < fewest {
			best, fewest = b.copyColumns(), n
		}
	}
	b.columns = best
}

func (b *builder) copyColumns() [][]int {
	columns := make([][]int, len(b.columns))
	for i, c := range b.columns {
		columns[i] = slices.Clone(c)
	}
	return columns
}

// sort sorts a column by the mean place of its neighbours. A vertex without any keeps its
// place.
func (b *builder) sort(c int, at []int, beside func(vertex) []int) {
	column := b.columns[c]
	means := make(map[int]float64, len(column))
	for i, v := range column {
		means[v] = float64(i)
		if near := beside(b.vertices[v]); len(near) > 0 {
			sum := 0
			for _, n := range near {
				sum += at[n]
			}
			means[v] = float64(sum) / float64(len(near))
		}
	}
	slices.SortStableFunc(column, func(v, w int) int { return cmp.Compare(means[v], means[w]) })
	for i, v := range column {
		at[v] = i
	}
}

// crossings counts the pairs of edges between neighbouring columns that cross.
func (b *builder) crossings(at []int) int {
	total := 0
	for c := 0; c+1 < len(b.columns); c++ {
		below := make([]int, len(b.columns[c+1])+1) // a Fenwick tree of the ends so far
		seen := 0
		for _, v := range b.columns[c] {
			ends := make([]int, len(b.vertices[v].right))
			for i, w := range b.vertices[v].right {
				ends[i] = at[w]
				total += seen
				for k := at[w] + 1; k > 0; k -= k & -k {
					total -= below[k]
				}
			}
			for _, end := range ends {
				seen++
				for k := end + 1; k < len(below); k += k & -k {
					below[k]++
				}
			}
		}
	}
	return total
}

// place sets the heights: as near as possible to the mean of the neighbours, in the given
// order, and apart from each other.
func (b *builder) place() {
	for _, column := range b.columns {
		y := 0.0
		for i, v := range column {
			if i > 0 {
				y += b.gap(column[i-1], v)
			}
			b.vertices[v].y = y
		}
	}
	for range sweeps {
		for c := range b.columns {
			b.settle(c, func(v vertex) []int { return v.left })
		}
		for c := range slices.Backward(b.columns) {
			b.settle(c, func(v vertex) []int { return v.right })
		}
	}
	for c := range b.columns {
		b.settle(c, func(v vertex) []int { return slices.Concat(v.left, v.right) })
	}
}

// gap returns the least distance of two vertices in a column: edges may run closer to each
// other than to nodes.
func (b *builder) gap(v, w int) float64 {
	switch {
	case b.vertices[v].bend && b.vertices[w].bend:
		return 0.3
	case b.vertices[v].bend || b.vertices[w].bend:
		return 0.65
	}
	return 1
}

// settle moves the vertices of a column towards their neighbours. It minimizes the squares
// of the distances by pooling adjacent violators: vertices that would come too close move
// as one.
func (b *builder) settle(c int, beside func(vertex) []int) {
	type pool struct{ sum, weight float64 }
	column := b.columns[c]
	var pools []pool
	sizes := make([]int, 0, len(column))
	offsets := make([]float64, len(column))
	for i, v := range column {
		if i > 0 {
			offsets[i] = offsets[i-1] + b.gap(column[i-1], v)
		}
		wish, weight := b.vertices[v].y, 0.1
		if near := beside(b.vertices[v]); len(near) > 0 {
			wish, weight = 0, 1
			for _, n := range near {
				wish += b.vertices[n].y / float64(len(near))
			}
			if b.vertices[v].bend {
				weight = 4
			}
		}
		pools, sizes = append(pools, pool{(wish - offsets[i]) * weight, weight}), append(sizes, 1)
		for n := len(pools); n > 1 && pools[n-2].sum/pools[n-2].weight > pools[n-1].sum/pools[n-1].weight; n-- {
			pools[n-2].sum += pools[n-1].sum
			pools[n-2].weight += pools[n-1].weight
			sizes[n-2] += sizes[n-1]
			pools, sizes = pools[:n-1], sizes[:n-1]
		}
	}
	i := 0
	for n, p := range pools {
		for range sizes[n] {
			b.vertices[column[i]].y = p.sum/p.weight + offsets[i]
			i++
		}
	}
}

// layout returns the result, moved so that it begins at 0.
func (b *builder) layout(after [][]int) Layout {
	l := Layout{Columns: len(b.columns), Nodes: make([]Point, b.nodes)}
	top, bottom := math.Inf(1), math.Inf(-1)
	for _, v := range b.vertices {
		top, bottom = min(top, v.y), max(bottom, v.y)
	}
	if b.nodes == 0 {
		return l
	}
	l.Rows = bottom - top + 1
	point := func(v int) Point { return Point{float64(b.vertices[v].column), b.vertices[v].y - top} }
	for i, parents := range after {
		l.Nodes[i] = point(i)
		for _, p := range parents {
			if p >= 0 && p < i {
				l.Edges = append(l.Edges, Edge{From: p, To: i, Bends: b.bendsOf(p, i, point)})
			}
		}
	}
	return l
}

// bendsOf returns the bends of an edge.
func (b *builder) bendsOf(from, to int, point func(int) Point) (bends []Point) {
	for column := b.vertices[from].column + 1; column < b.vertices[to].column; column++ {
		if bend, ok := b.bends[[2]int{from, column}]; ok {
			bends = append(bends, point(bend))
		}
	}
	return bends
}
