package cluster

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
)

// topology is a ring in force and what follows from it. It never changes.
type topology struct {
	record *membership.RingRecord
	ring   *ring.Ring
	lists  []ring.List
	place  *placement
	alone  bool // this node is the only member
	member bool // this node is a member
	whole  bool // this node is an owner of every list of a settled ring: it may hold everything
	// common says that every member is a candidate of every list. Where it is not so, as
	// with a node that owns everything because it is alone in its zone, a member's copy
	// says nothing of the lists that it is no candidate of.
	common bool
	// numbers are the last numbers given out, by list (C7).
	numbers []atomic.Uint64
}

func newTopology(record *membership.RingRecord, self ring.NodeID, ls func(model.Ref) labels.Labels) (*topology, error) {
	r, err := record.Ring()
	if err != nil {
		return nil, err
	}
	t := &topology{record: record, ring: r, lists: r.Lists(), member: r.Has(self)}
	t.alone = t.member && len(r.Members()) == 1
	t.numbers = make([]atomic.Uint64, len(t.lists))
	t.whole, t.common = t.member && !r.Changing(), true
	for i := range t.lists {
		t.whole = t.whole && t.lists[i].Owns(self)
		for _, m := range r.Members() {
			t.common = t.common && t.lists[i].Has(m.ID)
		}
	}
	t.place = &placement{ring: r, labels: ls}
	t.place.pages.Store(new([]*listPage))
	return t, nil
}

// numbered returns the origin with the list's next number; the one it had becomes
// an earlier one.
func (t *topology) numbered(o frontier.Origin) frontier.Origin {
	if o.Number != 0 {
		o.Earlier = append(slices.Clip(o.Earlier), o.Number)
	}
	o.Number = t.numbers[o.List].Add(1)
	return o
}

// placement remembers the candidate list of each series: SHA-256 is paid once a
// series and ring.
type placement struct {
	ring   *ring.Ring
	labels func(model.Ref) labels.Labels

	mu    sync.Mutex // guards growing
	pages atomic.Pointer[[]*listPage]
}

const listPageBits = 12

// listPage holds list numbers plus one; 0 = not known yet.
type listPage [1 << listPageBits]atomic.Uint32

// listOf returns the number of the candidate list of a series; false when the registry
// has forgotten its labels and it was never asked for.
func (p *placement) listOf(ref model.Ref) (int, bool) {
	slot := p.slot(ref)
	if known := slot.Load(); known != 0 {
		return int(known - 1), true
	}
	ls := p.labels(ref)
	if ls.IsEmpty() {
		return 0, false
	}
	return p.place(slot, ls), true
}

// listOfSeries is listOf where the labels are at hand: the registry may forget
// them meanwhile.
func (p *placement) listOfSeries(ref model.Ref, ls labels.Labels) int {
	slot := p.slot(ref)
	if known := slot.Load(); known != 0 {
		return int(known - 1)
	}
	return p.place(slot, ls)
}

func (p *placement) place(slot *atomic.Uint32, ls labels.Labels) int {
	list := p.ring.ListOf(model.SeriesIDOf(ls).Token())
	slot.Store(uint32(list) + 1)
	return list
}

func (p *placement) slot(ref model.Ref) *atomic.Uint32 {
	pages := *p.pages.Load()
	n := int(ref >> listPageBits)
	if n >= len(pages) || pages[n] == nil {
		pages = p.grow(n)
	}
	return &pages[n][ref%(1<<listPageBits)]
}

func (p *placement) grow(n int) []*listPage {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := *p.pages.Load()
	if n < len(old) && old[n] != nil {
		return old
	}
	grown := make([]*listPage, max(n+1, len(old)))
	copy(grown, old)
	grown[n] = new(listPage)
	p.pages.Store(&grown)
	return grown
}

// listOfFamily returns the candidate list of a family's metadata: that of the
// series of this name without labels.
func (p *placement) listOfFamily(family string) int {
	return p.ring.ListOf(model.SeriesIDOf(labels.FromStrings(labels.MetricName, family)).Token())
}
