package buffer

import (
	"cmp"
	"slices"

	"github.com/count-db/count/engine/version"
	"github.com/count-db/count/internal/model"
)

// candidate is one sample of several that may have the same timestamp.
type candidate struct {
	t       int64
	v       float64
	start   int64
	version model.Version
	arrival uint32 // 0: it is of a chunk, so it came before all others of its t
	hist    *model.HistogramPoint
}

// merge adds the late samples and the histograms in sc to the columns, one
// sample a timestamp.
func (b *Buffer) merge(sc *scratch, dst *model.Columns) {
	for i, t := range dst.T {
		c := candidate{t: t, v: dst.V[i]}
		if len(dst.ST) > 0 {
			c.start = dst.ST[i]
		}
		if len(dst.Ver) > 0 {
			c.version = dst.Ver[i]
		}
		sc.merge = append(sc.merge, c)
	}
	for i := range sc.late {
		l := &sc.late[i]
		sc.merge = append(sc.merge, candidate{t: l.t, v: l.v, start: l.start, version: l.version, arrival: l.arrival})
	}
	for i := range sc.hists {
		h := &sc.hists[i]
		sc.merge = append(sc.merge, candidate{t: h.T, start: h.ST, version: h.Ver, arrival: h.arrival, hist: &h.HistogramPoint})
	}
	slices.SortFunc(sc.merge, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.t, b.t), cmp.Compare(a.arrival, b.arrival))
	})
	dst.Reset()
	for i := 0; i < len(sc.merge); {
		winner := &sc.merge[i]
		for i++; i < len(sc.merge) && sc.merge[i].t == winner.t; i++ {
			if other := &sc.merge[i]; !b.opts.Versions || other.wins(winner) {
				winner = other
			}
		}
		winner.appendTo(dst, b.opts.Versions)
	}
}

// wins is rule V1 between two samples of one timestamp.
func (c *candidate) wins(other *candidate) bool { return c.candidate().Wins(other.candidate()) }

func (c *candidate) candidate() version.Candidate {
	if c.hist != nil {
		return version.OfHistogram(c.hist)
	}
	return version.OfFloat(c.version, c.v, c.start)
}

// appendTo appends the sample to columns.
func (c *candidate) appendTo(dst *model.Columns, versions bool) {
	if c.hist != nil {
		dst.Hist = append(dst.Hist, *c.hist)
		return
	}
	if c.start != 0 && len(dst.ST) == 0 {
		dst.ST = append(dst.ST, make([]int64, len(dst.T))...)
	}
	if len(dst.ST) > 0 || c.start != 0 {
		dst.ST = append(dst.ST, c.start)
	}
	dst.T = append(dst.T, c.t)
	dst.V = append(dst.V, c.v)
	if versions {
		dst.Ver = append(dst.Ver, c.version)
	}
}
