package transfer

import (
	"github.com/prometheus/prometheus/model/labels"
	write "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/count-db/count/internal/interchange"
)

const (
	batchSamples = 10_000  // of one request
	batchBytes   = 4 << 20 // of one request before compression, about
)

// entry is a series of a request.
type entry struct {
	refs      []uint32 // of its labels, in the symbols
	floats    []interchange.Float
	hists     []write.Histogram
	exemplars []write.Exemplar
	metadata  write.Metadata
}

// batch gathers runs into one request of remote write 2.0.
type batch struct {
	symbols write.SymbolsTable
	series  []entry
	index   map[string]int // of a series, by the bytes of its labels
	key     []byte
	samples int
	bytes   int
	// offset is the place in the source before which everything is in this batch
	// or an earlier one.
	offset int64
}

func newBatch() *batch {
	return &batch{symbols: write.NewSymbolTable(), index: map[string]int{}}
}

func (b *batch) full() bool { return b.samples >= batchSamples || b.bytes >= batchBytes }

// add copies a run.
func (b *batch) add(s *interchange.Series) {
	ts := b.entry(s.Labels)
	ts.floats = append(ts.floats, s.Floats...)
	b.bytes += 20 * len(s.Floats)
	for i := range s.Hists {
		p := &s.Hists[i]
		if p.H != nil {
			ts.hists = append(ts.hists, write.FromIntHistogram(p.ST, p.T, p.H))
			b.bytes += 64 + 4*(len(p.H.PositiveBuckets)+len(p.H.NegativeBuckets)) + 8*len(p.H.CustomValues)
			continue
		}
		ts.hists = append(ts.hists, write.FromFloatHistogram(p.ST, p.T, p.FH))
		b.bytes += 64 + 8*(len(p.FH.PositiveBuckets)+len(p.FH.NegativeBuckets)+len(p.FH.CustomValues))
	}
	for _, e := range s.Exemplars {
		ts.exemplars = append(ts.exemplars, write.Exemplar{LabelsRefs: b.symbols.SymbolizeLabels(e.Labels, nil), Value: e.V, Timestamp: e.T})
		b.bytes += 32
	}
	if m := s.Metadata; m != nil {
		ts.metadata = write.Metadata{Type: write.FromMetadataType(m.Type), HelpRef: b.symbols.Symbolize(m.Help), UnitRef: b.symbols.Symbolize(m.Unit)}
	}
	b.samples += s.Samples()
}

// entry returns the entry of a series.
func (b *batch) entry(ls labels.Labels) *entry {
	b.key = ls.Bytes(b.key)
	if i, ok := b.index[string(b.key)]; ok {
		return &b.series[i]
	}
	b.index[string(b.key)] = len(b.series)
	b.bytes += len(b.key)
	b.series = append(b.series, entry{refs: b.symbols.SymbolizeLabels(ls, nil)})
	return &b.series[len(b.series)-1]
}
