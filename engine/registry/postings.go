package registry

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// postings are the lists of series per label name and value. Lists only grow
// at their end, or are replaced as a whole, so that a list taken under the
// registry's lock stays what it was after the lock is gone.
type postings struct {
	names map[string]*nameEntry
	all   []model.Ref
}

// nameEntry holds the values of one label name.
type nameEntry struct {
	values map[string]uint32 // value to its place in lists
	lists  [][]model.Ref
	all    []model.Ref // the series that have the label
	// sorted holds the values in order, or nil when there are new ones. It is
	// made when somebody reads it, possibly by two readers at once.
	sorted atomic.Pointer[[]string]
}

func (p *postings) init() { p.names = map[string]*nameEntry{} }

// add puts a series into the lists of its labels.
func (p *postings) add(ref model.Ref, ls labels.Labels) {
	p.all = addRef(p.all, ref)
	ls.Range(func(l labels.Label) {
		n := p.names[l.Name]
		if n == nil {
			n = &nameEntry{values: map[string]uint32{}}
			p.names[strings.Clone(l.Name)] = n
		}
		n.all = addRef(n.all, ref)
		at, ok := n.values[l.Value]
		if !ok {
			at = uint32(len(n.lists))
			n.lists = append(n.lists, nil)
			n.values[strings.Clone(l.Value)] = at
			n.sorted.Store(nil)
		}
		n.lists[at] = addRef(n.lists[at], ref)
	})
}

// addRef adds a reference to a list: at the end, unless it is one that the log
// brought back out of order (concurrent writers log a little out of order).
// Then those behind it move up in place: copying the list instead would make
// replay quadratic in the series, and nobody holds a list before replay ends.
func addRef(list []model.Ref, ref model.Ref) []model.Ref {
	if n := len(list); n == 0 || list[n-1] < ref {
		return append(list, ref)
	}
	i, found := slices.BinarySearch(list, ref)
	if found {
		return list
	}
	return slices.Insert(list, i, ref)
}

// remove takes evicted series out of all lists.
func (p *postings) remove(gone map[model.Ref]*entry) {
	set := make(refSet, slices.Max(slices.Collect(maps.Keys(gone)))/64+1)
	for ref := range gone {
		set[ref/64] |= 1 << (ref % 64)
	}
	without := func(list []model.Ref) []model.Ref {
		out := make([]model.Ref, 0, len(list))
		for _, ref := range list {
			if !set.has(ref) {
				out = append(out, ref)
			}
		}
		return out
	}
	p.all = without(p.all)
	touched := map[string]map[string]struct{}{}
	for _, e := range gone {
		e.labels.Range(func(l labels.Label) {
			if touched[l.Name] == nil {
				touched[l.Name] = map[string]struct{}{}
			}
			touched[l.Name][l.Value] = struct{}{}
		})
	}
	for name, values := range touched {
		n := p.names[name]
		n.all = without(n.all)
		if len(n.all) == 0 {
			delete(p.names, name)
			continue
		}
		emptied := false
		for value := range values {
			at := n.values[value]
			n.lists[at] = without(n.lists[at])
			if len(n.lists[at]) == 0 {
				delete(n.values, value)
				emptied = true
			}
		}
		if emptied {
			n.compact()
		}
	}
}

// compact closes the holes that values without series leave in lists.
func (n *nameEntry) compact() {
	lists := make([][]model.Ref, 0, len(n.values))
	for value, at := range n.values {
		n.values[value] = uint32(len(lists))
		lists = append(lists, n.lists[at])
	}
	n.lists = lists
	n.sorted.Store(nil)
}

// get returns the series that have the value.
func (n *nameEntry) get(value string) []model.Ref {
	if at, ok := n.values[value]; ok {
		return n.lists[at]
	}
	return nil
}

// sortedValues returns the values in order; it is not to be changed. The
// caller holds the registry's lock.
func (n *nameEntry) sortedValues() []string {
	if s := n.sorted.Load(); s != nil {
		return *s
	}
	out := make([]string, 0, len(n.values))
	for v := range n.values {
		out = append(out, v)
	}
	slices.Sort(out)
	n.sorted.Store(&out)
	return out
}

// withPrefix returns the values that begin with prefix, in order.
func (n *nameEntry) withPrefix(prefix string) []string {
	values := n.sortedValues()
	if prefix == "" {
		return values
	}
	lo, _ := slices.BinarySearch(values, prefix)
	hi := lo
	for hi < len(values) && strings.HasPrefix(values[hi], prefix) {
		hi++
	}
	return values[lo:hi]
}
