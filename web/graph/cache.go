package graph

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
)

// kept is the number of layouts that a Cache keeps. The largest takes some 2 MB.
const kept = 16

// Cache keeps layouts by the shape of their graph: a chain keeps its shape while its
// stacks change their states. The zero value is ready to use, by several callers.
type Cache struct {
	mu      sync.Mutex
	layouts map[[sha256.Size]byte]Layout
	order   [][sha256.Size]byte // the oldest first
}

// Of is like the function Of. The caller must not change what it returns.
func (c *Cache) Of(after [][]int) Layout {
	shape := shapeOf(after)
	c.mu.Lock()
	l, known := c.layouts[shape]
	c.mu.Unlock()
	if known {
		return l
	}
	l = Of(after)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.layouts[shape]; known {
		return l
	}
	if c.layouts == nil {
		c.layouts = map[[sha256.Size]byte]Layout{}
	}
	if len(c.order) == kept {
		delete(c.layouts, c.order[0])
		c.order = slices.Delete(c.order, 0, 1)
	}
	c.layouts[shape], c.order = l, append(c.order, shape)
	return l
}

func shapeOf(after [][]int) [sha256.Size]byte {
	var text []byte
	for _, parents := range after {
		text = binary.AppendVarint(text, int64(len(parents)))
		for _, p := range parents {
			text = binary.AppendVarint(text, int64(p))
		}
	}
	return sha256.Sum256(text)
}
