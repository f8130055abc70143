package engine

import (
	"slices"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// dayPart is a day file in a selection.
type dayPart struct {
	file    *liveFile
	numbers []uint32 // of the matching series in the file
	at      []int32  // number in the file of each series of the selection; -1 = not there
}

// dayRefs remembers, for each series of a day file, the reference that the
// registry knew it by: looking it up means making its labels.
type dayRefs []atomic.Uint32

const (
	dayRefUnasked = 0
	dayRefUnknown = ^uint32(0)
)

// dayRef returns the reference of series n of a day file, 0 when the registry
// does not know it (or did not when it was asked).
func (db *DB) dayRef(f *liveFile, n uint32) (model.Ref, error) {
	slot := &f.dayRefs[n]
	switch ref := slot.Load(); {
	case ref == dayRefUnknown:
		return 0, nil
	case ref != dayRefUnasked && db.registry.Exists(model.Ref(ref)):
		return model.Ref(ref), nil
	}
	ls, err := f.day.Labels(int(n))
	if err != nil {
		return 0, f.damaged(err)
	}
	ref, ok := db.registry.Lookup(ls)
	if !ok {
		slot.Store(dayRefUnknown)
		return 0, nil
	}
	slot.Store(uint32(ref))
	return ref, nil
}

// dayUnion joins the series of the registry with those of day files.
type dayUnion struct {
	db   *DB
	refs []model.Ref // known series
	old  []oldSeries // those that only a day file names, as far as is known
	list []selected  // the result
	ats  map[model.Ref]int32
}

// oldSeries is a series of a day file that had no reference when it was asked.
type oldSeries struct {
	labels labels.Labels
	day    *dayPart
	number uint32
}

// add takes in the matching series of a day file.
func (u *dayUnion) add(d *dayPart, ms []*labels.Matcher) error {
	var err error
	if d.numbers, err = d.file.day.Select(ms...); err != nil {
		return d.file.damaged(err)
	}
	for _, n := range d.numbers {
		ref, err := u.db.dayRef(d.file, n)
		if err != nil {
			return err
		}
		if ref != 0 {
			u.refs = append(u.refs, ref)
			continue
		}
		ls, err := d.file.day.Labels(int(n))
		if err != nil {
			return d.file.damaged(err)
		}
		u.old = append(u.old, oldSeries{ls, d, n})
	}
	return nil
}

// series returns all of them, sorted by labels, each once.
func (u *dayUnion) series() []selected {
	slices.Sort(u.refs)
	u.refs = slices.Compact(u.refs)
	u.db.registry.SortByLabels(u.refs)
	slices.SortStableFunc(u.old, func(a, b oldSeries) int { return labels.Compare(a.labels, b.labels) })
	u.list = make([]selected, 0, len(u.refs)+len(u.old))
	known := make([]selected, len(u.refs))
	for i, ref := range u.refs {
		known[i] = selected{ref, u.db.registry.Labels(ref)}
	}
	for i := range u.old {
		o := &u.old[i]
		for len(known) > 0 && labels.Compare(known[0].labels, o.labels) < 0 {
			u.list = append(u.list, known[0])
			known = known[1:]
		}
		if n := len(u.list); n > 0 && labels.Equal(u.list[n-1].labels, o.labels) {
			continue
		}
		if len(known) > 0 && labels.Equal(known[0].labels, o.labels) {
			// The registry knows it again.
			u.list = append(u.list, known[0])
			known = known[1:]
			continue
		}
		u.list = append(u.list, selected{labels: o.labels})
	}
	u.list = append(u.list, known...)
	u.ats = make(map[model.Ref]int32, len(u.list))
	for i := range u.list {
		if ref := u.list[i].ref; ref != 0 {
			u.ats[ref] = int32(i)
		}
	}
	return u.list
}

// place fills in where the series of the selection are in a day file.
func (u *dayUnion) place(d *dayPart) {
	d.at = make([]int32, len(u.list))
	for i := range d.at {
		d.at[i] = -1
	}
	for _, n := range d.numbers {
		// Asked before: no error, and no labels are made.
		if ref := model.Ref(d.file.dayRefs[n].Load()); ref != model.Ref(dayRefUnknown) {
			if i, ok := u.ats[ref]; ok {
				d.at[i] = int32(n)
			}
		}
	}
	for i := range u.old {
		o := &u.old[i]
		if o.day != d {
			continue
		}
		at, ok := slices.BinarySearchFunc(u.list, o.labels, func(s selected, ls labels.Labels) int {
			return labels.Compare(s.labels, ls)
		})
		if ok {
			d.at[at] = int32(o.number)
		}
	}
}
