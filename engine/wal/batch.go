package wal

import (
	"encoding/binary"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine/version"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// RecordBatch is the kind of a record that holds a batch: its first byte.
const RecordBatch = 1

// batchFormat is the version of the batch record's layout.
const batchFormat = 1

// The sections of a batch record, in their order; the header's bits say which
// are there.
const (
	hasMeta = 1 << iota
	hasSeries
	hasFloats
	hasStarts
	hasHistograms
	hasExemplars
	hasMetadata

	knownSections = 1<<iota - 1
)

// SeriesDef defines a reference in the log: the first record that has samples of
// the series carries it.
type SeriesDef struct {
	Ref    model.Ref
	Labels labels.Labels
}

// BatchMeta says where a batch comes from (C7). The zero value means a node by
// itself and takes no room.
type BatchMeta struct {
	// Coordinator is the node that stamped the batch and Start the number of its
	// start; Ring is the ring it was routed by and List its candidate list. Number
	// counts the batches of these four.
	Coordinator uint64
	Start       uint64
	Ring        uint64
	List        uint64
	Number      uint64
}

// EncodeBatch appends a batch as one log record. FORMAT.md describes it. It
// allocates nothing when dst has the room.
func EncodeBatch(dst []byte, b *model.Batch, series []SeriesDef, meta BatchMeta) []byte {
	starts := len(b.STs) == len(b.Floats) && anyStart(b.STs)
	sections := uint64(0)
	for i, there := range [...]bool{
		meta != BatchMeta{}, len(series) > 0, len(b.Floats) > 0, starts, len(b.Hists) > 0, len(b.Exemplars) > 0, len(b.Metadata) > 0,
	} {
		if there {
			sections |= 1 << i
		}
	}
	dst = append(dst, RecordBatch, batchFormat)
	dst = wire.AppendUvarint(dst, sections)
	dst = wire.AppendUint64(dst, uint64(b.Version))
	if sections&hasMeta != 0 {
		dst = appendMeta(dst, meta)
	}
	if sections&hasSeries != 0 {
		dst = appendSeries(dst, series)
	}
	if sections&hasFloats != 0 {
		dst = appendFloats(dst, b.Floats)
	}
	if sections&hasStarts != 0 {
		dst = appendStarts(dst, b.STs)
	}
	if sections&hasHistograms != 0 {
		dst = appendHistograms(dst, b.Hists)
	}
	if sections&hasExemplars != 0 {
		dst = appendExemplars(dst, b.Exemplars)
	}
	if sections&hasMetadata != 0 {
		dst = appendMetadata(dst, b.Metadata)
	}
	return dst
}

func anyStart(sts []int64) bool {
	for _, st := range sts {
		if st != 0 {
			return true
		}
	}
	return false
}

// appendMeta appends a length, so that later builds can add fields.
func appendMeta(dst []byte, m BatchMeta) []byte {
	var scratch [5 * binary.MaxVarintLen64]byte
	fields := scratch[:0]
	for _, v := range [...]uint64{m.Coordinator, m.Start, m.Ring, m.List, m.Number} {
		fields = wire.AppendUvarint(fields, v)
	}
	return wire.AppendBytes(dst, fields)
}

func appendSeries(dst []byte, series []SeriesDef) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(series)))
	for i := range series {
		dst = wire.AppendUvarint(dst, uint64(series[i].Ref))
		dst = appendLabels(dst, series[i].Labels)
	}
	return dst
}

func appendLabels(dst []byte, ls labels.Labels) []byte {
	dst = wire.AppendUvarint(dst, uint64(ls.Len()))
	ls.Range(func(l labels.Label) {
		dst = wire.AppendString(wire.AppendString(dst, l.Name), l.Value)
	})
	return dst
}

// appendFloats appends the columns references, timestamps, values.
func appendFloats(dst []byte, fs []model.FloatSample) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(fs)))
	refRuns, timeRuns := 1, 1
	for i := 1; i < len(fs); i++ {
		if fs[i].Ref != fs[i-1].Ref+1 {
			refRuns++
		}
		if fs[i].T != fs[i-1].T {
			timeRuns++
		}
	}
	dst = appendRefs(dst, fs, refRuns)
	dst = appendTimes(dst, fs, timeRuns)
	return appendValues(dst, fs)
}

// The forms of the columns of references and timestamps.
const (
	formRuns  = 0 // runs of references that count up, of timestamps that are equal
	formDelta = 1 // references: delta; timestamps: delta of delta
)

func appendRefs(dst []byte, fs []model.FloatSample, runs int) []byte {
	if 2*runs > len(fs) {
		dst = append(dst, formDelta)
		prev := int64(0)
		for i := range fs {
			dst = wire.AppendVarint(dst, int64(fs[i].Ref)-prev)
			prev = int64(fs[i].Ref)
		}
		return dst
	}
	dst = append(dst, formRuns)
	prev := int64(-1) // the last reference of the run before
	for i := 0; i < len(fs); {
		n := 1
		for i+n < len(fs) && fs[i+n].Ref == fs[i+n-1].Ref+1 {
			n++
		}
		dst = wire.AppendVarint(dst, int64(fs[i].Ref)-prev-1)
		dst = wire.AppendUvarint(dst, uint64(n))
		prev = int64(fs[i+n-1].Ref)
		i += n
	}
	return dst
}

func appendTimes(dst []byte, fs []model.FloatSample, runs int) []byte {
	if 2*runs > len(fs) {
		dst = append(dst, formDelta)
		prev, delta := int64(0), int64(0)
		for i := range fs {
			d := fs[i].T - prev
			dst = wire.AppendVarint(dst, d-delta)
			prev, delta = fs[i].T, d
		}
		return dst
	}
	dst = append(dst, formRuns)
	prev := int64(0)
	for i := 0; i < len(fs); {
		n := 1
		for i+n < len(fs) && fs[i+n].T == fs[i].T {
			n++
		}
		dst = wire.AppendVarint(dst, fs[i].T-prev)
		dst = wire.AppendUvarint(dst, uint64(n))
		prev = fs[i].T
		i += n
	}
	return dst
}

// appendStarts appends runs of equal start timestamps: the series of a process
// share theirs.
func appendStarts(dst []byte, sts []int64) []byte {
	prev := int64(0)
	for i := 0; i < len(sts); {
		n := 1
		for i+n < len(sts) && sts[i+n] == sts[i] {
			n++
		}
		dst = wire.AppendVarint(dst, sts[i]-prev)
		dst = wire.AppendUvarint(dst, uint64(n))
		prev = sts[i]
		i += n
	}
	return dst
}

// The kinds of histograms.
const (
	histInt   = 0
	histFloat = 1
)

func appendHistograms(dst []byte, hs []model.HistogramSample) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(hs)))
	prevRef, prevT, prevST := int64(0), int64(0), int64(0)
	for i := range hs {
		h := &hs[i]
		dst = wire.AppendVarint(dst, int64(h.Ref)-prevRef)
		dst = wire.AppendVarint(dst, h.T-prevT)
		dst = wire.AppendVarint(dst, h.ST-prevST)
		prevRef, prevT, prevST = int64(h.Ref), h.T, h.ST
		if h.FH != nil {
			dst = version.AppendFloatHistogram(append(dst, histFloat), h.FH)
		} else {
			dst = version.AppendHistogram(append(dst, histInt), h.H)
		}
	}
	return dst
}

func appendExemplars(dst []byte, es []model.Exemplar) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(es)))
	prevRef, prevT := int64(0), int64(0)
	for i := range es {
		e := &es[i]
		dst = wire.AppendVarint(dst, int64(e.Ref)-prevRef)
		dst = wire.AppendVarint(dst, e.T-prevT)
		prevRef, prevT = int64(e.Ref), e.T
		dst = appendBits(dst, e.V)
		dst = appendLabels(dst, e.Labels)
	}
	return dst
}

func appendMetadata(dst []byte, ms []model.Metadata) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(ms)))
	for i := range ms {
		for _, s := range [...]string{ms[i].Family, string(ms[i].Type), ms[i].Unit, ms[i].Help} {
			dst = wire.AppendString(dst, s)
		}
	}
	return dst
}
