package partial

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// NewStorageSeries shows a final series to Prometheus's engine as one that was
// sampled at each step of the grid. A step without a value has a stale marker, so
// that the engine's lookback does not fill it.
func NewStorageSeries(s Series, g Grid) storage.Series {
	return &storageSeries{s: s, grid: g}
}

type storageSeries struct {
	s    Series
	grid Grid
}

func (s *storageSeries) Labels() labels.Labels { return s.s.Labels }

func (s *storageSeries) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	i, ok := it.(*gridIterator)
	if !ok {
		i = &gridIterator{}
	}
	*i = gridIterator{s: &s.s, grid: s.grid, at: -1}
	return i
}

// gridIterator walks the steps of one series.
type gridIterator struct {
	s    *Series
	grid Grid
	at   int
}

func (i *gridIterator) Next() chunkenc.ValueType {
	i.at++
	return i.kind()
}

func (i *gridIterator) kind() chunkenc.ValueType {
	switch {
	case i.at >= len(i.s.V):
		return chunkenc.ValNone
	case i.s.H != nil && i.s.H[i.at] != nil:
		return chunkenc.ValFloatHistogram
	default:
		return chunkenc.ValFloat
	}
}

func (i *gridIterator) Seek(t int64) chunkenc.ValueType {
	k := 0
	if t > i.grid.Start {
		k = int(min((t-i.grid.Start+i.grid.Step-1)/i.grid.Step, int64(len(i.s.V))))
	}
	i.at = max(i.at, k)
	return i.kind()
}

func (i *gridIterator) At() (int64, float64) {
	v := i.s.V[i.at]
	if i.s.OK != nil && !i.s.OK[i.at] {
		v = math.Float64frombits(value.StaleNaN)
	}
	return i.AtT(), v
}

func (i *gridIterator) AtT() int64 { return i.grid.At(i.at) }

func (i *gridIterator) AtST() int64 { return 0 }

func (i *gridIterator) Err() error { return nil }

// AtHistogram is never asked of floats and float histograms.
func (i *gridIterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return i.AtT(), nil
}

// AtFloatHistogram copies: callers change what they are given.
func (i *gridIterator) AtFloatHistogram(dst *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	if dst == nil {
		return i.AtT(), i.s.H[i.at].Copy()
	}
	i.s.H[i.at].CopyTo(dst)
	return i.AtT(), dst
}
