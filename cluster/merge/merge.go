package merge

import (
	"cmp"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// Rule orders histograms of equal versions; it must be the engine's. Positive
// when a wins, 0 when they are the same sample.
type Rule func(a, b *model.HistogramPoint) int

// Columns merges copies of a series into dst, which must be none of them. The
// copies have versions for all of their samples. same says that all copies were
// equal; then dst is a copy of the first.
func Columns(dst *model.Columns, copies []*model.Columns, rule Rule) (same bool) {
	dst.Reset()
	if len(copies) == 0 {
		return true
	}
	same = true
	for _, c := range copies[1:] {
		if !equal(copies[0], c, rule) {
			same = false
			break
		}
	}
	if same {
		appendAll(dst, copies[0])
		return true
	}
	m := merger{dst: dst, rule: rule, heads: make([]head, len(copies))}
	for i, c := range copies {
		m.heads[i].cols = c
	}
	m.run()
	return false
}

func equal(a, b *model.Columns, rule Rule) bool {
	if !slices.Equal(a.T, b.T) || !slices.Equal(a.Ver, b.Ver) || len(a.Hist) != len(b.Hist) {
		return false
	}
	for i, v := range a.V {
		if math.Float64bits(v) != math.Float64bits(b.V[i]) {
			return false
		}
	}
	if len(a.ST)+len(b.ST) > 0 {
		for i := range a.T {
			if startOf(a, i) != startOf(b, i) {
				return false
			}
		}
	}
	for i := range a.Hist {
		if a.Hist[i].T != b.Hist[i].T || compareHistograms(&a.Hist[i], &b.Hist[i], rule) != 0 {
			return false
		}
	}
	return true
}

func startOf(c *model.Columns, i int) int64 {
	if i < len(c.ST) {
		return c.ST[i]
	}
	return 0
}

func appendAll(dst, c *model.Columns) {
	dst.T = append(dst.T, c.T...)
	dst.V = append(dst.V, c.V...)
	dst.ST = append(dst.ST, c.ST...)
	dst.Ver = append(dst.Ver, c.Ver...)
	dst.Hist = append(dst.Hist, c.Hist...)
}

func compareHistograms(a, b *model.HistogramPoint, rule Rule) int {
	if a.Ver != b.Ver {
		return cmp.Compare(a.Ver, b.Ver)
	}
	if af, bf := a.FH != nil, b.FH != nil; af != bf {
		if af {
			return 1
		}
		return -1
	}
	return rule(a, b)
}

// head is where a copy has been read to.
type head struct {
	cols *model.Columns
	f, h int // next float, next histogram
}

const never = math.MaxInt64

func (h *head) floatAt() (int64, bool) {
	if h.f < len(h.cols.T) {
		return h.cols.T[h.f], true
	}
	return never, false
}

func (h *head) histAt() (int64, bool) {
	if h.h < len(h.cols.Hist) {
		return h.cols.Hist[h.h].T, true
	}
	return never, false
}

type merger struct {
	dst   *model.Columns
	rule  Rule
	heads []head
}

func (m *merger) run() {
	for {
		t, any := int64(never), false
		for i := range m.heads {
			if at, ok := m.heads[i].floatAt(); ok {
				t, any = min(t, at), true
			}
			if at, ok := m.heads[i].histAt(); ok {
				t, any = min(t, at), true
			}
		}
		if !any {
			return
		}
		m.take(t)
	}
}

// take merges everything at one timestamp: a float loses to a histogram of the
// same version, because its kind is the smaller one.
func (m *merger) take(t int64) {
	var bestFloat, bestHist *head
	for i := range m.heads {
		h := &m.heads[i]
		if at, ok := h.floatAt(); ok && at == t && (bestFloat == nil || floatWins(h, bestFloat)) {
			bestFloat = h
		}
		if at, ok := h.histAt(); ok && at == t {
			if bestHist == nil || compareHistograms(&h.cols.Hist[h.h], &bestHist.cols.Hist[bestHist.h], m.rule) > 0 {
				bestHist = h
			}
		}
	}
	if bestHist != nil && (bestFloat == nil || bestHist.cols.Hist[bestHist.h].Ver >= bestFloat.cols.Ver[bestFloat.f]) {
		m.dst.Hist = append(m.dst.Hist, bestHist.cols.Hist[bestHist.h])
	} else {
		m.appendFloat(bestFloat)
	}
	for i := range m.heads {
		h := &m.heads[i]
		if at, ok := h.floatAt(); ok && at == t {
			h.f++
		}
		if at, ok := h.histAt(); ok && at == t {
			h.h++
		}
	}
}

func floatWins(a, b *head) bool {
	return cmp.Or(
		cmp.Compare(a.cols.Ver[a.f], b.cols.Ver[b.f]),
		cmp.Compare(math.Float64bits(a.cols.V[a.f]), math.Float64bits(b.cols.V[b.f])),
		cmp.Compare(startOf(a.cols, a.f), startOf(b.cols, b.f)),
	) > 0
}

func (m *merger) appendFloat(h *head) {
	d := m.dst
	if st := startOf(h.cols, h.f); st != 0 || len(d.ST) > 0 {
		for len(d.ST) < len(d.T) {
			d.ST = append(d.ST, 0)
		}
		d.ST = append(d.ST, st)
	}
	d.T = append(d.T, h.cols.T[h.f])
	d.V = append(d.V, h.cols.V[h.f])
	d.Ver = append(d.Ver, h.cols.Ver[h.f])
}

// Hide removes from c what the tombstones delete (V3): samples of a matched
// series in their range with a lower version. It says whether anything was.
func Hide(c *model.Columns, ls labels.Labels, tombstones []model.Tombstone) bool {
	hidden := false
	for i := range tombstones {
		if t := &tombstones[i]; overlaps(c, t) && t.Matches(ls) {
			hidden = hideOne(c, t) || hidden
		}
	}
	return hidden
}

func overlaps(c *model.Columns, t *model.Tombstone) bool {
	if n := len(c.T); n > 0 && c.T[0] <= t.MaxT && c.T[n-1] >= t.MinT {
		return true
	}
	n := len(c.Hist)
	return n > 0 && c.Hist[0].T <= t.MaxT && c.Hist[n-1].T >= t.MinT
}

func hideOne(c *model.Columns, t *model.Tombstone) bool {
	before := c.Len()
	c.Keep(func(at int64, v model.Version) bool { return at < t.MinT || at > t.MaxT || v >= t.Version })
	return c.Len() < before
}

// Missing appends to dst the samples of merged that a copy has not, or has in a
// version that lost: what the copy's holder must be sent.
func Missing(dst, merged, held *model.Columns, rule Rule) {
	j := 0
	for i, t := range merged.T {
		for j < len(held.T) && held.T[j] < t {
			j++
		}
		if j < len(held.T) && held.T[j] == t && held.Ver[j] == merged.Ver[i] &&
			math.Float64bits(held.V[j]) == math.Float64bits(merged.V[i]) && startOf(held, j) == startOf(merged, i) {
			continue
		}
		m := merger{dst: dst}
		m.appendFloat(&head{cols: merged, f: i})
	}
	j = 0
	for i := range merged.Hist {
		p := &merged.Hist[i]
		for j < len(held.Hist) && held.Hist[j].T < p.T {
			j++
		}
		if j < len(held.Hist) && held.Hist[j].T == p.T && compareHistograms(&held.Hist[j], p, rule) == 0 {
			continue
		}
		dst.Hist = append(dst.Hist, *p)
	}
}
