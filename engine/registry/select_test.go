package registry

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
)

var (
	names  = []string{"__name__", "a", "b", "c"}
	values = []string{"1", "2", "foo", "foobar", "bar", "x\ny", "FOO", "föö"}
	regexs = []string{"", ".+", ".*", "foo", "foo|bar", "foo.*", "fo+", "(?i:foo)", "1|2|nope", "|foo", "x.y", "[12]", ".*o.*", "foo(bar)?", "nope.*"}
)

func drawLabels(t *rapid.T) labels.Labels {
	b := labels.NewScratchBuilder(4)
	for i, name := range names {
		if i == 0 || rapid.Bool().Draw(t, "has "+name) {
			b.Add(name, rapid.SampledFrom(values).Draw(t, name))
		}
	}
	if rapid.Bool().Draw(t, "unique") {
		b.Add("u", fmt.Sprint(rapid.IntRange(0, 200).Draw(t, "u")))
	}
	return b.Labels()
}

func drawMatcher(t *rapid.T) *labels.Matcher {
	name := rapid.SampledFrom(append([]string{"nope", "u"}, names...)).Draw(t, "matcher name")
	kind := rapid.SampledFrom([]labels.MatchType{
		labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp, labels.MatchNotRegexp,
	}).Draw(t, "kind")
	pool := append([]string{""}, values...)
	if kind == labels.MatchRegexp || kind == labels.MatchNotRegexp {
		pool = regexs
	}
	return labels.MustNewMatcher(kind, name, rapid.SampledFrom(pool).Draw(t, "value"))
}

func matchAll(ls labels.Labels, ms []*labels.Matcher) bool {
	for _, m := range ms {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// TestSelectIsTheObviousFilter holds Select, LabelNames, LabelValues and
// SortByLabels against a walk over all series, with evictions in between.
func TestSelectIsTheObviousFilter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := New(Options{})
		live := map[model.Ref]labels.Labels{}
		for round := range 3 {
			for range rapid.IntRange(0, 60).Draw(t, "series") {
				ls := drawLabels(t)
				ref, _, err := r.Intern(ls)
				if err != nil {
					t.Fatal(err)
				}
				live[ref] = ls
				r.MarkLogged([]model.Ref{ref})
			}
			if round == 1 {
				modulus := model.Ref(rapid.IntRange(2, 9).Draw(t, "evict every"))
				keep := func(ref model.Ref) bool { return ref%modulus != 0 }
				r.MarkCold(keep)
				r.RemoveCold(keep)
				for ref := range live {
					if !keep(ref) {
						delete(live, ref)
					}
				}
			}
			var ms []*labels.Matcher
			for range rapid.IntRange(0, 3).Draw(t, "matchers") {
				ms = append(ms, drawMatcher(t))
			}
			checkSelect(t, r, live, ms)
		}
	})
}

func checkSelect(t *rapid.T, r *Registry, live map[model.Ref]labels.Labels, ms []*labels.Matcher) {
	var want []model.Ref
	wantNames, wantValues := map[string]bool{}, map[string]bool{}
	for ref, ls := range live {
		if matchAll(ls, ms) {
			want = append(want, ref)
			ls.Range(func(l labels.Label) { wantNames[l.Name] = true })
			if v := ls.Get("a"); v != "" {
				wantValues[v] = true
			}
		}
	}
	slices.Sort(want)
	got := r.Select(ms...)
	if !slices.Equal(got, want) {
		t.Fatalf("Select(%v) = %v, want %v", ms, got, want)
	}
	limit := rapid.IntRange(0, 3).Draw(t, "limit")
	checkSet(t, "names", r.LabelNames(limit, ms...), wantNames, limit)
	checkSet(t, "values", r.LabelValues("a", limit, ms...), wantValues, limit)

	r.SortByLabels(got)
	slices.SortFunc(want, func(a, b model.Ref) int { return labels.Compare(live[a], live[b]) })
	if !slices.Equal(got, want) {
		t.Fatalf("sorted: %v, want %v", got, want)
	}
}

func checkSet(t *rapid.T, what string, got []string, set map[string]bool, limit int) {
	want := make([]string, 0, len(set))
	for v := range set {
		want = append(want, v)
	}
	slices.Sort(want)
	if limit > 0 && len(want) > limit {
		want = want[:limit]
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%s = %q, want %q (limit %d)", what, got, want, limit)
	}
}

func drawRefs(t *rapid.T) []model.Ref {
	highest := rapid.SampledFrom([]int{30, 3000, 1 << 30}).Draw(t, "highest")
	refs := rapid.SliceOfN(rapid.Uint32Range(1, uint32(highest)), 0, 80).Draw(t, "refs")
	out := make([]model.Ref, len(refs))
	for i, ref := range refs {
		out[i] = model.Ref(ref)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestSetOperations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawRefs(t), drawRefs(t), drawRefs(t)
		in := func(l []model.Ref) map[model.Ref]bool {
			m := map[model.Ref]bool{}
			for _, ref := range l {
				m[ref] = true
			}
			return m
		}
		inA, inB, inC := in(a), in(b), in(c)
		var both, only, any []model.Ref
		for ref := range inA {
			if inB[ref] {
				both = append(both, ref)
			} else {
				only = append(only, ref)
			}
		}
		for _, l := range []map[model.Ref]bool{inA, inB, inC} {
			for ref := range l {
				any = append(any, ref)
			}
		}
		for _, l := range []*[]model.Ref{&both, &only, &any} {
			slices.Sort(*l)
			*l = slices.Compact(*l)
		}
		if got := intersects(a, b); got != (len(both) > 0) {
			t.Fatalf("intersects = %v", got)
		}
		if got := union([][]model.Ref{a, b, c}); !slices.Equal(got, any) {
			t.Fatalf("union = %v, want %v", got, any)
		}
		if got := intersect(nil, a, b); !slices.Equal(got, both) {
			t.Fatalf("intersect = %v, want %v", got, both)
		}
		if got := subtract(nil, a, b); !slices.Equal(got, only) {
			t.Fatalf("subtract = %v, want %v", got, only)
		}
		// In place, as Select does it.
		if got := intersect(slices.Clone(a)[:0], slices.Clone(a), b); !slices.Equal(got, both) {
			t.Fatalf("intersect = %v, want %v", got, both)
		}
		own := slices.Clone(a)
		if got := intersect(own[:0], own, b); !slices.Equal(got, both) {
			t.Fatalf("intersect in place = %v, want %v", got, both)
		}
		own = slices.Clone(a)
		if got := subtract(own[:0], own, b); !slices.Equal(got, only) {
			t.Fatalf("subtract in place = %v, want %v", got, only)
		}
	})
}

// TestOrderGrows sorts selections while the order they are ranked by ages.
func TestOrderGrows(t *testing.T) {
	r := New(Options{})
	for i := range 3000 {
		intern(t, r, labels.FromStrings("__name__", fmt.Sprint("m", i%17), "i", fmt.Sprint(i*7919%3000)))
		if i%97 != 0 {
			continue
		}
		refs := r.Select(labels.MustNewMatcher(labels.MatchNotEqual, "__name__", "m3"))
		r.SortByLabels(refs)
		if !slices.IsSortedFunc(refs, func(a, b model.Ref) int { return labels.Compare(r.Labels(a), r.Labels(b)) }) {
			t.Fatalf("not sorted with %d series", i)
		}
	}
}

func TestCardinality(t *testing.T) {
	r := New(Options{})
	for i := range 10 {
		intern(t, r, labels.FromStrings("__name__", "m", "i", fmt.Sprint(i)))
	}
	intern(t, r, labels.FromStrings("__name__", "n", "i", "3"))
	c := r.Cardinality(2)
	if c.Series != 11 || c.LabelPairs != 12 {
		t.Errorf("series %d, pairs %d", c.Series, c.LabelPairs)
	}
	for _, l := range []struct {
		what string
		got  []Count
		want []Count
	}{
		{"series by metric", c.SeriesByMetric, []Count{{"m", 10}, {"n", 1}}},
		{"values by label", c.ValuesByLabel, []Count{{"i", 10}, {"__name__", 2}}},
		{"bytes by label", c.BytesByLabel, []Count{{"__name__", 11}, {"i", 11}}},
		{"series by pair", c.SeriesByPair, []Count{{"__name__=m", 10}, {"i=3", 2}}},
	} {
		if !slices.Equal(l.got, l.want) {
			t.Errorf("%s = %v, want %v", l.what, l.got, l.want)
		}
	}
	if c := r.Cardinality(0); len(c.SeriesByMetric) != 0 {
		t.Errorf("limit 0: %v", c.SeriesByMetric)
	}
}
