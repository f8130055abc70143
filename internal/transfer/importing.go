package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/count-db/count/internal/interchange"
)

// DefaultSenders is how many requests of an import are under way at once.
const DefaultSenders = 4

// Progress is how far a transfer is. Safe for concurrent use.
type Progress struct {
	Samples atomic.Uint64 // acknowledged, or written out
	Refused atomic.Uint64 // samples
	Offset  atomic.Int64  // in the source: everything before it is acknowledged
}

// ImportOptions say how to import.
type ImportOptions struct {
	Senders int // requests at once; 0 = DefaultSenders
	// KeepGoing counts what the node refuses as wrong and goes on; else the first
	// refusal ends the import.
	KeepGoing bool
	// Acked is told that everything before an offset is acknowledged; may be nil.
	// One call at a time.
	Acked func(offset int64) error
}

// Import sends everything that a reader returns, several requests at once, each
// until the node acknowledged it. It may be repeated after any error: a sample
// that is there already is written again with the same value. The error of a
// refusal wraps *RefusedError.
func Import(ctx context.Context, n *Node, r interchange.Reader, opts ImportOptions, p *Progress) error {
	if opts.Senders <= 0 {
		opts.Senders = DefaultSenders
	}
	g, ctx := errgroup.WithContext(ctx)
	im := &importing{node: n, opts: opts, progress: p, batches: make(chan numbered, opts.Senders), unacked: map[uint64]int64{}}
	g.Go(func() error {
		defer close(im.batches)
		return im.read(ctx, r)
	})
	for range opts.Senders {
		g.Go(func() error { return im.send(ctx) })
	}
	err := g.Wait()
	if err == nil && im.refusal != nil {
		return fmt.Errorf("%d samples were refused, first: %w", p.Refused.Load(), im.refusal)
	}
	return err
}

// numbered is a batch and its place in the row.
type numbered struct {
	number uint64
	batch  *batch
}

type importing struct {
	node     *Node
	opts     ImportOptions
	progress *Progress
	batches  chan numbered // capacity: one for each sender; the reader waits when it is full

	mu      sync.Mutex
	unacked map[uint64]int64 // guarded by mu; offsets of acknowledged batches behind one that is not
	next    uint64           // guarded by mu; the first batch that is not acknowledged
	refusal error            // guarded by mu; the first
}

// read fills batches.
func (im *importing) read(ctx context.Context, r interchange.Reader) error {
	var s interchange.Series
	b, number := newBatch(), uint64(0)
	emit := func() error {
		b.offset = r.Offset()
		select {
		case im.batches <- numbered{number, b}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		b = newBatch()
		number++
		return nil
	}
	for {
		err := r.Next(&s)
		if errors.Is(err, io.EOF) {
			return emit()
		}
		if err != nil {
			return err
		}
		b.add(&s)
		if b.full() {
			if err := emit(); err != nil {
				return err
			}
		}
	}
}

func (im *importing) send(ctx context.Context) error {
	for nb := range im.batches {
		if err := im.post(ctx, nb.batch); err != nil {
			return err
		}
		if err := im.acked(nb); err != nil {
			return err
		}
	}
	return nil
}

func (im *importing) post(ctx context.Context, b *batch) error {
	if b.samples == 0 {
		return nil
	}
	body, err := b.encode()
	if err != nil {
		return err
	}
	resp, err := im.node.Do(ctx, func() (*http.Request, error) {
		req, err := http.NewRequest(http.MethodPost, im.node.URL+"/api/v1/write", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Encoding", "snappy")
		req.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
		return req, nil
	})
	var refused *RefusedError
	if errors.As(err, &refused) && im.opts.KeepGoing && refused.Code == http.StatusBadRequest {
		im.mu.Lock()
		defer im.mu.Unlock()
		if im.refusal == nil {
			im.refusal = err
			im.node.notice("refused: " + err.Error())
		}
		written := max(refused.Written, 0)
		im.progress.Samples.Add(uint64(written))
		im.progress.Refused.Add(uint64(b.samples - written))
		return nil
	}
	if err != nil {
		return fmt.Errorf("send %d samples: %w", b.samples, err)
	}
	im.progress.Samples.Add(uint64(b.samples))
	return resp.Body.Close()
}

// acked notes that a batch is through, and how far everything is.
func (im *importing) acked(nb numbered) error {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.unacked[nb.number] = nb.batch.offset
	moved := false
	for {
		offset, ok := im.unacked[im.next]
		if !ok {
			break
		}
		delete(im.unacked, im.next)
		im.next++
		im.progress.Offset.Store(offset)
		moved = true
	}
	if !moved || im.opts.Acked == nil {
		return nil
	}
	return im.opts.Acked(im.progress.Offset.Load())
}
