package cluster

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"math"
	"slices"
)

// simSum is a sum over things in the order in which they came: whether two lives
// went the same way.
type simSum uint64

func (s *simSum) number(v uint64) {
	h := fnv.New64a()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(*s))
	binary.LittleEndian.PutUint64(b[8:], v)
	_, _ = h.Write(b[:]) // never fails
	*s = simSum(h.Sum64())
}

func (s *simSum) text(v string) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(v)) // never fails
	s.number(h.Sum64())
}

// add adds the answer to a read.
func (s *simSum) add(r simRead, got map[string]map[int64]float64) {
	s.text(r.what)
	s.number(uint64(r.node))
	s.number(r.began)
	for _, name := range slices.Sorted(maps.Keys(got)) {
		s.text(name)
		for _, at := range slices.Sorted(maps.Keys(got[name])) {
			s.number(uint64(at))
			s.number(math.Float64bits(got[name][at]))
		}
	}
}

// hash says whether two lives were the same: what happened and when, how operations
// ended, what reads showed, and what the disks hold in the end, with its versions.
func (h *simHistory) hash() uint64 {
	sum := h.answers
	for _, line := range h.log {
		sum.text(line)
	}
	return uint64(sum)
}

// noteDisks notes what the nodes hold.
func (s *simCluster) noteDisks() {
	for _, n := range s.nodes {
		n.store.tellAll(s, n)
	}
	s.note("in the end: %d complete reads, %d marked", s.reads, s.marked)
}
