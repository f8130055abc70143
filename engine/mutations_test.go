package engine

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
)

// TestMutations compares what is known of changes with a list of all of them.
func TestMutations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m mutations
		type change struct{ mint, maxt int64 }
		slice := func(t int64) int64 { return floorDiv(t, mutationSlice) * mutationSlice }
		changes := []change{{1, 0}} // by number; nothing changed at 0
		at := rapid.Int64Range(-3*mutationWindow, 5*mutationWindow)
		for range rapid.IntRange(1, 30).Draw(t, "changes") {
			mint := at.Draw(t, "mint")
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0:
				m.everywhere()
				changes = append(changes, change{math.MinInt64, math.MaxInt64})
			case 1, 2:
				maxt := mint + rapid.Int64Range(0, 3*mutationWindow).Draw(t, "width")
				m.between(mint, maxt)
				changes = append(changes, change{slice(mint), slice(maxt) + mutationSlice - 1})
			default:
				m.batch(&model.Batch{Floats: []model.FloatSample{{T: mint}}, Hists: []model.HistogramSample{{T: mint + 1}}})
				changes = append(changes, change{slice(mint), slice(mint+1) + mutationSlice - 1})
			}
			mark := uint64(rapid.IntRange(0, len(changes)-1).Draw(t, "mark"))
			from := at.Draw(t, "from")
			to := from + rapid.Int64Range(0, 3*mutationWindow).Draw(t, "range")
			want := to + 1
			for _, c := range changes[mark+1:] {
				if c.mint <= to && c.maxt >= from {
					want = min(want, max(c.mint, from))
				}
			}
			if got := m.changedFrom(mark, from, to); got != want {
				t.Fatalf("changed from %d after mark %d in [%d, %d], want %d", got, mark, from, to, want)
			}
		}
		if got := m.mark(); got != uint64(len(changes)-1) {
			t.Fatalf("mark %d after %d changes", got, len(changes)-1)
		}
	})
}

// TestMutationsAreBounded writes to more windows than are noted apart.
func TestMutationsAreBounded(t *testing.T) {
	var m mutations
	var b model.Batch
	for i := range int64(3 * mutationWindows) {
		b.Floats = append(b.Floats, model.FloatSample{T: i * mutationWindow})
	}
	m.batch(&b)
	if n := len(m.windows); n > mutationWindows {
		t.Errorf("%d windows are noted", n)
	}
	for _, f := range b.Floats {
		if got := m.changedFrom(0, f.T, f.T); got != f.T {
			t.Fatalf("the sample at %d is forgotten: changed from %d", f.T, got)
		}
	}
	m.between(math.MinInt64, math.MaxInt64)
	if got := m.changedFrom(1, 5, 6); got != 5 {
		t.Errorf("a change of everything: changed from %d", got)
	}
	if got := m.changedFrom(2, math.MinInt64, math.MaxInt64); got != math.MaxInt64 {
		t.Errorf("no change: changed from %d", got)
	}
}
