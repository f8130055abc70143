package antientropy

import (
	"bytes"
	"slices"

	"github.com/count-db/count/internal/model"
)

// Key names what a digest is of.
type Key struct {
	Slice int64 // number of the slice of time
	List  int   // number of the candidate list in the ring in force
}

// Digest is the sum of a hash of every sample, and how many they are. It does
// not depend on their order.
type Digest struct {
	Sum   [2]uint64 // 128 bits, low half first; wraps
	Count uint64
}

// Add adds another digest of other samples.
func (d *Digest) Add(o Digest) {
	low := d.Sum[0] + o.Sum[0]
	carry := uint64(0)
	if low < o.Sum[0] {
		carry = 1
	}
	d.Sum = [2]uint64{low, d.Sum[1] + o.Sum[1] + carry}
	d.Count += o.Count
}

// Series are the digests of single series.
type Series map[model.SeriesID]Digest

// Difference is what two sides do about series that differ: each list ascending.
type Difference struct {
	Send  []model.SeriesID // only this side has samples of them
	Fetch []model.SeriesID // only the other side has
	Merge []model.SeriesID // both have, and they differ
}

// Compare returns how the series of two sides differ.
func Compare(mine, theirs Series) Difference {
	var d Difference
	for id, m := range mine {
		switch t, has := theirs[id]; {
		case !has || t.Count == 0:
			if m.Count > 0 {
				d.Send = append(d.Send, id)
			}
		case m.Count == 0:
			d.Fetch = append(d.Fetch, id)
		case t != m:
			d.Merge = append(d.Merge, id)
		}
	}
	for id, t := range theirs {
		if _, has := mine[id]; !has && t.Count > 0 {
			d.Fetch = append(d.Fetch, id)
		}
	}
	for _, list := range [][]model.SeriesID{d.Send, d.Fetch, d.Merge} {
		slices.SortFunc(list, func(a, b model.SeriesID) int { return bytes.Compare(a[:], b[:]) })
	}
	return d
}
