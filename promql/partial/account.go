package partial

import (
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/stats"
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
	if w.prog.fn == nil || w.sub != nil || b.uses == 0 {
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
	// Prometheus's own code says which steps a subquery's samples belong to.
	below := stats.NewChildWithStepTracking(w.sub.grid.Start, w.sub.grid.End, w.sub.grid.Step)
	subTotal, subRead := w.sub.counts()
	for k := range subTotal {
		below.IncrementSamplesAtStep(k, subTotal[k])
		below.IncrementSamplesReadAtStep(k, subRead[k])
	}
	all := stats.NewChildWithStepTracking(w.grid.Start, w.grid.End, w.grid.Step)
	consumer := stats.SubqueryConsumer{
		Start: w.grid.Start, Interval: w.grid.Step, NumSteps: w.grid.Len(),
		Offset: w.prog.sel.offset, Range: w.prog.sel.rng,
	}
	all.MergeTotalSamplesFromSubquery(below, consumer)
	all.MergeSamplesReadFromSubquery(below, consumer)
	return all.TotalSamplesPerStep, all.SamplesReadPerStep
}

// annotations returns those of this level and of the subqueries below.
func (w *evaluator) annotations() annotations.Annotations {
	var a annotations.Annotations
	for e := w; e != nil; e = e.sub {
		a.Merge(e.annos)
		if e.informs {
			a.Merge(e.prog.infos())
		}
	}
	return a
}
