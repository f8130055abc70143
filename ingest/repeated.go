package ingest

import "github.com/count-db/count/internal/model"

// Within one request the last sample of a (series, timestamp) wins. All samples
// of a batch have one version, so nothing behind could tell which one is last.

// point names a sample of a batch.
type point struct {
	ref model.Ref
	t   int64
}

// dropRepeated keeps of floats of one (series, timestamp) the last, at its place.
func dropRepeated(batch *model.Batch) {
	last := make(map[point]int, len(batch.Floats))
	for i, s := range batch.Floats {
		last[point{s.Ref, s.T}] = i
	}
	kept := 0
	for i, s := range batch.Floats {
		if last[point{s.Ref, s.T}] != i {
			continue
		}
		batch.Floats[kept] = s
		if batch.STs != nil {
			batch.STs[kept] = batch.STs[i]
		}
		kept++
	}
	batch.Floats = batch.Floats[:kept]
	if batch.STs != nil {
		batch.STs = batch.STs[:kept]
	}
}

// repeatedHists says whether histograms of one (series, timestamp) may be given
// twice: whether references and timestamps do not just ascend.
func repeatedHists(hists []model.HistogramSample) bool {
	for i := 1; i < len(hists); i++ {
		a, b := &hists[i-1], &hists[i]
		if b.Ref < a.Ref || (b.Ref == a.Ref && b.T <= a.T) {
			return true
		}
	}
	return false
}

// dropRepeatedHists keeps of histograms of one (series, timestamp) the last.
func dropRepeatedHists(batch *model.Batch) {
	last := make(map[point]int, len(batch.Hists))
	for i := range batch.Hists {
		last[point{batch.Hists[i].Ref, batch.Hists[i].T}] = i
	}
	i := -1
	batch.Hists = keepIf(batch.Hists, func(s *model.HistogramSample) bool {
		i++
		return last[point{s.Ref, s.T}] == i
	})
}

// refSet is a set of references, quick to fill and to empty: open addressing, at
// most half full.
type refSet struct {
	slots []model.Ref // 0 = empty
	mask  uint32
}

// reset empties the set and makes room for n references.
func (s *refSet) reset(n int) {
	size := 64
	for size < 2*n {
		size *= 2
	}
	if cap(s.slots) < size {
		s.slots = make([]model.Ref, size)
	} else {
		s.slots = s.slots[:size]
		clear(s.slots)
	}
	s.mask = uint32(size - 1)
}

// add adds a reference and says whether it was there.
func (s *refSet) add(ref model.Ref) bool {
	// References are small numbers in a row; a multiplication spreads them.
	for i := uint32(ref) * 0x9e3779b1 >> 3 & s.mask; ; i = (i + 1) & s.mask {
		switch s.slots[i] {
		case ref:
			return true
		case 0:
			s.slots[i] = ref
			return false
		}
	}
}
