package engine

import (
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
)

// perSeries notes what each series got, in order.
type perSeries struct {
	mu  sync.Mutex
	got map[model.Ref][]int64
}

func (p *perSeries) appendReplayed(b *model.Batch) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, f := range b.Floats {
		start := int64(0)
		if len(b.STs) > 0 {
			start = b.STs[i]
		}
		p.got[f.Ref] = append(p.got[f.Ref], f.T, start, int64(b.Version))
	}
	for _, h := range b.Hists {
		p.got[h.Ref] = append(p.got[h.Ref], h.T, -1, int64(b.Version))
	}
	return 1
}

func TestLanesKeepTheOrderOfASeries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, got := perSeries{got: map[model.Ref][]int64{}}, perSeries{got: map[model.Ref][]int64{}}
		l := newLanes(rapid.IntRange(1, 4).Draw(t, "lanes"), &got)
		for v := range rapid.IntRange(0, 30).Draw(t, "batches") {
			b := model.Batch{Version: model.Version(v)}
			starts := rapid.Bool().Draw(t, "starts")
			for i := range rapid.Int64Range(0, 20).Draw(t, "floats") {
				b.Floats = append(b.Floats, model.FloatSample{Ref: model.Ref(rapid.Uint32Range(1, 2000).Draw(t, "ref")), T: i})
				if starts {
					b.STs = append(b.STs, i+100)
				}
			}
			for i := range rapid.Int64Range(0, 3).Draw(t, "histograms") {
				b.Hists = append(b.Hists, model.HistogramSample{Ref: model.Ref(rapid.Uint32Range(1, 2000).Draw(t, "ref")), T: i})
			}
			want.appendReplayed(&b)
			l.send(&b)
		}
		l.wait()
		if len(got.got) != len(want.got) {
			t.Fatalf("%d series, want %d", len(got.got), len(want.got))
		}
		for ref, samples := range want.got {
			if !slices.Equal(got.got[ref], samples) {
				t.Fatalf("series %d got %v, want %v", ref, got.got[ref], samples)
			}
		}
	})
}
