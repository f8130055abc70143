package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/count-db/count/engine/buffer"
	"github.com/count-db/count/engine/column"
	"github.com/count-db/count/internal/model"
)

// Condense is Read for who needs not see every sample: whole blocks of data files
// that how allows are described by their entries and not decoded. False: that is
// not possible, as samples of the series overlap, are deleted or are histograms;
// then dst means nothing. Safe concurrently with distinct dst.
func (s *Selection) Condense(i int, mint, maxt int64, how model.Condense, dst *model.Condensed) (bool, error) {
	dst.Reset()
	if mint > maxt {
		return true, nil
	}
	sc := s.scratch.Get().(*readScratch)
	defer func() {
		sc.release()
		s.scratch.Put(sc)
	}()
	if sc.spans = s.view.spansOf(sc.spans, s.Labels(i), mint, maxt); len(sc.spans) > 0 {
		return false, nil
	}
	if len(s.view.sheds) > 0 {
		sc.sheds = shedsOf(sc.sheds, s.view.sheds, s.ID(i).Token())
	}
	if err := s.gather(sc, i, mint, maxt); err != nil {
		return false, fmt.Errorf("read %s: %w", s.Labels(i), err)
	}
	c := condenser{sc: sc, mint: mint, maxt: maxt, how: how, dst: dst, last: math.MinInt64}
	ok, err := c.files()
	if err == nil && ok && s.series[i].ref != 0 {
		ok, err = c.buffers(s.view, s.series[i].ref)
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", s.Labels(i), err)
	}
	return ok, nil
}

// condenser is the state of one Condense.
type condenser struct {
	sc         *readScratch
	mint, maxt int64
	how        model.Condense
	dst        *model.Condensed
	last       int64 // timestamp of the last sample so far
}

// files condenses the gathered chunks; false where they overlap or hold
// histograms.
func (c *condenser) files() (bool, error) {
	runs := c.sc.runs
	if !slices.IsSortedFunc(runs, byTime) {
		slices.SortStableFunc(runs, byTime)
	}
	for i := range runs {
		chunk := &runs[i].chunk
		if !chunk.Floats() || (i > 0 && chunk.MinT <= runs[i-1].chunk.MaxT) {
			return false, nil
		}
		if err := c.chunk(&runs[i]); err != nil {
			return false, err
		}
		c.last = min(chunk.MaxT, c.maxt)
	}
	c.dst.ST, c.dst.TKey = c.dst.ST[:0], 0
	return true, nil
}

// chunk condenses one chunk; one without block entries is decoded.
func (c *condenser) chunk(r *fileRun) error {
	cursor := &c.sc.cursors[r.at]
	blocks, ok, err := cursor.cursor.Blocks(&r.chunk)
	if err != nil {
		return cursor.file.damaged(err)
	}
	if !ok {
		return c.sc.decode(r, false, c.mint, c.maxt, &c.dst.Columns)
	}
	ts, err := cursor.cursor.Times(&r.chunk)
	if err != nil {
		return cursor.file.damaged(err)
	}
	for blocks.Next() {
		b := blocks.Block()
		times := ts[b.Start : b.Start+b.Len]
		t0, t1 := times[0], times[len(times)-1]
		switch {
		case t1 < c.mint || t0 > c.maxt:
		case t0 >= c.mint && t1 <= c.maxt && c.allows(&b, blocks.Codec) && c.how.Uncut(t0, t1):
			c.dst.Summaries = append(c.dst.Summaries, model.Summary{
				Before: len(c.dst.T), N: b.Floats, T0: t0, T1: t1, First: b.First, Last: b.Last, Min: b.Min, Max: b.Max, Sum: b.Sum,
			})
		default:
			if err := c.decode(&blocks, times); err != nil {
				return cursor.file.damaged(err)
			}
		}
	}
	return cursor.file.damaged(blocks.Err())
}

// allows says whether the entry of a block tells all that is asked for.
func (c *condenser) allows(b *column.Block, codec column.Codec) bool {
	switch {
	case b.Floats == 0 || b.Flags&column.FlagInexact != 0:
		return false
	case codec == column.CodecXOR && (b.Min == 0 || b.Max == 0):
		return false // which of two zeros comes first is not known
	case c.how.Ends && b.Flags&column.FlagStale != 0, c.how.Rising && b.Flags&column.FlagReset != 0:
		return false
	case c.how.Sums && (b.Flags&column.FlagSum == 0 || (b.Min == 0 && math.Signbit(b.Min))):
		return false
	}
	return true
}

// decode reads the samples of a block that lie in the range.
func (c *condenser) decode(blocks *column.Chunk, times []int64) error {
	at := len(c.dst.V)
	var err error
	if c.dst.V, err = blocks.Decode(c.dst.V); err != nil {
		return err //nolint:wrapcheck // the caller names the file
	}
	lo, _ := slices.BinarySearch(times, c.mint)
	hi := len(times)
	if times[hi-1] > c.maxt {
		hi, _ = slices.BinarySearch(times, c.maxt+1)
	}
	c.dst.V = cut(c.dst.V, at, lo, hi)
	c.dst.T = append(c.dst.T, times[lo:hi]...)
	return nil
}

// buffers appends what lies in memory, which mostly is behind the files; false
// where it is not, or holds histograms.
func (c *condenser) buffers(v *view, ref model.Ref) (bool, error) {
	for _, epoch := range []*epochBuffer{v.frozen, v.active} {
		if epoch == nil {
			continue
		}
		if ok, err := c.buffer(epoch.Buffer, ref); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func (c *condenser) buffer(b *buffer.Buffer, ref model.Ref) (bool, error) {
	run := &c.sc.run
	if err := b.Read(ref, c.mint, c.maxt, run); err != nil {
		return false, err //nolint:wrapcheck // of this storage
	}
	if len(run.Hist) > 0 || (len(run.T) > 0 && run.T[0] <= c.last) {
		return false, nil
	}
	if n := len(run.T); n > 0 {
		c.last = run.T[n-1]
		c.dst.T, c.dst.V = append(c.dst.T, run.T...), append(c.dst.V, run.V...)
	}
	return true, nil
}
