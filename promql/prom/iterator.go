package prom

import (
	"fmt"
	"math"
	"sort"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/store"
)

// Series are read in slabs of time, so that a long range costs bounded memory.
// The first slab suits a series scraped every few seconds; the next follow the
// density that was found.
const (
	firstSlab   = int64(3600_000) // ms
	minSlab     = int64(1000)     // ms
	slabSamples = 2048            // aimed at
	slabGrowth  = 8               // at most, from one slab to the next
)

// iterator walks the samples of one series, floats and histograms in one order.
type iterator struct {
	s    *series
	cols model.Columns
	// f and h are the indexes of the next float and histogram in cols behind the
	// current sample; at says what the current sample is.
	f, h int
	at   chunkenc.ValueType

	from int64 // start of the slab to read next
	slab int64 // its width, ms
	done bool  // no slab is left
	err  error

	hints  hintState
	looked bool // for the sample before the first one
}

func (it *iterator) reset(s *series) {
	it.s = s
	it.cols.Reset()
	it.f, it.h, it.at = 0, 0, chunkenc.ValNone
	it.from, it.slab = s.mint, firstSlab
	it.done, it.err = s.mint > s.maxt, nil
	it.hints.reset()
	it.looked = false
}

// load reads slabs until one has a sample. False: the end or an error.
func (it *iterator) load() bool {
	for !it.done {
		it.hints.keep(&it.cols)
		to := it.s.maxt
		if to-it.from > it.slab && it.from+it.slab > it.from {
			to = it.from + it.slab
		}
		it.f, it.h = 0, 0
		if err := it.s.series.Read(it.from, to, &it.cols); err != nil {
			it.err = fmt.Errorf("read series %s: %w", it.s.series.Labels(), err)
			it.done = true
			it.cols.Reset()
			return false
		}
		if to >= it.s.maxt {
			it.done = true
		}
		it.from = to + 1
		n := int64(it.cols.Len())
		it.slab = nextSlab(it.slab, n)
		if n > 0 {
			return true
		}
	}
	it.cols.Reset()
	it.f, it.h = 0, 0
	return false
}

// nextSlab returns the width of a slab that holds about slabSamples, after one of
// the given width held n.
func nextSlab(width, n int64) int64 {
	if n*slabGrowth <= slabSamples {
		if width > math.MaxInt64/slabGrowth/2 {
			return width
		}
		return width * slabGrowth
	}
	return max(minSlab, width/n*slabSamples)
}

func (it *iterator) Next() chunkenc.ValueType {
	if it.f == len(it.cols.T) && it.h == len(it.cols.Hist) && !it.load() {
		it.at = chunkenc.ValNone
		return it.at
	}
	return it.step()
}

// step moves onto the earlier of the next float and the next histogram; there
// is one.
func (it *iterator) step() chunkenc.ValueType {
	if it.h == len(it.cols.Hist) || (it.f < len(it.cols.T) && it.cols.T[it.f] < it.cols.Hist[it.h].T) {
		it.f++
		it.at = chunkenc.ValFloat
		return it.at
	}
	it.h++
	it.at = chunkenc.ValFloatHistogram
	if it.cols.Hist[it.h-1].H != nil {
		it.at = chunkenc.ValHistogram
	}
	return it.at
}

func (it *iterator) Seek(t int64) chunkenc.ValueType {
	if it.at != chunkenc.ValNone && it.AtT() >= t {
		return it.at
	}
	for {
		// Most seeks are a few samples ahead.
		f := it.f
		for f < len(it.cols.T) && f < it.f+8 && it.cols.T[f] < t {
			f++
		}
		if f == it.f+8 {
			rest := it.cols.T[f:]
			f += sort.Search(len(rest), func(i int) bool { return rest[i] >= t })
		}
		it.f = f
		for it.h < len(it.cols.Hist) && it.cols.Hist[it.h].T < t {
			it.h++
		}
		if it.f < len(it.cols.T) || it.h < len(it.cols.Hist) {
			return it.step()
		}
		if t > it.from && !it.done {
			// What lies between is skipped, so no hint can rest on it.
			it.from = t
			it.done = t > it.s.maxt
			it.cols.Reset()
			it.f, it.h = 0, 0
			it.hints.reset()
		}
		if !it.load() {
			it.at = chunkenc.ValNone
			return it.at
		}
	}
}

func (it *iterator) At() (int64, float64) { return it.cols.T[it.f-1], it.cols.V[it.f-1] }

func (it *iterator) AtT() int64 {
	if it.at == chunkenc.ValFloat {
		return it.cols.T[it.f-1]
	}
	return it.cols.Hist[it.h-1].T
}

func (it *iterator) AtST() int64 {
	if it.s.dropST {
		return 0
	}
	if it.at == chunkenc.ValFloat {
		if len(it.cols.ST) == 0 {
			return 0
		}
		return it.cols.ST[it.f-1]
	}
	return it.cols.Hist[it.h-1].ST
}

// AtHistogram copies, because the stored histogram is shared and callers change
// what they are given.
func (it *iterator) AtHistogram(dst *histogram.Histogram) (int64, *histogram.Histogram) {
	p := &it.cols.Hist[it.h-1]
	if dst == nil {
		dst = &histogram.Histogram{}
	}
	p.H.CopyTo(dst)
	dst.CounterResetHint = it.hint()
	return p.T, dst
}

// AtFloatHistogram copies too and works for both kinds of histograms.
func (it *iterator) AtFloatHistogram(dst *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	p := &it.cols.Hist[it.h-1]
	if dst == nil {
		dst = &histogram.FloatHistogram{}
	}
	if p.H != nil {
		dst = p.H.ToFloat(dst)
	} else {
		p.FH.CopyTo(dst)
	}
	dst.CounterResetHint = it.hint()
	return p.T, dst
}

// hint returns the counter reset hint of the current histogram.
func (it *iterator) hint() histogram.CounterResetHint {
	if it.h == 1 && !it.hints.hasBefore && !it.looked && it.err == nil {
		it.looked = true
		if err := it.lookBack(); err != nil {
			it.err = err
			it.done = true
		}
	}
	return it.hints.hint(&it.cols, it.h-1)
}

// lookBack finds the histogram before the first sample of cols, where the store
// has it at hand.
func (it *iterator) lookBack() error {
	first := it.cols.Hist[0].T
	if len(it.cols.T) > 0 && it.cols.T[0] < first {
		return nil
	}
	var before model.Columns
	if err := it.s.series.Read(first-store.HintLookback, first-1, &before); err != nil {
		return fmt.Errorf("read series %s before its first histogram: %w", it.s.series.Labels(), err)
	}
	it.hints.keep(&before)
	return nil
}

func (it *iterator) Err() error { return it.err }
