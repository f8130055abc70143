package buffer

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/count-db/count/internal/model"
)

// Options of a Buffer.
type Options struct {
	// Versions keeps the version of every sample (invariant V1); else order of
	// arrival is the version.
	Versions bool
	// Opened is called when a series gets its first sample of a window, and
	// possibly again, from within Append under a lock: it must be quick, and not
	// call the buffer. May be nil.
	Opened func(ref model.Ref, window int64)
	// Epoch tells buffers of one process apart in model.Columns.TKey; each has
	// another one, below 2^31.
	Epoch uint32
}

// Buffer holds samples in memory. Append and the reading methods are safe for
// concurrent use.
type Buffer struct {
	opts   Options
	shards atomic.Pointer[[]atomic.Pointer[shard]] // by ref >> shardBits; nil where there is none
	groups groups

	mu      sync.Mutex      // guards growing shards, and batches
	batches []model.Version // versions by batch number - 1; with Options.Versions

	bytes   atomic.Int64
	samples atomic.Int64
	scratch sync.Pool // of *scratch
}

// Result says what became of the samples of a batch.
type Result struct {
	Floats     int // in order
	Late       int // not behind the last sample of their series
	Repeats    int // the last sample of their series once more: nothing to keep
	Histograms int
}

// New returns an empty buffer.
func New(opts Options) *Buffer {
	b := &Buffer{opts: opts}
	b.shards.Store(new([]atomic.Pointer[shard]))
	b.scratch.New = func() any { return new(scratch) }
	return b
}

// Append adds the floats and the histograms of a batch. Samples of a series
// that follow one another in time cost least, and series in the order of their
// references. The batch is the caller's again; histograms are kept and must not
// change. A read that begins after Append returned sees all of it, one that
// runs at the same time any part.
func (b *Buffer) Append(batch *model.Batch) Result {
	a := appender{b: b, version: batch.Version}
	if b.opts.Versions {
		a.batch = b.number(batch.Version)
	}
	floats := batch.Floats
	for i := 0; i < len(floats); {
		n := floats[i].Ref >> shardBits
		sh := b.shard(n)
		sh.mu.Lock()
		for i < len(floats) && floats[i].Ref>>shardBits == n {
			start := int64(0)
			if len(batch.STs) != 0 {
				start = batch.STs[i]
			}
			a.float(sh, &floats[i], start)
			i++
		}
		sh.mu.Unlock()
	}
	for i := range batch.Hists {
		sh := b.shard(batch.Hists[i].Ref >> shardBits)
		sh.mu.Lock()
		a.histogram(sh, &batch.Hists[i])
		sh.mu.Unlock()
	}
	b.bytes.Add(int64(a.grown))
	b.samples.Add(int64(a.result.Floats + a.result.Late + a.result.Histograms))
	return a.result
}

// number returns the number of a new batch.
func (b *Buffer) number(v model.Version) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.batches); n > 0 && b.batches[n-1] == v {
		return uint32(n)
	}
	b.batches = append(b.batches, v)
	b.bytes.Add(8)
	return uint32(len(b.batches))
}

// shard returns shard n, made if need be.
func (b *Buffer) shard(n model.Ref) *shard {
	if sh := b.lookup(n); sh != nil {
		return sh
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if sh := b.lookup(n); sh != nil {
		return sh
	}
	shards := *b.shards.Load()
	if int(n) >= len(shards) {
		// Readers may hold the old slice: it stays as it is.
		grown := make([]atomic.Pointer[shard], max(int(n)+1, 2*len(shards)))
		for i := range shards {
			grown[i].Store(shards[i].Load())
		}
		b.bytes.Add(int64(8 * (len(grown) - len(shards))))
		shards = grown
		b.shards.Store(&shards)
	}
	sh := new(shard)
	b.bytes.Add(shardSeries * seriesBytes)
	if b.opts.Versions {
		sh.versions = new([shardSeries]versionColumn)
		b.bytes.Add(shardSeries * 40)
	}
	shards[n].Store(sh)
	return sh
}

// lookup returns shard n, or nil.
func (b *Buffer) lookup(n model.Ref) *shard {
	if shards := *b.shards.Load(); int(n) < len(shards) {
		return shards[n].Load()
	}
	return nil
}

// seriesBytes is the memory of one series beside its samples.
const seriesBytes = 56

// find returns the shard of a series, or nil.
func (b *Buffer) find(ref model.Ref) *shard { return b.lookup(ref >> shardBits) }

func (b *Buffer) opened(ref model.Ref, window int64) {
	if b.opts.Opened != nil {
		b.opts.Opened(ref, window)
	}
}

// Bytes returns the memory that the buffer takes.
func (b *Buffer) Bytes() int64 {
	b.groups.mu.RLock()
	defer b.groups.mu.RUnlock()
	return b.bytes.Load() + b.groups.memory
}

// Samples returns the number of samples kept, superseded ones included.
func (b *Buffer) Samples() int64 { return b.samples.Load() }

// Has says whether the buffer holds samples of a series.
func (b *Buffer) Has(ref model.Ref) bool {
	sh := b.find(ref)
	if sh == nil {
		return false
	}
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.series[ref%shardSeries].hasSamples()
}

// appendDelta appends the difference of two batch numbers.
func appendDelta(dst []byte, from, to uint32) []byte {
	return binary.AppendVarint(dst, int64(to)-int64(from))
}

func (s *series) hasSamples() bool { return s.next.group != 0 || s.extra != 0 }
