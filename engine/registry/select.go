package registry

import (
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// Select returns the live series that all matchers match, ascending by
// reference; all of them without matchers. A matcher that matches the empty
// text matches series without the label too. The slice is the caller's.
func (r *Registry) Select(ms ...*labels.Matcher) []model.Ref {
	// The lock covers taking the lists; regular expressions over many values
	// run under it for reading, which only the making of new series waits for.
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(ms) == 0 {
		return slices.Clone(r.postings.all)
	}
	refs, late, ok := r.include(ms)
	if !ok {
		return nil
	}
	// What is left is cheaper to ask of each series, or subtracts.
	for _, m := range late {
		if len(refs) == 0 {
			return nil
		}
		refs = r.narrow(refs, m)
	}
	return refs
}

// include intersects what the matchers that need their label allow, beginning
// with the shortest list, and returns a list of its own, with the matchers it
// left for later. It answers false when nothing can match.
func (r *Registry) include(ms []*labels.Matcher) (refs []model.Ref, late []*labels.Matcher, ok bool) {
	var lists [][]model.Ref
	for _, m := range ms {
		n := r.postings.names[m.Name]
		switch {
		case m.Matches(""):
			late = append(late, m)
			continue
		case n == nil:
			return nil, nil, false
		case m.Type == labels.MatchEqual:
			lists = append(lists, n.get(m.Value))
		case m.Type == labels.MatchRegexp && len(m.SetMatches()) > 0:
			lists = append(lists, n.unionOf(m.SetMatches()))
		case matchesAnyValue(m):
			lists = append(lists, n.all)
		default:
			late = append(late, m)
		}
	}
	if len(lists) == 0 {
		return slices.Clone(r.postings.all), late, true
	}
	slices.SortFunc(lists, func(a, b []model.Ref) int { return cmp.Compare(len(a), len(b)) })
	refs = slices.Clone(lists[0])
	for _, l := range lists[1:] {
		refs = intersect(refs[:0], refs, l)
	}
	return refs, late, true
}

// matchesAnyValue says that m matches every value but the empty one, for the
// two ways in which people write it.
func matchesAnyValue(m *labels.Matcher) bool {
	return m.Type == labels.MatchNotEqual && m.Value == "" ||
		m.Type == labels.MatchRegexp && m.Value == ".+"
}

// narrow keeps, in place, the series that m matches: by asking each one where
// they are fewer than the values of the label, else by the label's lists.
func (r *Registry) narrow(refs []model.Ref, m *labels.Matcher) []model.Ref {
	n := r.postings.names[m.Name]
	matchesEmpty := m.Matches("")
	if n == nil {
		if matchesEmpty {
			return refs
		}
		return nil
	}
	switch {
	case m.Type == labels.MatchNotEqual && matchesEmpty:
		return subtract(refs[:0], refs, n.get(m.Value))
	case m.Type == labels.MatchEqual: // of the empty text
		return subtract(refs[:0], refs, n.all)
	case len(refs) <= len(n.values):
		return slices.DeleteFunc(refs, func(ref model.Ref) bool {
			return !m.Matches(r.Labels(ref).Get(m.Name))
		})
	case matchesEmpty:
		return subtract(refs[:0], refs, n.unionWhere(m, false))
	default:
		return intersect(refs[:0], refs, n.unionWhere(m, true))
	}
}

// unionOf returns the series that have one of the values.
func (n *nameEntry) unionOf(values []string) []model.Ref {
	lists := make([][]model.Ref, 0, len(values))
	for _, v := range values {
		if l := n.get(v); len(l) > 0 {
			lists = append(lists, l)
		}
	}
	return union(lists)
}

// unionWhere returns the series whose value m matches, or those whose it does
// not.
func (n *nameEntry) unionWhere(m *labels.Matcher, want bool) []model.Ref {
	var values []string
	if want && m.Type == labels.MatchRegexp {
		values = n.withPrefix(m.Prefix())
	} else {
		values = n.sortedValues()
	}
	var lists [][]model.Ref
	for _, v := range values {
		if m.Matches(v) == want {
			lists = append(lists, n.get(v))
		}
	}
	return union(lists)
}
