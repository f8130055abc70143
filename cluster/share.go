package cluster

import (
	"strconv"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// Share is a part of all series: those of some candidate lists of a ring. Safe
// for concurrent use.
type Share struct {
	t     *topology
	lists []bool // by list
	count int
}

func newShare(t *topology, lists []int) *Share {
	s := &Share{t: t, lists: make([]bool, len(t.lists))}
	for _, i := range lists {
		if !s.lists[i] {
			s.lists[i] = true
			s.count++
		}
	}
	return s
}

// All says whether every series is in the share.
func (s *Share) All() bool { return s.count == len(s.lists) }

// Has says whether a series is in the share. ref is this node's reference of it,
// 0 where it has none: then the series is hashed.
func (s *Share) Has(ref model.Ref, ls labels.Labels) bool {
	if ref == 0 {
		return s.lists[s.t.ring.ListOf(model.SeriesIDOf(ls).Token())]
	}
	return s.lists[s.t.place.listOfSeries(ref, ls)]
}

// Name tells shares of this node's rings apart: equal ones have the same series.
func (s *Share) Name() string {
	name := strconv.AppendUint(nil, s.t.ring.Number(), 10)
	for _, i := range s.numbers() {
		name = strconv.AppendInt(append(name, ' '), int64(i), 10)
	}
	return string(name)
}

// numbers returns the lists, ascending.
func (s *Share) numbers() []int {
	out := make([]int, 0, s.count)
	for i, in := range s.lists {
		if in {
			out = append(out, i)
		}
	}
	return out
}
