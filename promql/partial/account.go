package partial

import (
	"github.com/prometheus/prometheus/util/annotations"
)

// countSamples accounts the values of an instant selector; the windows of a range
// are accounted by their bounds: see flush.
func (w *evaluator) countSamples() {
	if w.prog.fn != nil {
		return
	}
	w.bounds.uses = 0
	if w.row.all {
		w.whole++
		return
	}
	for k, ok := range w.row.ok {
		if ok {
			w.total[k]++
			w.read[k]++
		}
	}
}

// flush adds the samples of bounds that leave the cache. The points of a subquery
// are no samples: those below it count.
func (w *evaluator) flush(b *bounds) {
	if w.prog.fn == nil || w.sub != nil || w.prog.given || b.uses == 0 {
		return
	}
	total, read := b.counts()
	for k := range total {
		w.total[k] += b.uses * total[k]
		w.read[k] += b.uses * read[k]
	}
	b.uses = 0
}

// counts ends the accounting and returns it: all samples that were looked at, and
// those of them that the step before had not.
func (w *evaluator) counts() (total, read []int64) {
	w.cache.each(w.flush)
	for k := range w.total {
		w.total[k] += w.whole
		w.read[k] += w.whole
	}
	w.whole = 0
	if w.sub == nil {
		return w.total, w.read
	}
	subTotal, subRead := w.sub.counts()
	return w.prog.sub.perStep(w.grid, subTotal, subRead)
}

// annotations returns those of the subqueries below and of this level. Of those that
// differ in nothing but their position the outer one is shown, as it is in
// Prometheus's engine, which comes to it last.
func (w *evaluator) annotations() annotations.Annotations {
	var a annotations.Annotations
	if w.sub != nil {
		a = w.sub.annotations()
	}
	a.Merge(w.annos)
	if w.informs {
		a.Merge(w.prog.infos())
	}
	return a
}
