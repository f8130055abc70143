package partial

import (
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
)

// presence says at which steps a match group has a value.
type presence struct {
	ok  []bool
	all bool
}

// evaluateSet computes and, or and unless: values pass or do not.
func (j *join) evaluateSet(l, r []Series, steps int) ([]Series, error) {
	switch j.op {
	case parser.LAND:
		return j.masked(l, j.presences(r, steps), true, steps), nil
	case parser.LUNLESS:
		return j.masked(l, j.presences(r, steps), false, steps), nil
	default:
		left := j.presences(l, steps)
		return mergeEqual(append(l, j.masked(r, left, false, steps)...))
	}
}

// presences returns those of the match groups of a side.
func (j *join) presences(rows []Series, steps int) map[string]*presence {
	groups := make(map[string]*presence, len(rows))
	var key []byte
	for i := range rows {
		s := &rows[i]
		key = j.keyOf(key[:0], s.Labels)
		p := groups[string(key)]
		if p == nil {
			p = &presence{}
			groups[string(key)] = p
		}
		switch {
		case p.all:
		case s.OK == nil:
			p.all = true
		default:
			if p.ok == nil {
				p.ok = make([]bool, steps)
			}
			for k, ok := range s.OK {
				p.ok[k] = p.ok[k] || ok
			}
		}
	}
	return groups
}

// masked keeps the values of series at the steps where their match group has one
// on the other side, or with present false where it has none.
func (j *join) masked(rows []Series, groups map[string]*presence, present bool, steps int) []Series {
	var key []byte
	out := make([]Series, 0, len(rows))
	for _, s := range rows {
		key = j.keyOf(key[:0], s.Labels)
		switch p := groups[string(key)]; {
		case p == nil && !present, p != nil && p.all && present:
			out = append(out, s)
		case p == nil || p.all:
		default:
			if s = s.at(p.ok, present, steps); slices.Contains(s.OK, true) {
				out = append(out, s)
			}
		}
	}
	return out
}

// at returns the series at the steps where mask is present.
func (s Series) at(mask []bool, present bool, steps int) Series {
	ok := make([]bool, steps)
	for k := range ok {
		ok[k] = (s.OK == nil || s.OK[k]) && mask[k] == present
	}
	s.OK = ok
	if s.H != nil {
		s.H = slices.Clone(s.H)
		for k := range s.H {
			if !ok[k] {
				s.H[k] = nil
			}
		}
	}
	return s
}
