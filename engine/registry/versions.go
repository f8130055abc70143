package registry

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/count-db/count/internal/model"
)

// versionMarks hold the highest version seen per series (V2), for nodes whose
// samples carry versions. A page of marks is made when its first series gets
// one; series without one have the floor's.
type versionMarks struct {
	mu    sync.Mutex // guards growing
	pages atomic.Pointer[[]*versionPage]
	floor atomic.Uint64
}

type versionPage [pageSize]atomic.Uint64

// RaiseVersionFloor raises the node-wide mark, which counts for every series
// whose own is lower: after a restart, an eviction and a tombstone.
func (r *Registry) RaiseVersionFloor(v model.Version) { raise(&r.versions.floor, v) }

// HighestVersion returns the highest version seen of a series.
func (r *Registry) HighestVersion(ref model.Ref) model.Version {
	return max(model.Version(r.versions.floor.Load()), r.versions.own(ref))
}

// Stale returns the highest version seen of any series of the batch, and
// whether it is at or above the batch's own: then a fresh batch is to be
// stamped above it and sent again (V2).
func (r *Registry) Stale(b *model.Batch) (highest model.Version, stale bool) {
	highest = model.Version(r.versions.floor.Load())
	for i := range b.Floats {
		highest = max(highest, r.versions.own(b.Floats[i].Ref))
	}
	for i := range b.Hists {
		highest = max(highest, r.versions.own(b.Hists[i].Ref))
	}
	return highest, b.Version <= highest
}

// RaiseVersions notes the batch's version for each of its series.
func (r *Registry) RaiseVersions(b *model.Batch) {
	for i := range b.Floats {
		r.RaiseVersion(b.Floats[i].Ref, b.Version)
	}
	for i := range b.Hists {
		r.RaiseVersion(b.Hists[i].Ref, b.Version)
	}
}

// RaiseVersion notes that a series has been given version v.
func (r *Registry) RaiseVersion(ref model.Ref, v model.Version) {
	p := r.versions.page(ref)
	if p == nil {
		p = r.versions.grow(ref)
	}
	raise(&p[ref%pageSize], v)
}

func raise(mark *atomic.Uint64, v model.Version) {
	for {
		old := mark.Load()
		if uint64(v) <= old || mark.CompareAndSwap(old, uint64(v)) {
			return
		}
	}
}

// own returns a series' own mark, 0 when it has none.
func (m *versionMarks) own(ref model.Ref) model.Version {
	if p := m.page(ref); p != nil {
		return model.Version(p[ref%pageSize].Load())
	}
	return 0
}

// drop lets go of the marks of a page whose series are all gone.
func (m *versionMarks) drop(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pages := m.pages.Load()
	if pages == nil || n >= len(*pages) || (*pages)[n] == nil {
		return
	}
	kept := slices.Clone(*pages)
	kept[n] = nil
	m.pages.Store(&kept)
}

func (m *versionMarks) page(ref model.Ref) *versionPage {
	pages := m.pages.Load()
	if pages == nil {
		return nil
	}
	if n := int(ref >> pageBits); n < len(*pages) {
		return (*pages)[n]
	}
	return nil
}

func (m *versionMarks) grow(ref model.Ref) *versionPage {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.page(ref); p != nil {
		return p
	}
	var old []*versionPage
	if pages := m.pages.Load(); pages != nil {
		old = *pages
	}
	n := int(ref >> pageBits)
	grown := make([]*versionPage, max(n+1, len(old)))
	copy(grown, old)
	grown[n] = new(versionPage)
	m.pages.Store(&grown)
	return grown[n]
}
