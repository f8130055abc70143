package interchange

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// BlockSpan is the time that one written block covers: a window of Prometheus's
// head.
const BlockSpan = 2 * time.Hour

// blockCommit is how many samples are committed together.
const blockCommit = 50_000

// BlockWriter writes the samples of one span of time as a block. It holds them
// in memory until Close.
type BlockWriter struct {
	w       *tsdb.BlockWriter
	app     storage.Appender
	pending int
	samples int
	lost    Losses
}

// NewBlockWriter returns a writer of one block below dir.
func NewBlockWriter(dir string) (*BlockWriter, error) {
	// It takes nothing that is older than the newest sample by more than half of
	// its span, and samples come series by series here.
	w, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, 2*BlockSpan.Milliseconds())
	if err != nil {
		return nil, fmt.Errorf("begin a block below %s: %w", dir, err)
	}
	return &BlockWriter{w: w}, nil
}

// Write implements Writer.
func (b *BlockWriter) Write(s *Series) error {
	if b.app == nil {
		b.app = b.w.Appender(context.Background())
	}
	for _, f := range s.Floats {
		if f.ST != 0 {
			b.lost.Starts++
		}
		if _, err := b.app.Append(0, s.Labels, f.T, f.V); err != nil {
			return fmt.Errorf("add %s to a block: %w", s.Labels, err)
		}
	}
	for i := range s.Hists {
		p := &s.Hists[i]
		if p.ST != 0 {
			b.lost.Starts++
		}
		if _, err := b.app.AppendHistogram(0, s.Labels, p.T, p.H, p.FH); err != nil {
			return fmt.Errorf("add %s to a block: %w", s.Labels, err)
		}
	}
	b.pending += s.Samples()
	b.samples += s.Samples()
	if b.pending >= blockCommit {
		return b.commit()
	}
	return nil
}

func (b *BlockWriter) commit() error {
	if b.app == nil {
		return nil
	}
	err := b.app.Commit()
	b.app, b.pending = nil, 0
	if err != nil {
		return fmt.Errorf("add samples to a block: %w", err)
	}
	return nil
}

// Close writes the block; there is none when no sample came.
func (b *BlockWriter) Close() error {
	err := b.commit()
	if err == nil && b.samples > 0 {
		if _, err = b.w.Flush(context.Background()); err != nil {
			err = fmt.Errorf("write a block: %w", err)
		}
	}
	return errors.Join(err, b.w.Close())
}

// Lost implements Writer.
func (b *BlockWriter) Lost() Losses { return b.lost }
