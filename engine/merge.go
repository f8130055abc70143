package engine

import (
	"github.com/count-db/count/engine/version"
	"github.com/count-db/count/internal/model"
)

// merger merges runs of one series' samples that overlap in time (V1). A run
// is ascending and has at most one sample a timestamp. With versions the
// higher wins; without them the later run does: the order of arrival is the
// version.
type merger struct {
	versioned bool
	out       model.Columns // scratch that swaps with the accumulator
}

// head is the next sample of a run: of its floats or of its histograms.
type head struct {
	run  *model.Columns
	f, h int // next float and histogram
}

const maxTime = int64(^uint64(0) >> 1)

// time returns the timestamp of the next sample; ok is false at the end.
func (c *head) time() (t int64, ok bool) {
	t = maxTime
	if c.f < len(c.run.T) {
		t, ok = c.run.T[c.f], true
	}
	if c.h < len(c.run.Hist) && (!ok || c.run.Hist[c.h].T < t) {
		t, ok = c.run.Hist[c.h].T, true
	}
	return t, ok
}

// isHistogram says whether the next sample is a histogram.
func (c *head) isHistogram() bool {
	return c.f >= len(c.run.T) || (c.h < len(c.run.Hist) && c.run.Hist[c.h].T <= c.run.T[c.f])
}

func (c *head) skip() {
	if c.isHistogram() {
		c.h++
		return
	}
	c.f++
}

// version returns the version of the next sample, 0 when it has none.
func (c *head) version() model.Version {
	switch {
	case c.isHistogram():
		return c.run.Hist[c.h].Ver
	case len(c.run.Ver) > 0:
		return c.run.Ver[c.f]
	}
	return 0
}

// candidate returns the next sample as the merge rule sees it.
func (c *head) candidate() version.Candidate {
	if c.isHistogram() {
		return version.OfHistogram(&c.run.Hist[c.h])
	}
	ver := c.version()
	var start int64
	if len(c.run.ST) > 0 {
		start = c.run.ST[c.f]
	}
	return version.OfFloat(ver, c.run.V[c.f], start)
}

// merge makes acc the merge of acc and later; acc's samples arrived before
// those of later. Both may be the caller's scratch: nothing of later is kept
// but its histograms' pointers.
func (m *merger) merge(acc, later *model.Columns) {
	if acc.Len() == 0 || later.Len() == 0 || endsBefore(acc, later) {
		key := joinTKeys(acc, later)
		appendColumns(acc, later)
		acc.TKey = key
		return
	}
	m.out.Reset()
	a, b := head{run: acc}, head{run: later}
	for {
		ta, oka := a.time()
		tb, okb := b.time()
		switch {
		case !oka && !okb:
			*acc, m.out = m.out, *acc
			return
		case !okb || (oka && ta < tb):
			appendHead(&m.out, &a)
		case !oka || tb < ta:
			appendHead(&m.out, &b)
		case m.laterWins(&a, &b):
			a.skip()
			appendHead(&m.out, &b)
		default:
			b.skip()
			appendHead(&m.out, &a)
		}
	}
}

// laterWins decides between two samples of one timestamp.
func (m *merger) laterWins(a, b *head) bool {
	if !m.versioned {
		return true
	}
	if a.version() == 0 && b.version() == 0 {
		return true // written before this node had versions
	}
	return b.candidate().Wins(a.candidate())
}

// endsBefore says whether all of a is before all of b.
func endsBefore(a, b *model.Columns) bool {
	_, last := timeRange(a)
	first, _ := timeRange(b)
	return last < first
}

// timeRange returns the first and the last timestamp of columns that are not
// empty.
func timeRange(c *model.Columns) (first, last int64) {
	first, last = maxTime, -maxTime-1
	if n := len(c.T); n > 0 {
		first, last = c.T[0], c.T[n-1]
	}
	if n := len(c.Hist); n > 0 {
		first, last = min(first, c.Hist[0].T), max(last, c.Hist[n-1].T)
	}
	return first, last
}

// appendHead appends a run's next sample and moves on.
func appendHead(dst *model.Columns, c *head) {
	if c.isHistogram() {
		dst.Hist = append(dst.Hist, c.run.Hist[c.h])
		c.h++
		return
	}
	i := c.f
	c.f++
	if len(c.run.ST) > 0 {
		padStarts(dst)
		dst.ST = append(dst.ST, c.run.ST[i])
	} else if len(dst.ST) > 0 {
		dst.ST = append(dst.ST, 0)
	}
	if len(c.run.Ver) > 0 {
		dst.Ver = append(dst.Ver, c.run.Ver[i])
	}
	dst.T = append(dst.T, c.run.T[i])
	dst.V = append(dst.V, c.run.V[i])
}

// joinTKeys returns the key of the timestamps of a followed by those of b; 0
// when one of them is unknown.
func joinTKeys(a, b *model.Columns) uint64 {
	switch {
	case len(b.T) == 0:
		return a.TKey
	case len(a.T) == 0:
		return b.TKey
	}
	return joinKeys(a.TKey, b.TKey)
}

// joinKeys returns the key of two columns one after the other. Any mixing will
// do: the parts are hashes or numbers that name a column.
func joinKeys(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return 0
	}
	h := (a ^ (b*0x9E3779B97F4A7C15 + a>>29)) * 0xBF58476D1CE4E5B9
	return (h ^ h>>32) | 1
}

// appendColumns appends src, all of which is behind dst.
func appendColumns(dst, src *model.Columns) {
	if len(src.ST) > 0 {
		padStarts(dst)
		dst.ST = append(dst.ST, src.ST...)
	}
	dst.T = append(dst.T, src.T...)
	dst.V = append(dst.V, src.V...)
	if len(dst.ST) > 0 {
		padStarts(dst)
	}
	dst.Ver = append(dst.Ver, src.Ver...)
	dst.Hist = append(dst.Hist, src.Hist...)
}

// padStarts makes ST as long as T: no start timestamp where none was given.
func padStarts(c *model.Columns) {
	for len(c.ST) < len(c.T) {
		c.ST = append(c.ST, 0)
	}
}

// dropSpans removes what tombstones delete: samples with a version below
// theirs, and samples without one of files that came before them; after is the
// last delete that the file needs not be asked for.
func dropSpans(c *model.Columns, spans []span, after uint64) {
	if len(spans) == 0 {
		return
	}
	deleted := func(t int64, v model.Version) bool {
		for i := range spans {
			s := &spans[i]
			if t >= s.mint && t <= s.maxt && ((v == 0 && s.seq > after) || (v != 0 && v < s.version)) {
				return true
			}
		}
		return false
	}
	n := 0
	for i, t := range c.T {
		var ver model.Version
		if len(c.Ver) > 0 {
			ver = c.Ver[i]
		}
		if deleted(t, ver) {
			continue
		}
		c.T[n], c.V[n] = t, c.V[i]
		if len(c.ST) > 0 {
			c.ST[n] = c.ST[i]
		}
		if len(c.Ver) > 0 {
			c.Ver[n] = ver
		}
		n++
	}
	if n < len(c.T) {
		c.TKey = 0
	}
	c.T, c.V = c.T[:n], c.V[:n]
	c.ST, c.Ver = c.ST[:min(n, len(c.ST))], c.Ver[:min(n, len(c.Ver))]
	h := 0
	for _, p := range c.Hist {
		if !deleted(p.T, p.Ver) {
			c.Hist[h] = p
			h++
		}
	}
	clear(c.Hist[h:])
	c.Hist = c.Hist[:h]
}
