package engine

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

var exemplarsFile = smallFile{name: "exemplars", magic: "CTex", version: 1}

// exemplarRing holds the newest exemplars of all series, up to a limit. They
// are logged with the batch that brings them, and written whole at a flush.
//
// Exemplar number n (from 1) is in slot n % limit. Those of one series are
// chained from the newest to older ones by number; a number that has left the
// ring ends the chain.
type exemplarRing struct {
	mu      sync.RWMutex
	limit   int
	slots   []exemplarSlot // grows up to limit
	newest  uint64         // number of the newest; 0 = none
	last    map[model.Ref]uint64
	changed bool // since it was written
}

type exemplarSlot struct {
	model.Exemplar
	older uint64 // number of the series' exemplar before; 0 = none
}

// maxDuplicateSearch is how far back in its series an exemplar is looked for
// before it is taken as a new one.
const maxDuplicateSearch = 16

func newExemplarRing(limit int) *exemplarRing {
	return &exemplarRing{limit: max(limit, 0), last: map[model.Ref]uint64{}}
}

// at returns the slot of a number that is in the ring.
func (r *exemplarRing) at(n uint64) *exemplarSlot {
	if n == 0 || n+uint64(r.limit) <= r.newest {
		return nil
	}
	return &r.slots[int((n-1)%uint64(r.limit))]
}

func (r *exemplarRing) add(es []model.Exemplar) {
	if len(es) == 0 || r.limit == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range es {
		if !r.holdsLocked(&es[i]) {
			r.addLocked(es[i])
		}
	}
}

func (r *exemplarRing) holdsLocked(e *model.Exemplar) bool {
	n := r.last[e.Ref]
	for range maxDuplicateSearch {
		s := r.at(n)
		if s == nil {
			return false
		}
		if s.T == e.T && math.Float64bits(s.V) == math.Float64bits(e.V) && labels.Equal(s.Labels, e.Labels) {
			return true
		}
		n = s.older
	}
	return false
}

func (r *exemplarRing) addLocked(e model.Exemplar) {
	if len(r.slots) < r.limit {
		r.slots = append(r.slots, exemplarSlot{})
	} else if gone := r.at(r.newest + 1 - uint64(r.limit)); r.last[gone.Ref] == r.newest+1-uint64(r.limit) {
		delete(r.last, gone.Ref)
	}
	older := r.last[e.Ref]
	r.newest++
	r.slots[int((r.newest-1)%uint64(r.limit))] = exemplarSlot{Exemplar: e, older: older}
	r.last[e.Ref] = r.newest
	r.changed = true
}

// of returns a series' exemplars in [mint, maxt], ascending by timestamp.
func (r *exemplarRing) of(ref model.Ref, mint, maxt int64) []model.Exemplar {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []model.Exemplar
	for s := r.at(r.last[ref]); s != nil; s = r.at(s.older) {
		if s.T >= mint && s.T <= maxt {
			out = append(out, s.Exemplar)
		}
	}
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b model.Exemplar) int { return cmp.Compare(a.T, b.T) })
	return out
}

// holds says whether the ring holds an exemplar of the series.
func (r *exemplarRing) holds(ref model.Ref) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.last[ref] != 0
}

func (r *exemplarRing) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.slots)
}

// persist writes the file if something changed.
func (r *exemplarRing) persist(fsys vfs.FS, dir string) error {
	r.mu.Lock()
	if !r.changed {
		r.mu.Unlock()
		return nil
	}
	r.changed = false
	payload := r.encodeLocked()
	r.mu.Unlock()
	if err := exemplarsFile.write(fsys, dir, payload); err != nil {
		r.mu.Lock()
		r.changed = true
		r.mu.Unlock()
		return err
	}
	return nil
}

// encodeLocked writes the exemplars in the order they came.
func (r *exemplarRing) encodeLocked() []byte {
	dst := wire.AppendUvarint(nil, uint64(len(r.slots)))
	for n := r.newest + 1 - uint64(len(r.slots)); n <= r.newest; n++ {
		e := r.at(n)
		dst = wire.AppendUvarint(dst, uint64(e.Ref))
		dst = wire.AppendVarint(dst, e.T)
		dst = wire.AppendUint64(dst, math.Float64bits(e.V))
		dst = wire.AppendUvarint(dst, uint64(e.Labels.Len()))
		e.Labels.Range(func(l labels.Label) {
			dst = wire.AppendString(wire.AppendString(dst, l.Name), l.Value)
		})
	}
	return dst
}

func decodeExemplars(payload []byte) ([]model.Exemplar, error) {
	d := wire.NewDecoder(payload)
	out := make([]model.Exemplar, 0, d.Count(11))
	b := labels.NewScratchBuilder(4)
	for range cap(out) {
		e := model.Exemplar{Ref: model.Ref(d.Uint32Varint()), T: d.Varint(), V: d.Float64()}
		b.Reset()
		for range d.Count(2) {
			name := d.String()
			b.Add(name, d.String())
		}
		e.Labels = b.Labels()
		out = append(out, e)
	}
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the exemplars", d.Len())
	}
	return out, d.Err()
}

func (r *exemplarRing) load(fsys vfs.FS, dir string) error {
	payload, ok, err := exemplarsFile.read(fsys, dir)
	if err != nil || !ok {
		return err
	}
	es, err := decodeExemplars(payload)
	if err != nil {
		return fmt.Errorf("read %s: %w", exemplarsFile.name, err)
	}
	r.add(es)
	r.changed = false
	return nil
}

// Exemplars returns the exemplars in [mint, maxt] (ms, inclusive) of the series
// that match all matchers of one of the sets, sorted by labels.
func (db *DB) Exemplars(ctx context.Context, mint, maxt int64, sets ...[]*labels.Matcher) ([]SeriesExemplars, error) {
	var refs []model.Ref
	for _, ms := range sets {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		refs = append(refs, db.registry.Select(ms...)...)
	}
	slices.Sort(refs)
	refs = slices.Compact(refs)
	refs = slices.DeleteFunc(refs, func(ref model.Ref) bool { return !db.exemplars.holds(ref) })
	db.registry.SortByLabels(refs)
	var out []SeriesExemplars
	for _, ref := range refs {
		if es := db.exemplars.of(ref, mint, maxt); len(es) > 0 {
			out = append(out, SeriesExemplars{Labels: db.registry.Labels(ref), Exemplars: es})
		}
	}
	return out, nil
}
