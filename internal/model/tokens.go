package model

import (
	"cmp"
	"math"
	"slices"
)

// TokenRange is a part of the circle of ring positions (SeriesID.Token): behind
// From, up to and including To; around its end when From >= To, and all of it
// when they are equal.
type TokenRange struct{ From, To uint64 }

// TokenSet is a set of ring positions. The zero value is empty. It does not
// change: safe for concurrent use.
type TokenSet struct {
	spans []tokenSpan // ascending, apart from each other
}

// tokenSpan has both of its ends.
type tokenSpan struct{ first, last uint64 }

// NewTokenSet returns the union of the ranges.
func NewTokenSet(ranges []TokenRange) TokenSet {
	var all []tokenSpan
	for _, r := range ranges {
		if r.From < r.To {
			all = append(all, tokenSpan{r.From + 1, r.To})
			continue
		}
		all = append(all, tokenSpan{0, r.To})
		if r.From < math.MaxUint64 {
			all = append(all, tokenSpan{r.From + 1, math.MaxUint64})
		}
	}
	slices.SortFunc(all, func(a, b tokenSpan) int { return cmp.Compare(a.first, b.first) })
	out := all[:0]
	for _, s := range all {
		if n := len(out); n > 0 && (out[n-1].last == math.MaxUint64 || s.first <= out[n-1].last+1) {
			out[n-1].last = max(out[n-1].last, s.last)
			continue
		}
		out = append(out, s)
	}
	return TokenSet{out}
}

// Has says whether the position is in the set.
func (s TokenSet) Has(token uint64) bool {
	i, found := slices.BinarySearchFunc(s.spans, token, func(s tokenSpan, t uint64) int { return cmp.Compare(s.first, t) })
	return found || i > 0 && token <= s.spans[i-1].last
}

// Empty says whether nothing is in the set.
func (s TokenSet) Empty() bool { return len(s.spans) == 0 }

// Ranges returns the set as ranges, ascending. Has of a set made of them is the
// same.
func (s TokenSet) Ranges() []TokenRange {
	out := make([]TokenRange, 0, len(s.spans))
	for _, span := range s.spans {
		out = append(out, TokenRange{span.first - 1, span.last}) // 0 - 1 is the end of the circle
	}
	return out
}
