package plan

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// store is the engine as far as the plan sees it: it does the jobs.
type store struct {
	t       require
	limits  Limits
	now     int64
	files   []File
	next    uint64
	flushed int64 // bytes
	written int64 // bytes, flushes included
}

type require interface {
	Fatalf(format string, args ...any)
	Helper()
}

const minute = 60_000

func newStore(t require) *store { return &store{t: t, limits: Default(), now: 1_700_000_000_000} }

func (s *store) add(f File) {
	s.next++
	f.ID = s.next
	slices.SortFunc(f.Parts, func(a, b Part) int { return cmp.Compare(a.Window, b.Window) })
	for _, p := range f.Parts {
		f.Bytes += p.Bytes
	}
	s.written += f.Bytes
	s.files = append(s.files, f)
}

// flush writes a wide file with samples per window, two bytes each.
func (s *store) flush(samples map[int64]int64) {
	f := File{Kind: Wide, Arrival: s.next + 1, Born: s.now}
	for w, n := range samples {
		f.Parts = append(f.Parts, Part{Window: w, Samples: n, Bytes: 2 * n})
	}
	s.add(f)
	s.flushed += s.files[len(s.files)-1].Bytes
}

// settle does jobs until there is none, and checks the bounds.
func (s *store) settle(force bool) {
	s.t.Helper()
	for range 10_000 {
		job, ok := Next(s.limits, State{Now: s.now, Files: s.files, Force: force})
		if !ok {
			s.check(force)
			return
		}
		s.do(job)
		if n := len(s.kind(Wide)); n > 32 {
			s.t.Fatalf("%d wide files while jobs run", n)
		}
	}
	s.t.Fatalf("the plan does not come to an end")
}

func (s *store) do(job Job) {
	s.t.Helper()
	var in []File
	for _, id := range job.Inputs {
		i := slices.IndexFunc(s.files, func(f File) bool { return f.ID == id })
		if i < 0 {
			s.t.Fatalf("job %v names file %d, which is not there", job, id)
		}
		in = append(in, s.files[i])
	}
	switch job.Kind {
	case Merge:
		s.merge(in)
	case Seal:
		s.seal(job.Window, in)
	case Drop:
		for _, f := range in {
			if len(f.Parts) > 0 {
				s.t.Fatalf("drop of a file that is alive")
			}
			s.drop(f.ID)
		}
	case BuildDay:
		out := File{Kind: Day}
		for _, f := range in {
			out.Parts = addParts(out.Parts, f.Parts)
			s.drop(f.ID)
		}
		s.add(out)
	default:
		s.t.Fatalf("job %v has no kind", job)
	}
}

func (s *store) merge(in []File) {
	s.t.Helper()
	wide := s.kind(Wide)
	slices.SortFunc(wide, func(a, b File) int { return cmp.Compare(a.Arrival, b.Arrival) })
	at := slices.IndexFunc(wide, func(f File) bool { return f.ID == in[0].ID })
	out := File{Kind: Wide}
	for i, f := range in {
		if wide[at+i].ID != f.ID {
			s.t.Fatalf("merge of files that are not neighbours in the order of arrival")
		}
		out.Parts = addParts(out.Parts, f.Parts)
		out.Arrival, out.Born = f.Arrival, max(out.Born, f.Born)
		s.drop(f.ID)
	}
	s.add(out)
}

func (s *store) seal(window int64, in []File) {
	var samples int64
	for _, f := range in {
		p, ok := f.part(window)
		if !ok {
			s.t.Fatalf("seal of window %d has an input without it", window)
		}
		samples += p.Samples
		if f.Kind == Sealed {
			s.drop(f.ID)
			continue
		}
		i := slices.IndexFunc(s.files, func(g File) bool { return g.ID == f.ID })
		s.files[i].Parts = slices.DeleteFunc(slices.Clone(f.Parts), func(p Part) bool { return p.Window == window })
	}
	s.add(File{Kind: Sealed, Parts: []Part{{Window: window, Samples: samples, Bytes: samples}}})
}

func (s *store) drop(id uint64) {
	s.files = slices.DeleteFunc(s.files, func(f File) bool { return f.ID == id })
}

func (s *store) kind(k Kind) []File {
	var out []File
	for _, f := range s.files {
		if f.Kind == k {
			out = append(out, f)
		}
	}
	return out
}

func addParts(dst, src []Part) []Part {
	dst = slices.Clone(dst)
	for _, p := range src {
		i := slices.IndexFunc(dst, func(q Part) bool { return q.Window == p.Window })
		if i < 0 {
			dst = append(dst, p)
			continue
		}
		dst[i].Samples += p.Samples
		dst[i].Bytes += p.Bytes
	}
	slices.SortFunc(dst, func(a, b Part) int { return cmp.Compare(a.Window, b.Window) })
	return dst
}

// check holds the bounds the package promises when no job is left.
func (s *store) check(force bool) {
	s.t.Helper()
	wide := s.kind(Wide)
	if len(wide) > s.limits.MaxWide {
		s.t.Fatalf("%d wide files", len(wide))
	}
	perWindow, samples := map[int64]int{}, map[int64]int64{}
	sealed := map[int64]int{}
	for _, f := range s.files {
		if len(f.Parts) == 0 {
			s.t.Fatalf("a file without live parts is left")
		}
		if f.Kind == Sealed {
			sealed[f.Parts[0].Window]++
		}
		if f.Kind == Wide {
			for _, p := range f.Parts {
				perWindow[p.Window]++
				samples[p.Window] += p.Samples
			}
		}
	}
	for w, n := range perWindow {
		if n > s.limits.MaxPerWindow && (w+1)*s.limits.Window+s.limits.Recent > s.now {
			s.t.Fatalf("%d wide files hold window %d", n, w)
		}
	}
	for w, n := range sealed {
		if n != 1 {
			s.t.Fatalf("%d sealed files of window %d", n, w)
		}
	}
	if force {
		for w, n := range samples {
			day := slices.ContainsFunc(s.kind(Day), func(f File) bool { return s.limits.DayOf(f.Parts[0].Window) == s.limits.DayOf(w) })
			if s.limits.closed(w, s.now) && n >= s.limits.SealSamples && sealed[w] == 0 && !day {
				s.t.Fatalf("closed window %d with %d samples is not sealed", w, n)
			}
		}
	}
}

// touched returns how many files a query of [mint, maxt] opens.
func (s *store) touched(mint, maxt int64) int {
	n := 0
	for _, f := range s.files {
		if slices.ContainsFunc(f.Parts, func(p Part) bool {
			return p.Window >= s.limits.WindowOf(mint) && p.Window <= s.limits.WindowOf(maxt)
		}) {
			n++
		}
	}
	return n
}

func TestDayOfFlushes(t *testing.T) {
	for _, late := range []int64{0, 50} {
		s := newStore(t)
		most := 0
		for i := range 3 * 288 {
			w := s.limits.WindowOf(s.now - 5*minute)
			in := map[int64]int64{w: 200_000}
			if end := s.limits.WindowOf(s.now); end != w {
				in[end] = 90_000
			}
			if late > 0 {
				in[w-1-int64(i%7)*30] += late
			}
			s.flush(in)
			s.settle(false)
			if i > 288 {
				most = max(most, s.touched(s.now-60*minute, s.now))
			}
			s.now += 5 * minute
		}
		amplification := float64(s.written) / float64(s.flushed)
		t.Logf("late %d: a query of one hour touches at most %d files; write amplification %.2f; %d files (%d wide)", late, most, amplification, len(s.files), len(s.kind(Wide)))
		if most > 12 || amplification > 4 {
			t.Errorf("late %d: %d files touched (12), write amplification %.2f (4)", late, most, amplification)
		}
	}
}

// Samples spread over half a year, in one flush or in many, stay in few files.
func TestOldSamplesStayInFewFiles(t *testing.T) {
	for _, flushes := range []int64{1, 20, 200} {
		s := newStore(t)
		for range flushes {
			in := map[int64]int64{}
			for w := range int64(180 * 12) {
				in[s.limits.WindowOf(s.now)-1-w] = max(200_000/(180*12)/flushes, 1)
			}
			s.flush(in)
			s.settle(true)
			s.now += minute
		}
		if len(s.files) > 32 {
			t.Errorf("%d flushes: %d files", flushes, len(s.files))
		}
		t.Logf("%d flushes: %d files, write amplification %.2f", flushes, len(s.files), float64(s.written)/float64(s.flushed))
	}
}

// A long import of old data window by window, or series by series, is not
// rewritten over and over.
func TestBackfillAmplification(t *testing.T) {
	for _, span := range []int64{1, 12, 300} {
		s := newStore(t)
		for i := range int64(400) {
			in := map[int64]int64{}
			for k := range span {
				in[s.limits.WindowOf(s.now)-400-(i+k)%300] = 1_000_000 / span
			}
			s.flush(in)
			s.settle(false)
			s.now += minute
		}
		s.now += 60 * minute
		s.settle(false)
		amplification := float64(s.written) / float64(s.flushed)
		t.Logf("windows in a flush %d: write amplification %.2f, %d files (%d wide)", span, amplification, len(s.files), len(s.kind(Wide)))
		if amplification > 5 {
			t.Errorf("windows in a flush %d: write amplification %.2f", span, amplification)
		}
	}
}

func TestBoundsHoldForAnyFlushes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStore(t)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			in := map[int64]int64{}
			for range rapid.IntRange(1, 6).Draw(t, "windows") {
				age := rapid.OneOf(rapid.Int64Range(0, 2), rapid.Int64Range(0, 40), rapid.Int64Range(0, 2000)).Draw(t, "age")
				in[s.limits.WindowOf(s.now)-age] = rapid.OneOf(rapid.Int64Range(1, 100), rapid.Int64Range(1, 1_000_000)).Draw(t, "samples")
			}
			s.flush(in)
			s.settle(rapid.Bool().Draw(t, "force"))
			s.now += rapid.Int64Range(0, 180*minute).Draw(t, "pause")
		}
	})
}

func TestRetain(t *testing.T) {
	l := Default()
	const now = 1_700_000_000_000
	w := l.WindowOf(now)
	day := l.DayOf(w) - 5
	dayFile := File{ID: 1, Kind: Day, Bytes: 1300}
	for i := range int64(12) {
		dayFile.Parts = append(dayFile.Parts, Part{Window: day*12 + i, Samples: 100, Bytes: 100})
	}
	files := []File{
		dayFile,
		{ID: 2, Kind: Sealed, Bytes: 110, Parts: []Part{{Window: w - 3, Samples: 100, Bytes: 100}}},
		{ID: 3, Kind: Wide, Bytes: 900, Parts: []Part{{Window: w - 2, Samples: 100, Bytes: 200}, {Window: w, Samples: 100, Bytes: 200}}},
	}
	hours := func(h int64) int64 { return h * 60 * minute }
	for _, c := range []struct {
		name            string
		maxAge, maxSize int64
		cut             int64
		drops           bool
	}{
		{"keep everything", 0, 0, day * 12, false},
		{"age within the day file", now - (day*12+6)*l.Window, 0, day * 12, false},
		{"age behind the day file", now - (day+1)*12*l.Window, 0, (day + 1) * 12, true},
		{"age in the middle", hours(5), 0, w - 3, true},
		{"size: all fits", 0, 1810, day * 12, false},
		{"size: the day goes whole", 0, 1809, (day + 1) * 12, true},
		{"size: sealed window too", 0, 400, w - 2, true},
		{"size: the open window stays", 0, 1, w - 1, true},
	} {
		cut, drops := Retain(l, State{Now: now, Files: files}, c.maxAge, c.maxSize)
		if cut != c.cut || drops != c.drops {
			t.Errorf("%s: cut %d, %v; want %d, %v", c.name, cut-w, drops, c.cut-w, c.drops)
		}
	}
}
