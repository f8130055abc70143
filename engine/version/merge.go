package version

import (
	"bytes"
	"cmp"
	"math"

	"github.com/count-db/count/internal/model"
)

// Kind orders samples of equal versions before their values do.
type Kind uint8

// The kinds of values.
const (
	Float Kind = iota
	IntHistogram
	FloatHistogram
)

// Candidate is one sample as the merge rule sees it. The zero Candidate loses
// against all others.
type Candidate struct {
	version model.Version
	kind    Kind
	bits    uint64                // of a float
	hist    *model.HistogramPoint // of a histogram
	st      int64
}

// OfFloat returns a float sample as a candidate; st is its start timestamp in
// ms, 0 = none.
func OfFloat(ver model.Version, v float64, st int64) Candidate {
	return Candidate{version: ver, kind: Float, bits: math.Float64bits(v), st: st}
}

// OfHistogram returns a histogram sample as a candidate, which keeps the
// pointer.
func OfHistogram(p *model.HistogramPoint) Candidate {
	kind := IntHistogram
	if p.FH != nil {
		kind = FloatHistogram
	}
	return Candidate{version: p.Ver, kind: kind, hist: p, st: p.ST}
}

// Wins says whether c replaces other at the same (series, timestamp), by V1.
// Neither wins when both are the same sample.
func (c Candidate) Wins(other Candidate) bool { return Compare(c, other) > 0 }

// Compare orders two samples of one (series, timestamp) by V1: positive when a
// wins, negative when b does, 0 when they are the same sample.
func Compare(a, b Candidate) int {
	if a.version != b.version {
		return cmp.Compare(a.version, b.version)
	}
	if a.kind != b.kind {
		return cmp.Compare(a.kind, b.kind)
	}
	if a.kind == Float {
		// The value bytes of a float are its bits, big-endian.
		return cmp.Or(cmp.Compare(a.bits, b.bits), cmp.Compare(a.st, b.st))
	}
	return cmp.Or(bytes.Compare(a.valueBytes(), b.valueBytes()), cmp.Compare(a.st, b.st))
}

// valueBytes returns the canonical bytes of a histogram.
func (c Candidate) valueBytes() []byte {
	if c.kind == FloatHistogram {
		return AppendFloatHistogram(nil, c.hist.FH)
	}
	return AppendHistogram(nil, c.hist.H)
}
