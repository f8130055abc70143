package day

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// sealed writes a sealed file of one window with one sample per series, whose
// value is the window, and returns it as a source. Labels are by reference.
func sealed(t rapid.TB, fs vfs.FS, window int64, refs []model.Ref, known []labels.Labels) Source {
	t.Helper()
	refs = slices.Clone(refs)
	sort.Slice(refs, func(i, j int) bool { return labels.Compare(known[refs[i]], known[refs[j]]) < 0 })
	name := fmt.Sprintf("w%d-%d", window, len(refs))
	_, err := file.Create(fs, name, file.Sealed, func(w *file.Writer) error {
		for _, ref := range refs {
			w.Begin(ref)
			w.Floats(window, []int64{window * 7_200_000}, []float64{float64(window)}, nil, nil)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := fs.OpenRead(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := file.Open(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Source{File: r, Labels: func(i int) (labels.Labels, error) { return known[r.Ref(i)], nil }}
}

func open(t rapid.TB, fs vfs.FS, name string) *Reader {
	t.Helper()
	r, err := Open(fs, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.File().Check(); err != nil {
		t.Fatal(err)
	}
	return r
}

func neverCombine(*file.Writer, int64, []Part) error { return fmt.Errorf("nothing to combine") }

// drawLabels draws distinct label sets of few names and values.
func drawLabels(t *rapid.T) []labels.Labels {
	n := rapid.IntRange(0, 150).Draw(t, "series")
	seen := map[string]bool{}
	var out []labels.Labels
	word := rapid.SampledFrom([]string{"", "", "a", "b", "cpu", "mem", "é", "z"})
	for range n {
		b := labels.NewScratchBuilder(4)
		for _, name := range []string{"Zone", "__name__", "a", "host"} {
			if v := word.Draw(t, "value"); v != "" {
				b.Add(name, v)
			}
		}
		if ls := b.Labels(); !seen[ls.String()] {
			seen[ls.String()] = true
			out = append(out, ls)
		}
	}
	return out
}

func drawMatchers(t *rapid.T) []*labels.Matcher {
	var ms []*labels.Matcher
	for range rapid.IntRange(0, 3).Draw(t, "matchers") {
		m, err := labels.NewMatcher(
			rapid.SampledFrom([]labels.MatchType{labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp, labels.MatchNotRegexp}).Draw(t, "type"),
			rapid.SampledFrom([]string{"Zone", "__name__", "a", "host", "none"}).Draw(t, "name"),
			rapid.SampledFrom([]string{"", "a", "cpu", "cpu|mem", "a|", ".*", ".+", "c.*", "[ab]", "nobody"}).Draw(t, "pattern"))
		if err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m)
	}
	return ms
}

func matches(ls labels.Labels, ms []*labels.Matcher) bool {
	for _, m := range ms {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// TestDay joins windows and compares the index with looking at every series.
func TestDay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		known := drawLabels(t)
		var sources []Source
		windows := map[string][]int64{}
		for window := range int64(rapid.IntRange(1, 4).Draw(t, "windows")) {
			var refs []model.Ref
			for ref := range known {
				if rapid.IntRange(0, 3).Draw(t, "present") > 0 {
					refs = append(refs, model.Ref(ref))
					windows[known[ref].String()] = append(windows[known[ref].String()], window)
				}
			}
			sources = append(sources, sealed(t, fs, window, refs, known))
		}
		if _, err := Create(fs, "day", sources, Options{Combine: neverCombine}); err != nil {
			t.Fatal(err)
		}
		r := open(t, fs, "day")
		if r.Len() != len(windows) {
			t.Fatalf("%d series, want %d", r.Len(), len(windows))
		}
		all := checkSeries(t, r, windows)
		for range 5 {
			checkIndex(t, r, all, drawMatchers(t))
		}
	})
}

// checkSeries compares the chunks and the order of all series.
func checkSeries(t *rapid.T, r *Reader, windows map[string][]int64) []labels.Labels {
	c := r.File().Cursor()
	defer c.Release()
	var all []labels.Labels
	for i := range r.Len() {
		ls, err := r.Labels(i)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && labels.Compare(all[i-1], ls) >= 0 {
			t.Fatalf("%v behind %v", ls, all[i-1])
		}
		all = append(all, ls)
		chunks, err := c.Load(i)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for j := range chunks {
			vs, err := c.Floats(nil, &chunks[j])
			if err != nil || len(vs) != 1 || int64(vs[0]) != chunks[j].Window {
				t.Fatalf("%v: chunk %+v of %v", err, chunks[j], vs)
			}
			got = append(got, chunks[j].Window)
		}
		if !slices.Equal(got, windows[ls.String()]) {
			t.Fatalf("windows %v of %v, want %v", got, ls, windows[ls.String()])
		}
	}
	return all
}

func checkIndex(t *rapid.T, r *Reader, all []labels.Labels, ms []*labels.Matcher) {
	var want []uint32
	names, hosts := map[string]bool{}, map[string]bool{}
	for i, ls := range all {
		if !matches(ls, ms) {
			continue
		}
		want = append(want, uint32(i))
		ls.Range(func(l labels.Label) { names[l.Name] = true })
		if v := ls.Get("host"); v != "" {
			hosts[v] = true
		}
	}
	got, err := r.Select(ms...)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%v: %v selects %v, want %v", err, ms, got, want)
	}
	gotNames, err := r.LabelNames(ms...)
	if err != nil || !slices.Equal(gotNames, sortedKeys(names)) {
		t.Fatalf("%v: names %v, want %v", err, gotNames, names)
	}
	gotHosts, err := r.LabelValues("host", ms...)
	if err != nil || !slices.Equal(gotHosts, sortedKeys(hosts)) {
		t.Fatalf("%v: values %v, want %v", err, gotHosts, hosts)
	}
}

func sortedKeys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// TestCombine builds a day again with a window that it has already: the later
// source wins here, and a window that comes to nothing leaves no series.
func TestCombine(t *testing.T) {
	fs := vfs.NewMem()
	known := []labels.Labels{labels.FromStrings("a", "1"), labels.FromStrings("a", "2"), labels.FromStrings("a", "3")}
	first := []Source{sealed(t, fs, 1, []model.Ref{0, 1}, known), sealed(t, fs, 2, []model.Ref{1}, known)}
	if _, err := Create(fs, "day", first, Options{Combine: neverCombine}); err != nil {
		t.Fatal(err)
	}
	old := open(t, fs, "day")
	again := []Source{{File: old.File(), Labels: old.Labels}, sealed(t, fs, 1, []model.Ref{0, 1, 2}, known)}
	_, err := Create(fs, "again", again, Options{Combine: func(w *file.Writer, window int64, parts []Part) error {
		if len(parts) != 2 || window != 1 {
			return fmt.Errorf("%d parts of window %d", len(parts), window)
		}
		w.Floats(window, []int64{window * 7_200_000}, []float64{99}, nil, nil)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, fs, "again")
	c := r.File().Cursor()
	defer c.Release()
	chunks, err := c.Load(1)
	if err != nil || r.Len() != 3 || len(chunks) != 2 {
		t.Fatalf("%v: %d series, %d chunks", err, r.Len(), len(chunks))
	}
	if vs, err := c.Floats(nil, &chunks[0]); err != nil || vs[0] != 99 {
		t.Errorf("%v: value %v of the combined window", err, vs)
	}
	_, err = Create(fs, "nothing", again, Options{Combine: func(*file.Writer, int64, []Part) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if r := open(t, fs, "nothing"); r.Len() != 2 {
		t.Errorf("%d series, want the two with other windows", r.Len())
	}
}

func goldenIndex(t testing.TB) []byte {
	t.Helper()
	b := newIndexBuilder()
	b.add(labels.FromStrings("__name__", "cpu", "host", "a"))
	b.add(labels.FromStrings("__name__", "cpu", "host", "b"))
	b.add(labels.FromStrings("__name__", "up"))
	data, err := b.build()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestGolden(t *testing.T) {
	golden.Check(t, "testdata/index.golden", []byte(hex.Dump(goldenIndex(t))))
}

// TestDamageIsFound flips each byte of an index in turn.
func TestDamageIsFound(t *testing.T) {
	good := goldenIndex(t)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := openIndex(bad); err == nil {
			t.Errorf("byte %d of %d changed, and nothing noticed", i, len(good))
		}
	}
}

// FuzzIndex goes behind the checksum.
func FuzzIndex(f *testing.F) {
	good := goldenIndex(f)
	f.Add(good[:len(good)-checksumSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headSize || len(b) > 1<<16 {
			return
		}
		x, err := parseIndex(b)
		if err != nil || x.series > 1<<16 {
			return
		}
		m := labels.MustNewMatcher(labels.MatchRegexp, "host", "a.*")
		if s, err := x.match([]*labels.Matcher{m, labels.MustNewMatcher(labels.MatchNotEqual, "__name__", "up")}); err == nil {
			for _, i := range s.list() {
				_, _ = x.labels(int(i)) // must not panic
			}
		}
	})
}
