package registry

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// benchLabels are like those of node_exporter: 11 labels, 500 series a target.
func benchLabels(i int) labels.Labels {
	target, s := i/500, i%500
	return labels.FromStrings(
		"__name__", fmt.Sprintf("node_metric_%d_seconds_total", s%120),
		"cpu", fmt.Sprint(s%16),
		"device", fmt.Sprintf("nvme%dn1", s%7),
		"env", "production",
		"instance", fmt.Sprintf("host-%04d.example.com:9100", target),
		"job", "node",
		"mode", fmt.Sprintf("mode_%d", s/120),
		"rack", fmt.Sprintf("r%02d", target%40),
		"region", "eu-central-1",
		"team", fmt.Sprintf("team-%d", target%9),
		"unique", fmt.Sprint(s),
	)
}

const benchSeries = 100_000

func filled(b *testing.B, r *Registry, n int) {
	b.Helper()
	for i := range n {
		intern(b, r, benchLabels(i))
	}
}

// BenchmarkMemory reports the memory of a series, its labels included.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		r := New(Options{})
		filled(b, r, benchSeries)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/benchSeries, "B/series")
		b.ReportMetric(float64(len(r.Labels(1).Bytes(nil))), "label-B/series")
		runtime.KeepAlive(r)
	}
}

func BenchmarkOpen(b *testing.B) {
	fs := newFS(b)
	r, _ := open(b, fs)
	filled(b, r, benchSeries)
	if err := r.Persist(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(r.Size())/benchSeries, "file-B/series")
	for b.Loop() {
		if r, _ := open(b, vfs.FS(fs)); r.Len() != benchSeries {
			b.Fatal(r.Len())
		}
	}
	b.ReportMetric(float64(r.Size())/benchSeries, "file-B/series")
}

func BenchmarkIntern(b *testing.B) {
	all := make([]labels.Labels, benchSeries)
	for i := range all {
		all[i] = benchLabels(i)
	}
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			r := New(Options{})
			for _, ls := range all {
				intern(b, r, ls)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchSeries), "ns/series")
	})
	b.Run("known", func(b *testing.B) {
		r := New(Options{})
		for _, ls := range all {
			intern(b, r, ls)
		}
		for b.Loop() {
			for _, ls := range all {
				intern(b, r, ls)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchSeries), "ns/series")
	})
}

func BenchmarkPrepare(b *testing.B) {
	r := New(Options{})
	filled(b, r, 10_000)
	batch := &model.Batch{}
	for ref := model.Ref(1); ref <= 2000; ref++ {
		batch.Floats = append(batch.Floats, model.FloatSample{Ref: ref})
	}
	r.MarkLogged(r.Select())
	for b.Loop() {
		if refs, err := r.Prepare(batch, nil); err != nil || len(refs) > 0 {
			b.Fatal(refs, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*2000), "ns/sample")
}

func BenchmarkSelect(b *testing.B) {
	r := New(Options{})
	filled(b, r, benchSeries)
	r.SortByLabels(r.Select())
	for _, c := range []struct {
		name string
		ms   []*labels.Matcher
	}{
		{"metric", []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "node_metric_7_seconds_total")}},
		{"host", []*labels.Matcher{
			labels.MustNewMatcher(labels.MatchEqual, "__name__", "node_metric_7_seconds_total"),
			labels.MustNewMatcher(labels.MatchEqual, "instance", "host-0042.example.com:9100"),
		}},
		{"regex", []*labels.Matcher{
			labels.MustNewMatcher(labels.MatchEqual, "__name__", "node_metric_7_seconds_total"),
			labels.MustNewMatcher(labels.MatchRegexp, "instance", "host-01.*"),
			labels.MustNewMatcher(labels.MatchNotEqual, "mode", "mode_1"),
		}},
		{"all", []*labels.Matcher{labels.MustNewMatcher(labels.MatchNotEqual, "__name__", "")}},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				refs := r.Select(c.ms...)
				r.SortByLabels(refs)
				n = len(refs)
			}
			b.ReportMetric(float64(n), "series")
		})
	}
}

// BenchmarkEvict forgets a tenth of the series.
func BenchmarkEvict(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		r := New(Options{})
		filled(b, r, benchSeries)
		r.MarkLogged(r.Select())
		keep := func(ref model.Ref) bool { return ref%10 != 0 }
		b.StartTimer()
		if n := r.MarkCold(keep); n != benchSeries/10 {
			b.Fatal(n)
		}
		if n := r.RemoveCold(keep); n != benchSeries/10 {
			b.Fatal(n)
		}
	}
}
