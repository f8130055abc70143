package rebalance

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPaceTakesItsShare: whatever the steps and however long the rests turn out to
// be, work takes no more than its share of the time, but for one step; and no
// less where rests are as long as they are to be.
func TestPaceTakesItsShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.SampledFrom([]float64{0.05, 0.25, 0.5, 0.9}).Draw(t, "share")
		began := time.Unix(1_700_000_000, 0)
		now := began
		p := NewPace(share, now)
		exact := rapid.Bool().Draw(t, "exact")
		var worked, longest time.Duration
		for range rapid.IntRange(50, 300).Draw(t, "pieces") {
			piece := time.Duration(rapid.IntRange(1, 8000).Draw(t, "work")) * time.Microsecond
			worked, now = worked+piece, now.Add(piece)
			rest := p.Rest(now)
			if rest <= 0 {
				continue
			}
			longest = max(longest, rest)
			if !exact {
				rest += time.Duration(rapid.IntRange(0, 30_000).Draw(t, "more")) * time.Microsecond
			}
			now = now.Add(rest)
			p.Rested(rest, now)
		}
		// A step may be about to end, and one may have been rested for already.
		slack := 4 * PaceStep
		if most := time.Duration(share*float64(now.Sub(began))) + slack; worked > most {
			t.Fatalf("worked %s of %s, a share of %v", worked, now.Sub(began), share)
		}
		if least := time.Duration(share*float64(now.Sub(began))) - slack; exact && worked < least {
			t.Fatalf("worked only %s of %s, a share of %v", worked, now.Sub(began), share)
		}
		if bound := time.Duration(float64(PaceStep+8*time.Millisecond) / share); longest > bound {
			t.Fatalf("a rest of %s", longest)
		}
	})
	if NewPace(1, time.Unix(0, 0)).Rest(time.Unix(100, 0)) != 0 {
		t.Error("all of a core rests")
	}
}
