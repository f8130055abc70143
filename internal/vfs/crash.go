package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// sectorSize is what a disk writes as a whole.
const sectorSize = 512

// CrashClone returns the file system as it may be found after a power cut at
// this moment; the original goes on undisturbed, so that a test can crash a
// running system at many points. What is durable is in it; of every operation
// that is not, keepPercent percent are (0: nothing survives that was not
// synced; 100: all of it), each by itself, so that a later write may survive an
// earlier one. A surviving write may be torn: any prefix of it, or any of its
// sectors. Locks are free in the clone.
func (m *MemFS) CrashClone(rng *rand.Rand, keepPercent int) *MemFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := crash{rng: rng, keep: keepPercent, nodes: map[*memNode]*memNode{}}
	clone := &MemFS{dirs: map[string]*memDir{}, locks: map[string]bool{}, capacity: m.capacity}
	// In order of names, so that a seed always gives the same crash.
	for _, path := range slices.Sorted(maps.Keys(m.dirs)) {
		clone.dirs[path] = c.dir(m.dirs[path])
	}
	return clone
}

// crash decides what survives.
type crash struct {
	rng   *rand.Rand
	keep  int
	nodes map[*memNode]*memNode // originals to clones: a file may have two names
}

func (c *crash) keeps() bool { return c.rng.IntN(100) < c.keep }

func (c *crash) dir(d *memDir) *memDir {
	entries := maps.Clone(d.durable)
	for _, op := range d.pending {
		if c.keeps() {
			applyDirOp(entries, op)
		}
	}
	out := newMemDir()
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		n := c.node(entries[name])
		out.now[name], out.durable[name] = n, n
	}
	return out
}

func (c *crash) node(n *memNode) *memNode {
	if done := c.nodes[n]; done != nil {
		return done
	}
	content := slices.Clone(n.durable)
	for _, op := range n.pending {
		if !c.keeps() {
			continue
		}
		for _, piece := range c.tear(op) {
			content = applyWriteOp(content, piece)
		}
	}
	out := &memNode{data: content, durable: slices.Clone(content)}
	c.nodes[n] = out
	return out
}

// tear returns what survives of a write that reached the disk at least in part.
func (c *crash) tear(op writeOp) []writeOp {
	if op.data == nil || c.keep >= 100 {
		return []writeOp{op}
	}
	switch c.rng.IntN(4) {
	case 0: // a prefix, cut at any byte
		n := c.rng.IntN(len(op.data) + 1)
		if n == 0 {
			return nil
		}
		return []writeOp{{off: op.off, data: op.data[:n]}}
	case 1: // any of its sectors
		var pieces []writeOp
		for off := 0; off < len(op.data); {
			end := min(off+sectorSize-int((op.off+int64(off))%sectorSize), len(op.data))
			if c.keeps() {
				pieces = append(pieces, writeOp{off: op.off + int64(off), data: op.data[off:end]})
			}
			off = end
		}
		return pieces
	default:
		return []writeOp{op}
	}
}
