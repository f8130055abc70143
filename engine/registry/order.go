package registry

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// order holds each series' place in the order of labels, so that sorting a
// selection compares numbers. It is made when it is needed and covers the
// series of that moment; younger ones are sorted by their labels until they
// are many enough to make it anew.
type order struct {
	mu    sync.Mutex // held while a new one is made
	ranks atomic.Pointer[ranks]
}

// ranks is one such order; it is immutable.
type ranks struct {
	pages []*[pageSize]uint32 // rank by reference, from 1; 0 = not ranked
	count int                 // series with a rank
}

// minUnranked is the number of series without a rank, in one selection, that
// is never worth a new order.
const minUnranked = 64

// SortByLabels sorts references, each given once, by their series' labels, in
// place. Those that name no series come first.
func (r *Registry) SortByLabels(refs []model.Ref) {
	if len(refs) < 2 {
		return
	}
	have := r.order.ranks.Load()
	unranked := len(refs)
	if have != nil {
		unranked = have.countUnranked(refs)
	}
	if unranked > max(minUnranked, r.Len()/16) {
		have = r.rerank()
	}
	if have == nil {
		r.sortByCompare(refs)
		return
	}
	// Ranked ones to the front, by rank; the others behind them, by labels;
	// then one merge.
	split := have.partition(refs)
	have.sort(refs[:split])
	r.sortByCompare(refs[split:])
	r.mergeSorted(refs, split)
}

func (r *Registry) sortByCompare(refs []model.Ref) {
	slices.SortFunc(refs, func(a, b model.Ref) int { return labels.Compare(r.Labels(a), r.Labels(b)) })
}

// mergeSorted merges the two sorted parts of refs.
func (r *Registry) mergeSorted(refs []model.Ref, split int) {
	if split == 0 || split == len(refs) {
		return
	}
	// From the end, so that only the younger part is copied.
	young := slices.Clone(refs[split:])
	i, j, out := split-1, len(young)-1, len(refs)-1
	for j >= 0 {
		if i >= 0 && labels.Compare(r.Labels(refs[i]), r.Labels(young[j])) > 0 {
			refs[out] = refs[i]
			i--
		} else {
			refs[out] = young[j]
			j--
		}
		out--
	}
}

// rankItem is a series with its labels as they were when the sorting began: an
// eviction meanwhile must not change the order under it.
type rankItem struct {
	ref    model.Ref
	labels labels.Labels
}

func compareItems(a, b rankItem) int { return labels.Compare(a.labels, b.labels) }

// rerank makes a new order of all live series, from the last one.
func (r *Registry) rerank() *ranks {
	r.order.mu.Lock()
	defer r.order.mu.Unlock()
	all := r.Select()
	old := r.order.ranks.Load()
	if old != nil && old.countUnranked(all) == 0 {
		return old // made while we waited
	}
	split := 0
	if old != nil {
		split = old.partition(all)
		old.sort(all[:split])
	}
	ranked, young := r.items(all[:split]), r.items(all[split:])
	slices.SortFunc(young, compareItems)
	next := &ranks{pages: make([]*[pageSize]uint32, len(*r.pages.Load()))}
	for len(ranked)+len(young) > 0 {
		from := &ranked
		if len(ranked) == 0 || len(young) > 0 && compareItems(young[0], ranked[0]) < 0 {
			from = &young
		}
		next.add((*from)[0].ref)
		*from = (*from)[1:]
	}
	r.order.ranks.Store(next)
	return next
}

// items pairs references with their labels, without those that are gone.
func (r *Registry) items(refs []model.Ref) []rankItem {
	out := make([]rankItem, 0, len(refs))
	for _, ref := range refs {
		if e := r.entry(ref); e != nil {
			out = append(out, rankItem{ref, e.labels})
		}
	}
	return out
}

// forget drops the order after an eviction, so that it names no series that
// is gone.
func (o *order) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ranks.Store(nil)
}

// add gives a series the next rank.
func (k *ranks) add(ref model.Ref) {
	n := int(ref >> pageBits)
	if k.pages[n] == nil {
		k.pages[n] = new([pageSize]uint32)
	}
	k.count++
	k.pages[n][ref%pageSize] = uint32(k.count)
}

func (k *ranks) of(ref model.Ref) uint32 {
	if n := int(ref >> pageBits); n < len(k.pages) && k.pages[n] != nil {
		return k.pages[n][ref%pageSize]
	}
	return 0
}

func (k *ranks) countUnranked(refs []model.Ref) int {
	n := 0
	for _, ref := range refs {
		if k.of(ref) == 0 {
			n++
		}
	}
	return n
}

// sort sorts references that all have a rank.
func (k *ranks) sort(refs []model.Ref) {
	if len(refs) < k.count/8 {
		slices.SortFunc(refs, func(a, b model.Ref) int { return cmp.Compare(k.of(a), k.of(b)) })
		return
	}
	// Many of all: one pass over the ranks. A rank belongs to one series, and a
	// series is in refs once.
	at := make([]model.Ref, k.count+1)
	for _, ref := range refs {
		at[k.of(ref)] = ref
	}
	refs = refs[:0]
	for _, ref := range at {
		if ref != 0 {
			refs = append(refs, ref)
		}
	}
}

// partition moves the ranked references to the front and returns their number.
func (k *ranks) partition(refs []model.Ref) int {
	split := 0
	for i, ref := range refs {
		if k.of(ref) != 0 {
			refs[i], refs[split] = refs[split], refs[i]
			split++
		}
	}
	return split
}
