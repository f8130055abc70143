package interchange

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/count-db/count/internal/model"
)

// Block is a block of Prometheus's TSDB on disk.
type Block struct {
	Dir     string
	Samples uint64
	Series  uint64
	MinT    int64 // ms
	MaxT    int64 // ms, exclusive
}

const (
	blockMeta = "meta.json"
	walDir    = "wal"
)

// FindBlocks returns the blocks in a directory, oldest first: the directory
// itself may be one, or hold them, as Prometheus's data directory and its
// snapshots do. wal says that there is a write-ahead log as well, whose samples
// are in no block yet.
func FindBlocks(dir string) (blocks []Block, wal bool, err error) {
	if _, err := os.Stat(filepath.Join(dir, blockMeta)); err == nil {
		b, err := describeBlock(dir)
		return []Block{b}, false, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, false, fmt.Errorf("look for blocks: %w", err)
	}
	for _, e := range entries {
		if e.Name() == walDir {
			wal = true
		}
		sub := filepath.Join(dir, e.Name())
		if _, err := os.Stat(filepath.Join(sub, blockMeta)); !e.IsDir() || err != nil {
			continue
		}
		b, err := describeBlock(sub)
		if err != nil {
			return nil, false, err
		}
		blocks = append(blocks, b)
	}
	slices.SortFunc(blocks, func(a, b Block) int { return cmp.Or(cmp.Compare(a.MinT, b.MinT), cmp.Compare(a.Dir, b.Dir)) })
	return blocks, wal, nil
}

func describeBlock(dir string) (Block, error) {
	b, err := openBlock(dir)
	if err != nil {
		return Block{}, err
	}
	m := b.Meta()
	return Block{Dir: dir, Samples: m.Stats.NumSamples, Series: m.Stats.NumSeries, MinT: m.MinTime, MaxT: m.MaxTime}, b.Close()
}

func openBlock(dir string) (*tsdb.Block, error) {
	b, err := tsdb.OpenBlock(slog.New(slog.DiscardHandler), dir, chunkenc.NewPool(), nil)
	if err != nil {
		return nil, fmt.Errorf("open block %s: %w", dir, err)
	}
	return b, nil
}

// FlushLog writes what is only in the write-ahead log of a Prometheus that does
// not run as a block below scratch, an empty directory.
func FlushLog(dir, scratch string) error {
	db, err := tsdb.OpenDBReadOnly(dir, scratch, slog.New(slog.DiscardHandler))
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	if err := errors.Join(db.FlushWAL(scratch), db.Close()); err != nil {
		return fmt.Errorf("read the write-ahead log of %s: %w", dir, err)
	}
	return nil
}

// blockReader reads a block series by series. Its offset counts series.
type blockReader struct {
	close   []func() error
	series  seriesSet
	at      func() (labels.Labels, chunkenc.Iterator) // of the series that series stands on
	samples chunkenc.Iterator
	labels  labels.Labels
	inside  bool // of a series, whose samples come from samples
	done    int64
}

// seriesSet is what a querier of a block returns.
type seriesSet interface {
	Next() bool
	Err() error
}

// NewBlockReader returns a reader of a block, from a series on.
func NewBlockReader(dir string, from int64) (Reader, error) {
	b, err := openBlock(dir)
	if err != nil {
		return nil, err
	}
	q, err := tsdb.NewBlockQuerier(b, math.MinInt64, math.MaxInt64)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read block %s: %w", dir, err), b.Close())
	}
	all := labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".*")
	set := q.Select(context.Background(), true, nil, all)
	r := &blockReader{close: []func() error{q.Close, b.Close}}
	r.series = set
	r.at = func() (labels.Labels, chunkenc.Iterator) {
		s := set.At()
		return s.Labels(), s.Iterator(r.samples)
	}
	for r.done < from && set.Next() {
		r.done++
	}
	return r, nil
}

// Next implements Reader.
func (r *blockReader) Next(s *Series) error {
	s.Reset()
	for {
		if !r.inside {
			if !r.series.Next() {
				if err := r.series.Err(); err != nil {
					return fmt.Errorf("read the block's series: %w", err)
				}
				return io.EOF
			}
			r.labels, r.samples = r.at()
			r.inside = true
		}
		s.Labels = r.labels
		for s.Samples() < jsonRun {
			kind := r.samples.Next()
			if kind == chunkenc.ValNone {
				if err := r.samples.Err(); err != nil {
					return fmt.Errorf("read %s: %w", r.labels, err)
				}
				r.inside = false
				r.done++
				break
			}
			take(s, r.samples, kind)
		}
		if s.Samples() > 0 {
			return nil
		}
	}
}

// take appends the sample at the iterator.
func take(s *Series, it chunkenc.Iterator, kind chunkenc.ValueType) {
	switch kind {
	case chunkenc.ValFloat:
		t, v := it.At()
		s.Floats = append(s.Floats, Float{T: t, ST: it.AtST(), V: v})
	case chunkenc.ValHistogram:
		t, h := it.AtHistogram(nil)
		s.Hists = append(s.Hists, model.HistogramPoint{T: t, ST: it.AtST(), H: h})
	case chunkenc.ValFloatHistogram:
		t, h := it.AtFloatHistogram(nil)
		s.Hists = append(s.Hists, model.HistogramPoint{T: t, ST: it.AtST(), FH: h})
	}
}

// Offset implements Reader.
func (r *blockReader) Offset() int64 { return r.done }

// Close implements Reader.
func (r *blockReader) Close() error {
	var errs []error
	for _, f := range r.close {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
