package engine

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
)

// naive is the merge rule said in the obvious way: a map by timestamp.
type naive map[int64]sampleAt

type sampleAt struct {
	v    float64
	st   int64
	hist *histogram.Histogram
	ver  model.Version
}

func (n naive) put(t int64, s sampleAt, versioned bool) {
	old, ok := n[t]
	if ok && versioned && s.ver <= old.ver {
		return
	}
	n[t] = s
}

func columnsOf(n naive, versioned bool) *model.Columns {
	c := &model.Columns{}
	hasST := false
	for _, s := range n {
		hasST = hasST || (s.hist == nil && s.st != 0)
	}
	for _, t := range slices.Sorted(maps.Keys(n)) {
		s := n[t]
		if s.hist != nil {
			p := model.HistogramPoint{T: t, ST: s.st, H: s.hist}
			if versioned {
				p.Ver = s.ver
			}
			c.Hist = append(c.Hist, p)
			continue
		}
		c.T, c.V = append(c.T, t), append(c.V, s.v)
		if hasST {
			c.ST = append(c.ST, s.st)
		}
		if versioned {
			c.Ver = append(c.Ver, s.ver)
		}
	}
	return c
}

func sameColumns(a, b *model.Columns) bool {
	st := func(c *model.Columns) []int64 {
		if slices.ContainsFunc(c.ST, func(t int64) bool { return t != 0 }) {
			return c.ST
		}
		return nil
	}
	return slices.Equal(a.T, b.T) && slices.Equal(st(a), st(b)) && slices.Equal(a.Ver, b.Ver) && slices.Equal(a.Hist, b.Hist) &&
		slices.EqualFunc(a.V, b.V, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
}

func TestMergeEqualsNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		versioned := rapid.Bool().Draw(t, "versioned")
		want := naive{}
		var got model.Columns
		m := merger{versioned: versioned}
		ver := model.Version(0)
		for range rapid.IntRange(1, 5).Draw(t, "runs") {
			run := naive{}
			base := rapid.Int64Range(0, 40).Draw(t, "base")
			withST := rapid.Bool().Draw(t, "withST")
			for range rapid.IntRange(0, 12).Draw(t, "samples") {
				ver++
				s := sampleAt{v: rapid.Float64().Draw(t, "v"), ver: ver}
				if versioned {
					// Distinct versions in any order: which wins must not depend on the runs.
					s.ver = model.Version(rapid.Uint32().Draw(t, "ver"))<<16 | ver
				}
				if withST {
					s.st = rapid.Int64Range(0, 2).Draw(t, "st")
				}
				if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
					s.v, s.hist = 0, &histogram.Histogram{Count: uint64(ver)}
				}
				run.put(base+rapid.Int64Range(0, 20).Draw(t, "t"), s, versioned)
			}
			for ts, s := range run {
				want.put(ts, s, versioned)
			}
			m.merge(&got, columnsOf(run, versioned))
		}
		if w := columnsOf(want, versioned); !sameColumns(&got, w) {
			t.Fatalf("merged %+v, want %+v", got, *w)
		}
	})
}

func TestDropSpans(t *testing.T) {
	c := &model.Columns{
		T: []int64{1, 2, 3, 4, 5}, V: []float64{1, 2, 3, 4, 5}, ST: []int64{0, 1, 0, 1, 0}, TKey: 7,
		Hist: []model.HistogramPoint{{T: 6}, {T: 7}},
	}
	dropSpans(c, []span{{mint: 2, maxt: 3, seq: 8}, {mint: 7, maxt: 9, seq: 9}, {mint: 5, maxt: 5, seq: 7}}, 7)
	want := &model.Columns{T: []int64{1, 4, 5}, V: []float64{1, 4, 5}, ST: []int64{0, 1, 0}, Hist: []model.HistogramPoint{{T: 6}}}
	if !sameColumns(c, want) || c.TKey != 0 {
		t.Fatalf("got %+v", *c)
	}
	versioned := &model.Columns{T: []int64{1, 2}, V: []float64{1, 2}, Ver: []model.Version{4, 6}}
	dropSpans(versioned, []span{{mint: 0, maxt: 9, version: 5, seq: 1}}, 0)
	if !slices.Equal(versioned.T, []int64{2}) || !slices.Equal(versioned.Ver, []model.Version{6}) {
		t.Fatalf("got %+v", *versioned)
	}
}
