package frontier

import (
	"slices"

	"github.com/count-db/count/internal/wire"
)

// span is a run of numbers, both ends included.
type span struct{ from, to uint64 }

// Set is a set of numbers, of which nearly all are one run from 1. The zero
// value is empty.
type Set struct {
	spans []span // ascending, apart from one another
}

// Add puts a number into the set.
func (s *Set) Add(n uint64) { s.addSpan(span{n, n}) }

func (s *Set) addSpan(add span) {
	// The common case: the next number of the last run.
	if k := len(s.spans); k > 0 && s.spans[k-1].from <= add.from && add.from <= s.spans[k-1].to+1 {
		s.spans[k-1].to = max(s.spans[k-1].to, add.to)
		return
	}
	i, _ := slices.BinarySearchFunc(s.spans, add, func(have, add span) int {
		switch {
		case have.to+1 < add.from:
			return -1
		case have.from > add.to+1:
			return 1
		}
		return 0
	})
	first := i
	for first > 0 && s.spans[first-1].to+1 >= add.from {
		first--
	}
	last := first
	for last < len(s.spans) && s.spans[last].from <= add.to+1 {
		add.from, add.to = min(add.from, s.spans[last].from), max(add.to, s.spans[last].to)
		last++
	}
	s.spans = slices.Replace(s.spans, first, last, add)
}

// Has says whether the number is in the set.
func (s *Set) Has(n uint64) bool {
	return slices.ContainsFunc(s.spans, func(p span) bool { return p.from <= n && n <= p.to })
}

// Contains says whether all of o is in the set.
func (s *Set) Contains(o *Set) bool { return s.lacks(o) == 0 }

// lacks returns the lowest number of o that is not in the set, 0 when all are.
func (s *Set) lacks(o *Set) uint64 {
	i := 0
	for _, p := range o.spans {
		for i < len(s.spans) && s.spans[i].to < p.from {
			i++
		}
		switch {
		case i == len(s.spans) || p.from < s.spans[i].from:
			return p.from
		case p.to > s.spans[i].to:
			return s.spans[i].to + 1
		}
	}
	return 0
}

// Unite puts all of o into the set.
func (s *Set) Unite(o *Set) {
	for _, p := range o.spans {
		s.addSpan(p)
	}
}

// Gaps returns how many runs are missing before the highest number.
func (s *Set) Gaps() int {
	if len(s.spans) == 0 {
		return 0
	}
	gaps := len(s.spans) - 1
	if s.spans[0].from > 1 {
		gaps++
	}
	return gaps
}

func (s *Set) clone() *Set { return &Set{spans: slices.Clone(s.spans)} }

func (s *Set) append(dst []byte) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(s.spans)))
	last := uint64(0)
	for _, p := range s.spans {
		dst = wire.AppendUvarint(dst, p.from-last)
		dst = wire.AppendUvarint(dst, p.to-p.from)
		last = p.to
	}
	return dst
}

func decodeSet(d *wire.Decoder) *Set {
	s := &Set{}
	last := uint64(0)
	for range d.Count(2) {
		p := span{from: last + d.Uvarint()}
		p.to = p.from + d.Uvarint()
		if p.from < last || p.to < p.from || (len(s.spans) > 0 && p.from <= last+1) {
			d.Fail("run of numbers %d to %d behind %d", p.from, p.to, last)
		}
		if d.Err() != nil {
			return s
		}
		s.spans = append(s.spans, p)
		last = p.to
	}
	return s
}
