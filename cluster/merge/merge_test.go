package merge

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
)

// rule stands in for the engine's: histograms here differ in their sums only.
func rule(a, b *model.HistogramPoint) int {
	return cmp.Or(bytes.Compare(fmt.Append(nil, sum(a)), fmt.Append(nil, sum(b))), cmp.Compare(a.ST, b.ST))
}

func sum(p *model.HistogramPoint) float64 {
	if p.H != nil {
		return p.H.Sum
	}
	return p.FH.Sum
}

// sample is a sample of any kind for the plain merge.
type sample struct {
	t, st int64
	ver   model.Version
	kind  int
	v     float64
}

func drawSample(t *rapid.T) sample {
	return sample{
		t: rapid.Int64Range(1, 8).Draw(t, "t"), ver: model.Version(rapid.IntRange(1, 4).Draw(t, "ver")),
		kind: rapid.IntRange(0, 2).Draw(t, "kind"), v: float64(rapid.IntRange(0, 2).Draw(t, "v")),
		st: rapid.Int64Range(0, 1).Draw(t, "st"),
	}
}

func (a sample) wins(b sample) bool {
	return cmp.Or(cmp.Compare(a.ver, b.ver), cmp.Compare(a.kind, b.kind), cmp.Compare(a.v, b.v), cmp.Compare(a.st, b.st)) > 0
}

func plain(all []sample) map[int64]sample {
	out := map[int64]sample{}
	for _, s := range all {
		if old, ok := out[s.t]; !ok || s.wins(old) {
			out[s.t] = s
		}
	}
	return out
}

func columns(m map[int64]sample) *model.Columns {
	c := &model.Columns{}
	for _, t := range slices.Sorted(maps.Keys(m)) {
		s := m[t]
		switch s.kind {
		case 0:
			c.T, c.V, c.Ver, c.ST = append(c.T, t), append(c.V, s.v), append(c.Ver, s.ver), append(c.ST, s.st)
		case 1:
			c.Hist = append(c.Hist, model.HistogramPoint{T: t, ST: s.st, Ver: s.ver, H: &histogram.Histogram{Sum: s.v}})
		default:
			c.Hist = append(c.Hist, model.HistogramPoint{T: t, ST: s.st, Ver: s.ver, FH: &histogram.FloatHistogram{Sum: s.v}})
		}
	}
	if !slices.ContainsFunc(c.ST, func(st int64) bool { return st != 0 }) {
		c.ST = nil
	}
	return c
}

// TestAgainstMap: V1. Any split of the writes over copies merges to what one
// plain map over all writes holds, in any order of the copies; and what Missing
// names makes each copy whole.
func TestAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var copies []*model.Columns
		var all []sample
		for range rapid.IntRange(1, 4).Draw(t, "copies") {
			var some []sample
			for range rapid.IntRange(0, 8).Draw(t, "samples") {
				some = append(some, drawSample(t))
			}
			if len(all) > 0 && rapid.Bool().Draw(t, "same as another") {
				some = append(some, all...)
			}
			all = append(all, some...)
			copies = append(copies, columns(plain(some)))
		}
		want := columns(plain(all))
		var got model.Columns
		same := Columns(&got, copies, rule)
		if !equal(&got, want, rule) {
			t.Fatalf("merged %+v, want %+v", got, want)
		}
		if same != (len(copies) == 1 || !slices.ContainsFunc(copies[1:], func(c *model.Columns) bool { return !equal(c, copies[0], rule) })) {
			t.Fatalf("same is %v", same)
		}
		for _, c := range copies {
			var missing, whole model.Columns
			Missing(&missing, &got, c, rule)
			if Columns(&whole, []*model.Columns{c, &missing}, rule); !equal(&whole, want, rule) {
				t.Fatalf("copy %+v with %+v is %+v, want %+v", c, missing, whole, want)
			}
		}
	})
}

func TestHide(t *testing.T) {
	c := &model.Columns{T: []int64{1, 2, 3, 4}, V: []float64{1, 2, 3, 4}, Ver: []model.Version{5, 5, 9, 5}}
	ls := labels.FromStrings("__name__", "m")
	match := labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")
	other := labels.MustNewMatcher(labels.MatchEqual, "__name__", "n")
	if Hide(c, ls, []model.Tombstone{{Version: 7, MinT: 0, MaxT: 9, Matchers: []*labels.Matcher{other}}}) {
		t.Fatal("a tombstone of another series hid something")
	}
	if !Hide(c, ls, []model.Tombstone{{Version: 7, MinT: 2, MaxT: 3, Matchers: []*labels.Matcher{match}}}) {
		t.Fatal("nothing hidden")
	}
	if !slices.Equal(c.T, []int64{1, 3, 4}) || !slices.Equal(c.V, []float64{1, 3, 4}) {
		t.Fatalf("left: %+v", c)
	}
}
