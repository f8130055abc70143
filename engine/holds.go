package engine

import (
	"fmt"
	"slices"

	"github.com/count-db/count/internal/model"
)

// Holds says whether series i has a sample in [mint, maxt] (ms, inclusive) that is
// not deleted. It reads no values: the ends of a chunk nearly always tell. Safe
// for concurrent use.
func (s *Selection) Holds(i int, mint, maxt int64) (bool, error) {
	if mint > maxt {
		return false, nil
	}
	sc := s.scratch.Get().(*readScratch)
	defer func() {
		sc.release()
		s.scratch.Put(sc)
	}()
	if len(s.view.tombs) > 0 {
		if sc.spans = s.view.spansOf(sc.spans, s.Labels(i), mint, maxt); len(sc.spans) > 0 {
			var all model.Columns
			err := s.Read(i, mint, maxt, &all)
			return all.Len() > 0, err
		}
	}
	if len(s.view.sheds) > 0 {
		sc.sheds = shedsOf(sc.sheds, s.view.sheds, s.ID(i).Token())
	}
	held, err := s.holds(sc, i, mint, maxt)
	if err != nil {
		return false, fmt.Errorf("look for samples of %s: %w", s.Labels(i), err)
	}
	return held, nil
}

func (s *Selection) holds(sc *readScratch, i int, mint, maxt int64) (bool, error) {
	if err := s.gather(sc, i, mint, maxt); err != nil {
		return false, err
	}
	for k := range sc.runs {
		if c := &sc.runs[k].chunk; c.MinT >= mint || c.MaxT <= maxt {
			return true, nil // its first sample, or its last
		}
	}
	for k := range sc.runs {
		if held, err := sc.holds(&sc.runs[k], mint, maxt); held || err != nil {
			return held, err
		}
	}
	ref := s.series[i].ref
	if ref == 0 {
		return false, nil
	}
	sc.buffers.Reset()
	err := s.readBuffers(sc, ref, mint, maxt, &sc.buffers)
	return sc.buffers.Len() > 0, err
}

// holds says whether a chunk that begins before a range and ends behind it has a
// sample in it.
func (sc *readScratch) holds(r *fileRun, mint, maxt int64) (bool, error) {
	if !r.chunk.Floats() {
		sc.run.Reset()
		err := sc.decode(r, false, mint, maxt, &sc.run)
		return sc.run.Len() > 0, err
	}
	c := &sc.cursors[r.at]
	ts, err := c.cursor.Times(&r.chunk)
	if err != nil {
		return false, c.file.damaged(err)
	}
	at, _ := slices.BinarySearch(ts, mint)
	return at < len(ts) && ts[at] <= maxt, nil
}
