package registry

import (
	bits64 "math/bits"
	"slices"

	"github.com/count-db/count/internal/model"
)

// The set operations take ascending lists without duplicates and return such a
// list. What they return may be one of their arguments.

// intersect returns what is in both lists. It walks the shorter one and
// gallops in the longer.
func intersect(dst, a, b []model.Ref) []model.Ref {
	if len(a) > len(b) {
		a, b = b, a
	}
	for _, ref := range a {
		b = seek(b, ref)
		if len(b) == 0 {
			break
		}
		if b[0] == ref {
			dst = append(dst, ref)
		}
	}
	return dst
}

// intersects says whether the lists have something in common.
func intersects(a, b []model.Ref) bool {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			return true
		case a[0] < b[0]:
			a = seek(a, b[0])
		default:
			b = seek(b, a[0])
		}
	}
	return false
}

// subtract returns what is in a and not in b.
func subtract(dst, a, b []model.Ref) []model.Ref {
	for i, ref := range a {
		b = seek(b, ref)
		if len(b) == 0 {
			return append(dst, a[i:]...)
		}
		if b[0] != ref {
			dst = append(dst, ref)
		}
	}
	return dst
}

// seek returns the rest of an ascending list from the first element at or
// above ref, galloping, so that a near one is found fast.
func seek(list []model.Ref, ref model.Ref) []model.Ref {
	if len(list) == 0 || list[0] >= ref {
		return list
	}
	step := 1
	for step < len(list) && list[step] < ref {
		step *= 2
	}
	lo, hi := step/2, min(step+1, len(list))
	i, _ := slices.BinarySearch(list[lo:hi], ref)
	return list[lo+i:]
}

// union returns what is in any of the lists.
func union(lists [][]model.Ref) []model.Ref {
	switch len(lists) {
	case 0:
		return nil
	case 1:
		return lists[0]
	}
	total := 0
	lowest, highest := ^model.Ref(0), model.Ref(0)
	for _, l := range lists {
		total += len(l)
		if len(l) > 0 {
			lowest, highest = min(lowest, l[0]), max(highest, l[len(l)-1])
		}
	}
	if total == 0 {
		return nil
	}
	// A bitmap of the span is cheaper than sorting unless the lists are thin.
	if span := int(highest-lowest) + 1; span/64 <= 4*total {
		return unionBits(lists, lowest, span, total)
	}
	out := make([]model.Ref, 0, total)
	for _, l := range lists {
		out = append(out, l...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func unionBits(lists [][]model.Ref, lowest model.Ref, span, total int) []model.Ref {
	bits := make([]uint64, span/64+1)
	for _, l := range lists {
		for _, ref := range l {
			bits[(ref-lowest)/64] |= 1 << ((ref - lowest) % 64)
		}
	}
	out := make([]model.Ref, 0, total)
	for i, word := range bits {
		for ; word != 0; word &= word - 1 {
			out = append(out, lowest+model.Ref(i*64)+model.Ref(bits64.TrailingZeros64(word)))
		}
	}
	return out
}
