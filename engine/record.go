package engine

import (
	"github.com/count-db/count/engine/wal"
	"github.com/count-db/count/internal/model"
)

// encode makes the log record of a batch and of s.defs; several, of at most
// most bytes each, where one would be longer. ErrTooLarge when a single thing
// in the batch is.
func (s *appendScratch) encode(b *model.Batch, most int) (err error) {
	s.record = wal.EncodeBatch(s.record[:0], b, s.defs, wal.BatchMeta{})
	clear(s.records)
	if len(s.record) <= most {
		s.records = append(s.records[:0], s.record)
		return nil
	}
	s.records, err = appendParts(s.records[:0], b, s.defs, most)
	return err
}

// appendParts appends the records of parts of a batch. Replayed one after the
// other they do what the batch does: definitions come before all samples, and
// floats before histograms.
func appendParts(dst [][]byte, b *model.Batch, defs []wal.SeriesDef, most int) ([][]byte, error) {
	if record := wal.EncodeBatch(nil, b, defs, wal.BatchMeta{}); len(record) <= most {
		return append(dst, record), nil
	}
	first, second := model.Batch{Version: b.Version}, *b
	var firstDefs, secondDefs []wal.SeriesDef
	floats, hists, others := len(b.Floats), len(b.Hists), len(b.Exemplars)+len(b.Metadata)
	switch {
	case len(defs) > 0 && floats+hists+others > 0:
		firstDefs = defs
	case floats > 0 && hists+others > 0:
		first.Floats, first.STs, second.Floats, second.STs = b.Floats, b.STs, nil, nil
	case hists > 0 && others > 0:
		first.Hists, second.Hists = b.Hists, nil
	case len(b.Exemplars) > 0 && len(b.Metadata) > 0:
		first.Exemplars, second.Exemplars = b.Exemplars, nil
	case len(defs)+floats+hists+others < 2:
		return dst, ErrTooLarge
	default: // one kind is left
		firstDefs, secondDefs = halves(defs)
		first.Floats, second.Floats = halves(b.Floats)
		first.STs, second.STs = halves(b.STs)
		first.Hists, second.Hists = halves(b.Hists)
		first.Exemplars, second.Exemplars = halves(b.Exemplars)
		first.Metadata, second.Metadata = halves(b.Metadata)
	}
	dst, err := appendParts(dst, &first, firstDefs, most)
	if err != nil {
		return dst, err
	}
	return appendParts(dst, &second, secondDefs, most)
}

func halves[T any](s []T) (first, second []T) {
	n := len(s) / 2
	return s[:n], s[n:]
}
