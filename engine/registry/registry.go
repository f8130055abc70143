package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// ErrLimit is returned by Intern when the registry holds Options.MaxSeries
// series already.
var ErrLimit = errors.New("series limit reached")

// ErrUnknownRef marks a reference that names no series: it was never given
// out, or its series has been evicted. The caller looks the labels up again.
var ErrUnknownRef = errors.New("unknown series reference")

// Options of a Registry. The zero value is valid.
type Options struct {
	// MaxSeries is the highest number of live series; 0 = no limit.
	MaxSeries int
	// Damaged is called where definitions are lost, before Open writes the file
	// without them; its error ends Open.
	Damaged func(LoadReport) error
}

// The state of a reference is a set of bits; stateLive alone is the state of
// nearly all, so that one comparison on the append path finds the others.
const (
	stateLive     = 1 << iota // has labels and is found by Lookup and Select
	stateUnlogged             // no log record in the log's order holds its definition yet
	stateCold                 // marked for eviction
)

const (
	pageBits = 10
	pageSize = 1 << pageBits
	shardNum = 64
)

// page holds pageSize consecutive series. An entry is there before
// its state becomes live, and goes with it at eviction.
type page struct {
	state   [pageSize]atomic.Uint32
	entries [pageSize]atomic.Pointer[entry]
	live    int // series in it; guarded by Registry.mu
}

// entry is what is known of a series. It is immutable.
type entry struct {
	labels labels.Labels
	id     model.SeriesID
}

// shard is a part of the index from label hash to reference.
type shard struct {
	mu    sync.RWMutex
	table refTable
}

// Registry is the series registry of one node.
type Registry struct {
	opts   Options
	shards [shardNum]shard

	// mu guards everything up to the blank line, and orders creations: the
	// order of references is the order of postings. Where a shard's lock is
	// needed too, the shard's is taken first.
	mu       sync.RWMutex
	next     model.Ref // the next reference to give out
	postings postings
	ids      refTable // by the second half of the id
	live     int

	pages      atomic.Pointer[[]*page] // nil where all series are gone, or none has been
	generation atomic.Uint64
	versions   versionMarks
	order      order
	presence   presence
	file       file
}

// New returns an empty registry that keeps nothing on disk; Open returns one
// that does.
func New(opts Options) *Registry {
	r := &Registry{opts: opts, next: 1}
	r.postings.init()
	r.presence.init()
	pages := []*page{}
	r.pages.Store(&pages)
	return r
}

// Lookup returns the reference of a live series. It does not keep ls.
func (r *Registry) Lookup(ls labels.Labels) (model.Ref, bool) {
	hash := ls.Hash()
	s := &r.shards[hash%shardNum]
	s.mu.RLock()
	defer s.mu.RUnlock()
	ref := r.find(s, hash, ls)
	return ref, ref != 0
}

// LookupID returns the reference of the live series with that id.
func (r *Registry) LookupID(id model.SeriesID) (model.Ref, bool) {
	hash := idHash(id)
	r.mu.RLock()
	defer r.mu.RUnlock()
	ref := r.ids.find(hash, func(ref model.Ref) bool {
		e := r.entry(ref)
		return e != nil && e.id == id
	})
	return ref, ref != 0
}

// Intern returns the reference of the series with these labels, making the
// series when there is none. A series of an eviction that is under way is kept
// by it. The labels must be sorted and valid; they are copied. The error wraps
// ErrLimit when a new series is one too many.
func (r *Registry) Intern(ls labels.Labels) (ref model.Ref, created bool, err error) {
	hash := ls.Hash()
	s := &r.shards[hash%shardNum]
	s.mu.RLock()
	ref = r.find(s, hash, ls)
	s.mu.RUnlock()
	if ref != 0 && r.resurrect(ref) {
		return ref, false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ref = r.find(s, hash, ls); ref != 0 && r.resurrect(ref) {
		return ref, false, nil
	}
	e := &entry{labels: ls.Copy(), id: model.SeriesIDOf(ls)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opts.MaxSeries > 0 && r.live >= r.opts.MaxSeries {
		return 0, false, fmt.Errorf("%w: %d", ErrLimit, r.opts.MaxSeries)
	}
	if r.next == 0 {
		return 0, false, fmt.Errorf("%w: all 32-bit references were given out", ErrLimit)
	}
	ref = r.next
	r.next++
	r.addLocked(s, ref, e, stateLive|stateUnlogged)
	return ref, true, nil
}

// Define makes the series with a given reference, as a log record or the
// registry file says. When a live series has these labels already, under
// another reference, that one is returned, and samples of ref are to be
// applied to it. It is an error when ref names other labels. The series limit
// does not count here: what was once taken is kept. It is for recovery only:
// nobody may read the registry meanwhile, because lists change in place.
func (r *Registry) Define(ref model.Ref, ls labels.Labels) (model.Ref, error) {
	if ref == 0 || ref == ^model.Ref(0) {
		return 0, fmt.Errorf("define series %s: reference %d is out of range", model.SeriesKey(ls), ref)
	}
	// Also one that is not used is never given to another series: the log goes on
	// naming it.
	r.mu.Lock()
	r.next = max(r.next, ref+1)
	r.mu.Unlock()
	return r.define(ref, ls, stateLive)
}

func (r *Registry) define(ref model.Ref, ls labels.Labels, state uint32) (model.Ref, error) {
	hash := ls.Hash()
	s := &r.shards[hash%shardNum]
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := r.find(s, hash, ls); have != 0 && r.resurrect(have) {
		r.MarkLogged([]model.Ref{have})
		return have, nil
	}
	e := &entry{labels: ls.Copy(), id: model.SeriesIDOf(ls)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if have := r.entry(ref); have != nil {
		return 0, fmt.Errorf("define series %s: reference %d is %s already",
			model.SeriesKey(ls), ref, model.SeriesKey(have.labels))
	}
	r.next = max(r.next, ref+1)
	r.addLocked(s, ref, e, state)
	return ref, nil
}

// addLocked makes the series known; the caller holds s.mu and r.mu.
func (r *Registry) addLocked(s *shard, ref model.Ref, e *entry, state uint32) {
	p := r.growLocked(ref)
	p.live++
	p.entries[ref%pageSize].Store(e)
	p.state[ref%pageSize].Store(state)
	s.table.insert(e.labels.Hash(), ref, r.labelHash)
	r.ids.insert(idHash(e.id), ref, r.idHashOf)
	r.postings.add(ref, e.labels)
	r.file.undurable = append(r.file.undurable, ref)
	r.live++
}

// growLocked returns the page of ref, made if need be; the caller holds r.mu.
func (r *Registry) growLocked(ref model.Ref) *page {
	pages := *r.pages.Load()
	n := int(ref >> pageBits)
	if n < len(pages) && pages[n] != nil {
		return pages[n]
	}
	// Readers hold the old slice, and where it is stored, without a lock: never
	// write into either.
	grown := make([]*page, max(n+1, len(pages)), max(2*(n+1), cap(pages)))
	copy(grown, pages)
	grown[n] = new(page)
	r.pages.Store(&grown)
	return grown[n]
}

// dropPagesLocked lets go of pages that eviction has emptied and that no new
// reference falls into; the caller holds r.mu.
func (r *Registry) dropPagesLocked(emptied []int) {
	kept := slices.Clone(*r.pages.Load())
	for _, n := range emptied {
		if n < int(r.next>>pageBits) && kept[n] != nil && kept[n].live == 0 {
			kept[n] = nil
			r.versions.drop(n)
		}
	}
	r.pages.Store(&kept)
}

// page returns the page of ref, or nil.
func (r *Registry) page(ref model.Ref) *page {
	pages := *r.pages.Load()
	if n := int(ref >> pageBits); n < len(pages) {
		return pages[n]
	}
	return nil
}

func (r *Registry) entry(ref model.Ref) *entry {
	if p := r.page(ref); p != nil {
		return p.entries[ref%pageSize].Load()
	}
	return nil
}

// find looks labels up in their shard, whose lock the caller holds.
func (r *Registry) find(s *shard, hash uint64, ls labels.Labels) model.Ref {
	return s.table.find(hash, func(ref model.Ref) bool {
		e := r.entry(ref)
		return e != nil && labels.Equal(e.labels, ls)
	})
}

// Labels returns the labels of a series, without a copy; none when ref names
// no series.
func (r *Registry) Labels(ref model.Ref) labels.Labels {
	if e := r.entry(ref); e != nil {
		return e.labels
	}
	return labels.EmptyLabels()
}

// ID returns the id of a series; zero when ref names no series.
func (r *Registry) ID(ref model.Ref) model.SeriesID {
	if e := r.entry(ref); e != nil {
		return e.id
	}
	return model.SeriesID{}
}

// Token returns the position of a series on the ring.
func (r *Registry) Token(ref model.Ref) uint64 { return r.ID(ref).Token() }

// Exists says whether ref names a series.
func (r *Registry) Exists(ref model.Ref) bool { return r.entry(ref) != nil }

// Len returns the number of live series.
func (r *Registry) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.live
}

// Reserve makes sure that a reference that something on disk names, and that names
// no series, never comes to name another one.
func (r *Registry) Reserve(ref model.Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = max(r.next, ref+1)
}

// MaxRef returns the highest reference given out so far.
func (r *Registry) MaxRef() model.Ref {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.next - 1
}

// Generation counts evictions: while it stays the same, every reference that
// was valid still is.
func (r *Registry) Generation() uint64 { return r.generation.Load() }

// idHash takes the half of the id that the ring does not use.
func idHash(id model.SeriesID) uint64 { return binary.BigEndian.Uint64(id[8:]) }

func (r *Registry) labelHash(ref model.Ref) uint64 { return r.entry(ref).labels.Hash() }

func (r *Registry) idHashOf(ref model.Ref) uint64 { return idHash(r.entry(ref).id) }
