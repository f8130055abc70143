package day

import (
	"math/bits"

	"github.com/prometheus/prometheus/model/labels"
)

// set is a set of series as a bitmap.
type set []uint64

func newSet(n int) set { return make(set, (n+63)/64) }

func (s set) add(n uint32)      { s[n>>6] |= 1 << (n & 63) }
func (s set) has(n uint32) bool { return s[n>>6]>>(n&63)&1 != 0 }

// fill adds the first n.
func (s set) fill(n int) {
	for i := range s {
		s[i] = ^uint64(0)
	}
	if n&63 != 0 {
		s[len(s)-1] = 1<<(n&63) - 1
	}
}

func (s set) list() []uint32 {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	out := make([]uint32, 0, n)
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			out = append(out, uint32(i*64+bits.TrailingZeros64(w)))
		}
	}
	return out
}

// match returns the series that all matchers accept.
func (x *index) match(ms []*labels.Matcher) (set, error) {
	have := newSet(x.series)
	have.fill(x.series)
	for _, m := range ms {
		// A matcher that accepts the empty value accepts series without the
		// label: there it is cheaper to say who goes than who stays.
		goes := m.Matches("")
		named, err := x.withValue(m, !goes)
		if err != nil {
			return nil, err
		}
		for i := range have {
			if goes {
				have[i] &^= named[i]
			} else {
				have[i] &= named[i]
			}
		}
	}
	return have, nil
}

// withValue returns the series that have the matcher's label with a value that
// it accepts, or with one that it does not.
func (x *index) withValue(m *labels.Matcher, accepted bool) (set, error) {
	out := newSet(x.series)
	from, to, ok := x.name(m.Name)
	if !ok {
		return out, nil
	}
	add := func(i int) error {
		return x.each(i, func(s uint32) bool {
			out.add(s)
			return true
		})
	}
	if texts, ok := fixedTexts(m, accepted); ok {
		for _, s := range texts {
			i, ok := x.value(from, to, s)
			if !ok {
				continue
			}
			if err := add(i); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	for i := from; i < to; i++ {
		if m.Matches(string(x.valueText(i))) != accepted {
			continue
		}
		if err := add(i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// fixedTexts returns the only values that the matcher accepts, or refuses,
// where it names them.
func fixedTexts(m *labels.Matcher, accepted bool) ([]string, bool) {
	switch {
	case m.Type == labels.MatchEqual && accepted, m.Type == labels.MatchNotEqual && !accepted:
		return []string{m.Value}, true
	case m.Type == labels.MatchRegexp && accepted, m.Type == labels.MatchNotRegexp && !accepted:
		if texts := m.SetMatches(); len(texts) > 0 {
			return texts, true
		}
	}
	return nil, false
}
