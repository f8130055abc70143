package registry

import (
	"fmt"

	"github.com/count-db/count/internal/model"
)

// Prepare looks at the references of a batch before it is logged. It appends
// to unlogged those whose definition is in no log record yet (once each, or
// nearly): the caller puts the definitions into the record, and calls
// MarkLogged when the record has its place in the log's order, which is when
// later records can no longer come before it. Two batches at once may both
// define a new series; that is harmless, while a claim that only the first
// would carry out could be lost with it, after the second was acknowledged.
//
// Series marked for eviction are kept by it. The error wraps ErrUnknownRef when
// a reference names no series; nothing may be logged then.
func (r *Registry) Prepare(b *model.Batch, unlogged []model.Ref) ([]model.Ref, error) {
	pages := *r.pages.Load()
	var err error
	visit := func(ref model.Ref) {
		n := int(ref >> pageBits)
		if n < len(pages) && pages[n] != nil && pages[n].state[ref%pageSize].Load() == stateLive {
			return
		}
		unlogged, err = r.prepareSlow(ref, unlogged, err)
	}
	for i := range b.Floats {
		visit(b.Floats[i].Ref)
	}
	for i := range b.Hists {
		visit(b.Hists[i].Ref)
	}
	for i := range b.Exemplars {
		visit(b.Exemplars[i].Ref)
	}
	return unlogged, err
}

func (r *Registry) prepareSlow(ref model.Ref, unlogged []model.Ref, err error) ([]model.Ref, error) {
	if !r.resurrect(ref) {
		if err == nil {
			err = fmt.Errorf("%w: %d", ErrUnknownRef, ref)
		}
		return unlogged, err
	}
	repeated := len(unlogged) > 0 && unlogged[len(unlogged)-1] == ref
	if !repeated && r.page(ref).state[ref%pageSize].Load()&stateUnlogged != 0 {
		unlogged = append(unlogged, ref)
	}
	return unlogged, err
}

// MarkLogged says that log records hold the definitions of these series.
func (r *Registry) MarkLogged(refs []model.Ref) {
	for _, ref := range refs {
		if p := r.page(ref); p != nil {
			p.state[ref%pageSize].And(^uint32(stateUnlogged))
		}
	}
}

// resurrect takes a series out of an eviction that has not reached it. It says
// whether the series is live.
func (r *Registry) resurrect(ref model.Ref) bool {
	p := r.page(ref)
	if p == nil {
		return false
	}
	state := &p.state[ref%pageSize]
	for {
		old := state.Load()
		if old&stateLive == 0 {
			return false
		}
		if old&stateCold == 0 || state.CompareAndSwap(old, old&^stateCold) {
			return true
		}
	}
}

// MarkCold is the first half of eviction: it marks the series that keep says
// no to, and returns how many are marked. They stay in use; a write, a lookup
// by Intern or a later KeepCold takes the mark away.
func (r *Registry) MarkCold(keep func(model.Ref) bool) int {
	marked := 0
	r.eachLive(func(ref model.Ref, p *page) {
		if keep(ref) {
			return
		}
		state := &p.state[ref%pageSize]
		for {
			old := state.Load()
			// An unlogged series has a write under way that will log it.
			if old&stateLive == 0 || old&(stateCold|stateUnlogged) != 0 {
				break
			}
			if state.CompareAndSwap(old, old|stateCold) {
				marked++
				break
			}
		}
	})
	return marked
}

// RemoveCold is the second half: it forgets the series that still have the
// mark and that keep still says no to, and returns how many. Between the halves
// the caller waits for all writes that hold a reference, and asks keep for what
// they left: a freeze of the buffer lies between them.
func (r *Registry) RemoveCold(keep func(model.Ref) bool) int {
	var gone []model.Ref
	r.eachLive(func(ref model.Ref, p *page) {
		if p.state[ref%pageSize].Load()&stateCold == 0 {
			return
		}
		if keep(ref) {
			r.resurrect(ref)
			return
		}
		gone = append(gone, ref)
	})
	removed := r.remove(gone)
	if removed > 0 {
		r.generation.Add(1)
	}
	return removed
}

// remove forgets those of refs that are still cold.
func (r *Registry) remove(refs []model.Ref) int {
	entries := make(map[model.Ref]*entry, len(refs))
	var emptied []int
	for _, ref := range refs {
		e := r.entry(ref)
		if e == nil {
			continue
		}
		hash := e.labels.Hash()
		s := &r.shards[hash%shardNum]
		s.mu.Lock()
		r.mu.Lock()
		p := r.page(ref)
		// Should the series come back, it has no mark of its own (V2).
		r.RaiseVersionFloor(r.versions.own(ref))
		if p.state[ref%pageSize].CompareAndSwap(stateLive|stateCold, 0) {
			s.table.remove(hash, ref)
			r.ids.remove(idHash(e.id), ref)
			p.entries[ref%pageSize].Store(nil)
			r.live--
			if p.live--; p.live == 0 {
				emptied = append(emptied, int(ref>>pageBits))
			}
			entries[ref] = e
		}
		r.mu.Unlock()
		s.mu.Unlock()
	}
	if len(entries) == 0 {
		return 0
	}
	r.mu.Lock()
	r.postings.remove(entries)
	for ref := range entries {
		r.file.forgotten = append(r.file.forgotten, ref)
	}
	r.dropPagesLocked(emptied)
	r.mu.Unlock()
	r.order.forget()
	r.presence.forget(entries)
	return len(entries)
}

// eachLive calls f for every live series, without any lock.
func (r *Registry) eachLive(f func(model.Ref, *page)) {
	for n, p := range *r.pages.Load() {
		if p == nil {
			continue
		}
		for i := range p.state {
			if p.state[i].Load()&stateLive != 0 {
				f(model.Ref(n<<pageBits|i), p)
			}
		}
	}
}
