package model_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
)

// TestTokenSet compares sets with asking each range, at the ends of the circle
// most of all.
func TestTokenSet(t *testing.T) {
	positions := []uint64{0, 1, 2, 5, 6, 7, 100, math.MaxUint64 - 2, math.MaxUint64 - 1, math.MaxUint64}
	inRange := func(r model.TokenRange, t uint64) bool {
		if r.From < r.To {
			return t > r.From && t <= r.To
		}
		return t > r.From || t <= r.To
	}
	rapid.Check(t, func(t *rapid.T) {
		position := rapid.SampledFrom(positions)
		ranges := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) model.TokenRange {
			return model.TokenRange{From: position.Draw(t, "from"), To: position.Draw(t, "to")}
		}), 0, 5).Draw(t, "ranges")
		set := model.NewTokenSet(ranges)
		again := model.NewTokenSet(set.Ranges())
		for _, p := range positions {
			want := false
			for _, r := range ranges {
				want = want || inRange(r, p)
			}
			if set.Has(p) != want || again.Has(p) != want {
				t.Fatalf("%d in %v: %v, written and read %v, want %v", p, ranges, set.Has(p), again.Has(p), want)
			}
		}
		if set.Empty() != (len(ranges) == 0) {
			t.Fatalf("empty: %v of %v", set.Empty(), ranges)
		}
	})
}
