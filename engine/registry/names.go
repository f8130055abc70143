package registry

import (
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// LabelNames returns the label names of the live series that all matchers
// match, in order; at most limit of them, 0 = all.
func (r *Registry) LabelNames(limit int, ms ...*labels.Matcher) []string {
	if len(ms) > 0 {
		return r.LabelNamesOf(r.Select(ms...), limit)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]string, 0, len(r.postings.names))
	for name := range r.postings.names {
		out = append(out, name)
	}
	return sortAndCut(out, limit)
}

// LabelNamesOf returns the label names of the given series (ascending by
// reference), in order; at most limit of them, 0 = all.
func (r *Registry) LabelNamesOf(refs []model.Ref, limit int) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []string
	for name, n := range r.postings.names {
		if intersects(n.all, refs) {
			out = append(out, name)
		}
	}
	return sortAndCut(out, limit)
}

// LabelValues returns the values that a label has in the live series that all
// matchers match, in order; at most limit of them, 0 = all.
func (r *Registry) LabelValues(name string, limit int, ms ...*labels.Matcher) []string {
	if len(ms) > 0 {
		return r.LabelValuesOf(name, r.Select(ms...), limit)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := r.postings.names[name]
	if n == nil {
		return nil
	}
	values := n.sortedValues()
	if limit > 0 && len(values) > limit {
		values = values[:limit]
	}
	return slices.Clone(values)
}

// LabelValuesOf returns the values that a label has in the given series
// (ascending by reference), in order; at most limit of them, 0 = all.
func (r *Registry) LabelValuesOf(name string, refs []model.Ref, limit int) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := r.postings.names[name]
	if n == nil {
		return nil
	}
	if len(refs) > 4*len(n.values) {
		// Few values: most lists meet the series early.
		var out []string
		for _, value := range n.sortedValues() {
			if intersects(n.get(value), refs) {
				if out = append(out, value); len(out) == limit {
					break
				}
			}
		}
		return out
	}
	seen := make(map[string]struct{})
	for _, ref := range refs {
		if value := r.Labels(ref).Get(name); value != "" {
			seen[value] = struct{}{}
		}
	}
	out := make([]string, 0, len(seen))
	for value := range seen {
		out = append(out, value)
	}
	return sortAndCut(out, limit)
}

func sortAndCut(values []string, limit int) []string {
	slices.Sort(values)
	if limit > 0 && len(values) > limit {
		values = values[:limit]
	}
	return values
}

// Count is a name with a number, in the lists of Cardinality.
type Count struct {
	Name  string
	Count uint64
}

// Cardinality says where the series come from; each list holds the highest
// counts, descending.
type Cardinality struct {
	Series     int // live series
	LabelPairs int // distinct name=value pairs

	SeriesByMetric []Count // series of a metric name
	ValuesByLabel  []Count // distinct values of a label name
	BytesByLabel   []Count // bytes of the values of a label name, each series counted
	SeriesByPair   []Count // series of a name=value pair
}

// Cardinality returns the limit highest counts of each kind.
func (r *Registry) Cardinality(limit int) Cardinality {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c := Cardinality{Series: r.live}
	metrics, values, bytes, pairs := topCounts{limit: limit}, topCounts{limit: limit}, topCounts{limit: limit}, topCounts{limit: limit}
	for name, n := range r.postings.names {
		c.LabelPairs += len(n.values)
		values.offer(uint64(len(n.values)), name, "")
		size := uint64(0)
		for value, at := range n.values {
			series := uint64(len(n.lists[at]))
			size += series * uint64(len(value))
			pairs.offer(series, name, value)
			if name == labels.MetricName {
				metrics.offer(series, value, "")
			}
		}
		bytes.offer(size, name, "")
	}
	c.SeriesByMetric, c.ValuesByLabel = metrics.list(), values.list()
	c.BytesByLabel, c.SeriesByPair = bytes.list(), pairs.list()
	return c
}

// topCounts keeps the highest counts offered.
type topCounts struct {
	limit int
	top   []topCount
}

type topCount struct {
	count       uint64
	name, value string
}

func (a topCount) compare(b topCount) int {
	return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.name, b.name), cmp.Compare(a.value, b.value))
}

func (t *topCounts) offer(count uint64, name, value string) {
	c := topCount{count, name, value}
	if len(t.top) == t.limit {
		if t.limit == 0 || t.top[t.limit-1].compare(c) <= 0 {
			return
		}
		t.top = t.top[:t.limit-1]
	}
	i, _ := slices.BinarySearchFunc(t.top, c, topCount.compare)
	t.top = slices.Insert(t.top, i, c)
}

func (t *topCounts) list() []Count {
	out := make([]Count, len(t.top))
	for i, c := range t.top {
		out[i] = Count{Name: c.name, Count: c.count}
		if c.value != "" {
			out[i].Name += "=" + c.value
		}
	}
	return out
}
