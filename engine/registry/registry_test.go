package registry

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
)

func intern(t testing.TB, r *Registry, ls labels.Labels) model.Ref {
	t.Helper()
	ref, _, err := r.Intern(ls)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestInternAndLookup(t *testing.T) {
	r := New(Options{MaxSeries: 2})
	a := labels.FromStrings("__name__", "a", "x", "1")
	b := labels.FromStrings("__name__", "b")
	if _, ok := r.Lookup(a); ok {
		t.Fatal("an empty registry knows a series")
	}
	refA, created, err := r.Intern(a)
	if err != nil || !created || refA == 0 {
		t.Fatalf("Intern = %d, %v, %v", refA, created, err)
	}
	if again, created, err := r.Intern(a); err != nil || created || again != refA {
		t.Fatalf("second Intern = %d, %v, %v; want %d", again, created, err, refA)
	}
	refB := intern(t, r, b)
	if got, ok := r.Lookup(b); !ok || got != refB {
		t.Fatalf("Lookup = %d, %v; want %d", got, ok, refB)
	}
	if got, ok := r.LookupID(model.SeriesIDOf(a)); !ok || got != refA {
		t.Fatalf("LookupID = %d, %v; want %d", got, ok, refA)
	}
	if _, _, err := r.Intern(labels.FromStrings("__name__", "c")); !errors.Is(err, ErrLimit) {
		t.Fatalf("Intern beyond the limit: %v", err)
	}
	if !labels.Equal(r.Labels(refA), a) || r.ID(refA) != model.SeriesIDOf(a) || r.Token(refA) != model.SeriesIDOf(a).Token() {
		t.Fatal("labels, id or token differ")
	}
	if !r.Labels(99).IsEmpty() || r.Exists(99) || r.Len() != 2 || r.MaxRef() != refB {
		t.Fatal("an unknown reference has labels, or the counts are wrong")
	}
}

func TestDefine(t *testing.T) {
	r := New(Options{MaxSeries: 1})
	a, b := labels.FromStrings("__name__", "a"), labels.FromStrings("__name__", "b")
	for _, c := range []struct {
		ref  model.Ref
		ls   labels.Labels
		want model.Ref
		bad  bool
	}{
		{7, a, 7, false},
		{7, a, 7, false}, // a record replayed twice
		{9, a, 7, false}, // an older process gave it another reference
		{7, b, 0, true},
		{3, b, 3, false}, // out of order, and beyond the limit
		{0, b, 0, true},
	} {
		got, err := r.Define(c.ref, c.ls)
		if (err != nil) != c.bad || got != c.want {
			t.Errorf("Define(%d, %s) = %d, %v; want %d", c.ref, c.ls, got, err, c.want)
		}
	}
	if got := r.Select(); !slices.Equal(got, []model.Ref{3, 7}) {
		t.Errorf("Select() = %v", got)
	}
	r.opts.MaxSeries = 3
	if ref := intern(t, r, labels.FromStrings("__name__", "c")); ref != 10 { // 9 was named, too
		t.Errorf("the next reference is %d, want 10", ref)
	}
}

func TestPrepareNamesNewSeriesUntilLogged(t *testing.T) {
	r := New(Options{})
	ref := intern(t, r, labels.FromStrings("__name__", "a"))
	b := &model.Batch{
		Floats:    []model.FloatSample{{Ref: ref}, {Ref: ref}},
		Exemplars: []model.Exemplar{{Ref: ref}},
	}
	for range 2 { // also the second batch, until the first has its place in the log
		got, err := r.Prepare(b, nil)
		if err != nil || !slices.Equal(got, []model.Ref{ref}) {
			t.Fatalf("Prepare = %v, %v", got, err)
		}
	}
	r.MarkLogged([]model.Ref{ref})
	if got, err := r.Prepare(b, nil); err != nil || len(got) != 0 {
		t.Fatalf("Prepare after MarkLogged = %v, %v", got, err)
	}
	b.Hists = []model.HistogramSample{{Ref: 1000}}
	if _, err := r.Prepare(b, nil); !errors.Is(err, ErrUnknownRef) {
		t.Fatalf("Prepare of an unknown reference: %v", err)
	}
}

func TestEviction(t *testing.T) {
	r := New(Options{})
	var refs []model.Ref
	for i := range 5 {
		refs = append(refs, intern(t, r, labels.FromStrings("__name__", "m", "i", fmt.Sprint(i))))
	}
	r.MarkLogged(refs[:4]) // the last has a write under way
	r.MarkPresent(refs[1], 1)
	none := func(model.Ref) bool { return false }
	if n := r.MarkCold(none); n != 4 {
		t.Fatalf("MarkCold = %d", n)
	}
	intern(t, r, r.Labels(refs[0]))
	if _, err := r.Prepare(&model.Batch{Floats: []model.FloatSample{{Ref: refs[2]}}}, nil); err != nil {
		t.Fatal(err)
	}
	gone := r.Labels(refs[1])
	if n := r.RemoveCold(func(ref model.Ref) bool { return ref == refs[3] }); n != 1 {
		t.Fatalf("RemoveCold = %d", n)
	}
	if r.Exists(refs[1]) || r.Present(refs[1], 0, 9) || r.Generation() != 1 || r.Len() != 4 {
		t.Fatal("the evicted series is still there")
	}
	if _, err := r.Prepare(&model.Batch{Floats: []model.FloatSample{{Ref: refs[1]}}}, nil); !errors.Is(err, ErrUnknownRef) {
		t.Fatalf("Prepare of a gone reference: %v", err)
	}
	if got := r.LabelValues("i", 0); !slices.Equal(got, []string{"0", "2", "3", "4"}) {
		t.Fatalf("values = %v", got)
	}
	if ref := intern(t, r, gone); ref != 6 {
		t.Fatalf("the series came back as %d: references are never given twice", ref)
	}
	if n := r.RemoveCold(none); n != 0 {
		t.Fatalf("RemoveCold took %d series that were kept before", n)
	}
}

func TestEvictionLetsGoOfMemory(t *testing.T) {
	r := New(Options{})
	const n = 20 * pageSize
	for i := range n {
		ref := intern(t, r, labels.FromStrings("__name__", "m", "i", fmt.Sprint(i)))
		r.MarkPresent(ref, int64(i/pageSize))
		r.RaiseVersion(ref, model.Version(ref))
	}
	r.MarkLogged(r.Select())
	r.SortByLabels(r.Select())
	keep := func(ref model.Ref) bool { return ref == 5 || ref > n-pageSize }
	r.MarkCold(keep)
	r.RemoveCold(keep)
	pages := 0
	for _, p := range *r.pages.Load() {
		if p != nil {
			pages++
		}
	}
	if pages != 3 { // of 5, of the last ones, and of the next
		t.Errorf("%d pages for %d series", pages, r.Len())
	}
	// A series that comes back is not below what it had (V2).
	back := intern(t, r, labels.FromStrings("__name__", "m", "i", "7"))
	if v := r.HighestVersion(back); v < 8 {
		t.Errorf("the mark of an evicted series came down to %d", v)
	}
	refs := r.Select()
	r.SortByLabels(refs)
	if len(refs) != r.Len() || !r.Exists(5) || r.Exists(6) || r.Present(6, 0, 100) {
		t.Error("the rest is not what was kept")
	}
}

func TestConcurrentUse(t *testing.T) {
	fs := newFS(t)
	r, _ := open(t, fs)
	const series, workers = 500, 4
	refs := make([][]model.Ref, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range series {
				ls := labels.FromStrings("__name__", "m", "i", fmt.Sprint(i))
				ref, _, err := r.Intern(ls)
				if err != nil {
					t.Error(err)
					return
				}
				r.MarkPresent(ref, int64(i%3))
				r.MarkLogged([]model.Ref{ref})
				refs[w] = append(refs[w], ref)
				if i%100 == 0 {
					found := r.Select(labels.MustNewMatcher(labels.MatchRegexp, "i", ".*[05]"))
					r.SortByLabels(found)
					r.LabelValues("i", 0)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			r.MarkCold(func(ref model.Ref) bool { return ref%7 != 0 })
			r.RemoveCold(func(ref model.Ref) bool { return ref%14 != 0 })
			if err := r.Persist(); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if err := r.Persist(); err != nil {
		t.Fatal(err)
	}
	if again, _ := open(t, fs); !maps.Equal(contents(again), contents(r)) {
		t.Fatal("the file has other series than the registry")
	}
	for i := range series {
		ls := labels.FromStrings("__name__", "m", "i", fmt.Sprint(i))
		for w := range workers {
			if ref := refs[w][i]; r.Exists(ref) && !labels.Equal(r.Labels(ref), ls) {
				t.Fatalf("reference %d of %s names %s", ref, ls, r.Labels(ref))
			}
		}
	}
}

func TestVersionMarks(t *testing.T) {
	r := New(Options{})
	b := &model.Batch{Version: 10, Floats: []model.FloatSample{{Ref: 5}}, Hists: []model.HistogramSample{{Ref: 5000}}}
	if highest, stale := r.Stale(b); highest != 0 || stale {
		t.Fatalf("Stale = %d, %v", highest, stale)
	}
	r.RaiseVersions(b)
	if highest, stale := r.Stale(b); highest != 10 || !stale {
		t.Fatalf("Stale of the same version = %d, %v", highest, stale)
	}
	r.RaiseVersion(5, 3)
	r.RaiseVersionFloor(8)
	if r.HighestVersion(5) != 10 || r.HighestVersion(6) != 8 {
		t.Fatal("a mark was lowered, or the floor does not count")
	}
}

func TestPresenceIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := New(Options{})
		want := map[int64]map[model.Ref]bool{}
		n := rapid.IntRange(0, 2*maxFew).Draw(t, "marks")
		for range n {
			ref := model.Ref(rapid.IntRange(1, 5000).Draw(t, "ref"))
			w := rapid.Int64Range(-2, 2).Draw(t, "window")
			r.MarkPresent(ref, w)
			if want[w] == nil {
				want[w] = map[model.Ref]bool{}
			}
			want[w][ref] = true
		}
		from := rapid.Int64Range(-3, 3).Draw(t, "from")
		to := rapid.Int64Range(-3, 1<<40).Draw(t, "to")
		if rapid.Bool().Draw(t, "all") {
			from, to = math.MinInt64, math.MaxInt64
		}
		var all, kept []model.Ref
		for ref := model.Ref(1); ref < 5100; ref++ {
			all = append(all, ref)
			for w := range want {
				if w >= from && w <= to && want[w][ref] {
					kept = append(kept, ref)
					break
				}
			}
		}
		anywhere := r.PresentAnywhere()
		for _, ref := range all {
			marked := false
			for w := range want {
				marked = marked || want[w][ref]
			}
			if anywhere(ref) != marked {
				t.Fatalf("PresentAnywhere(%d) = %v", ref, anywhere(ref))
			}
		}
		var few, keptFew []model.Ref // less than the lists are long: asked one by one
		for i := 0; i < len(all); i += 200 {
			few = append(few, all[i])
			if slices.Contains(kept, all[i]) {
				keptFew = append(keptFew, all[i])
			}
		}
		if got := r.FilterPresent(few, from, to); !slices.Equal(got, keptFew) {
			t.Fatalf("[%d, %d]: %v, want %v", from, to, got, keptFew)
		}
		if got := r.FilterPresent(all, from, to); !slices.Equal(got, kept) {
			t.Fatalf("[%d, %d]: %d series, want %d", from, to, len(got), len(kept))
		}
	})
}
