package antientropy

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
)

// TestHashVectors: another version of the program must come to the same digests,
// or everything would seem to differ.
func TestHashVectors(t *testing.T) {
	h := NewHasher("cluster")
	s := h.Series(model.SeriesID{1, 2, 3})
	var f, g Digest
	s.Float(&f, 1700000000000, 0, 77, 1.5)
	s.Histogram(&g, 1700000000000, 77, []byte("a histogram's canonical form"))
	if got, want := fmt.Sprintf("%016x %016x", f.Sum, g.Sum), vectors; got != want {
		t.Errorf("digests %s, want %s", got, want)
	}
}

const vectors = "[8635c87ea6f88ee4 28ef4a80387c4011] [d9e721339ce0f263 c01899a8c3c8a3a8]"

// TestEveryFieldCounts: samples that differ in anything have other hashes, and
// the order of samples does not matter.
func TestEveryFieldCounts(t *testing.T) {
	h, other := NewHasher("a"), NewHasher("b")
	rapid.Check(t, func(t *rapid.T) {
		var id model.SeriesID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		at, st := rapid.Int64().Draw(t, "t"), rapid.Int64().Draw(t, "st")
		ver := model.Version(rapid.Uint64().Draw(t, "version"))
		value := rapid.Uint64().Draw(t, "value")
		hash := func(h *Hasher, id model.SeriesID, at, st int64, ver model.Version, value uint64) Digest {
			var d Digest
			s := h.Series(id)
			s.Float(&d, at, st, ver, math.Float64frombits(value))
			return d
		}
		base := hash(&h, id, at, st, ver, value)
		bit := uint64(1) << rapid.IntRange(0, 63).Draw(t, "bit")
		changed := id
		changed[rapid.IntRange(0, 15).Draw(t, "byte")] ^= 1
		for what, d := range map[string]Digest{
			"time":    hash(&h, id, at^int64(bit), st, ver, value),
			"start":   hash(&h, id, at, st^int64(bit), ver, value),
			"version": hash(&h, id, at, st, ver^model.Version(bit), value),
			"value":   hash(&h, id, at, st, ver, value^bit),
			"series":  hash(&h, changed, at, st, ver, value),
			"cluster": hash(&other, id, at, st, ver, value),
		} {
			if d == base || d.Sum[0] == base.Sum[0] || d.Sum[1] == base.Sum[1] {
				t.Fatalf("another %s and the same hash", what)
			}
		}
		form := rapid.SliceOf(rapid.Byte()).Draw(t, "form")
		s := h.Series(id)
		var one, two, longer Digest
		s.Histogram(&one, at, ver, form)
		s.Float(&one, at, st, ver, 1)
		s.Float(&two, at, st, ver, 1)
		s.Histogram(&two, at, ver, form)
		if one != two {
			t.Fatal("the order of samples matters")
		}
		s.Histogram(&longer, at, ver, append(form, 0))
		s.Float(&longer, at, st, ver, 1)
		if longer == one {
			t.Fatal("a zero byte at the end of a form does not count")
		}
	})
}

func BenchmarkFloat(b *testing.B) {
	h := NewHasher("cluster")
	s := h.Series(model.SeriesID{1})
	var d Digest
	for i := 0; b.Loop(); i++ {
		s.Float(&d, int64(i), 0, 77, float64(i))
	}
}
