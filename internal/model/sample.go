package model

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
)

// Ref is a node-local series reference, given out by the engine's registry.
// It is never reused while the process runs; 0 means none. Refs of different
// nodes have nothing to do with one another: between nodes a series is named
// by its SeriesID or by its labels.
type Ref uint32

// FloatSample is one float sample of a write batch.
type FloatSample struct {
	T   int64   // timestamp, ms since the epoch
	V   float64 // value; its bit pattern is kept exactly
	Ref Ref
}

// HistogramSample is one native histogram of a write batch; exactly one of H
// and FH is set. Whoever takes the batch must not change them.
type HistogramSample struct {
	T   int64 // timestamp, ms
	ST  int64 // start timestamp, ms; 0 = none
	H   *histogram.Histogram
	FH  *histogram.FloatHistogram
	Ref Ref
}

// Exemplar is one exemplar of a write batch.
type Exemplar struct {
	Ref    Ref
	T      int64 // ms; 0 = none given
	V      float64
	Labels labels.Labels
}

// Metadata describes one metric family.
type Metadata struct {
	Family string
	metadata.Metadata
}

// Batch is what one write carries. It belongs to the caller again when the
// call that took it returns: callees copy what they keep (histograms excepted,
// which are shared and immutable).
type Batch struct {
	// Version of every sample in the batch (V1); 0 = not stamped yet.
	Version Version
	Floats  []FloatSample
	// STs holds the start timestamps of Floats (ms, 0 = none); nil when none
	// has one, else of the same length.
	STs       []int64
	Hists     []HistogramSample
	Exemplars []Exemplar
	Metadata  []Metadata
}

// Samples returns the number of samples (floats and histograms).
func (b *Batch) Samples() int { return len(b.Floats) + len(b.Hists) }

// Reset empties the batch and keeps its memory for the next use.
func (b *Batch) Reset() {
	b.Version = 0
	b.Floats = b.Floats[:0]
	b.STs = b.STs[:0]
	clear(b.Hists)
	b.Hists = b.Hists[:0]
	clear(b.Exemplars)
	b.Exemplars = b.Exemplars[:0]
	clear(b.Metadata)
	b.Metadata = b.Metadata[:0]
}
