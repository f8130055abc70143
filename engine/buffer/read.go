package buffer

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/count-db/count/engine/column"
	"github.com/count-db/count/internal/model"
)

// span is a chunk, or the part of one that a read wants, as copied under the
// locks: ranges of what is in scratch.
type span struct {
	at   place  // of the first sample wanted
	end  uint32 // index behind the last one
	skip int    // samples of the chunk before it

	t, values, versions, runs between
}

// between is a half-open range.
type between struct{ from, to int }

func (sp *span) count() int { return int(sp.end - sp.at.index) }

// scratch is what a read works in.
type scratch struct {
	spans []span // the newest first
	t     []int64
	bytes []byte
	runs  []startRun
	late  []lateSample
	hists []histSample
	merge []candidate
}

func (sc *scratch) reset() {
	sc.spans, sc.t, sc.bytes, sc.runs, sc.late = sc.spans[:0], sc.t[:0], sc.bytes[:0], sc.runs[:0], sc.late[:0]
	clear(sc.hists)
	sc.hists = sc.hists[:0]
	clear(sc.merge)
	sc.merge = sc.merge[:0]
}

// Read resets dst and reads the samples of a series in [mint, maxt] (ms,
// inclusive) into it, merged; with Options.Versions their versions too. The
// series' lock is held for copying only.
func (b *Buffer) Read(ref model.Ref, mint, maxt int64, dst *model.Columns) error {
	dst.Reset()
	sh := b.find(ref)
	if sh == nil || mint > maxt {
		return nil
	}
	sc := b.scratch.Get().(*scratch)
	defer b.scratch.Put(sc)
	sc.reset()
	b.collect(sc, sh, ref, mint, min(maxt, maxTime))
	if err := b.decode(sc, dst); err != nil {
		return fmt.Errorf("read series %d of the buffer: %w", ref, err)
	}
	if len(sc.late)+len(sc.hists) > 0 {
		b.merge(sc, dst)
		return nil
	}
	if len(sc.spans) == 1 && len(dst.T) > 0 {
		dst.TKey = sc.spans[0].at.key(b.opts.Epoch, sc.spans[0].end)
	}
	return nil
}

// collect copies what a read needs.
func (b *Buffer) collect(sc *scratch, sh *shard, ref model.Ref, mint, maxt int64) {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	s := &sh.series[ref%shardSeries]
	if s.next.group != 0 {
		b.groups.mu.RLock()
		b.collectOpen(sc, sh, s, ref, mint, maxt)
		for number := s.closed; number != 0; {
			c := sh.closed.at(number)
			// Closed chunks go back in time.
			if !b.collectClosed(sc, sh, c, number, mint, maxt) {
				break
			}
			number = c.before
		}
		b.groups.mu.RUnlock()
	}
	if s.extra == 0 {
		return
	}
	e := sh.extras.at(s.extra)
	for number := e.late; number != 0; {
		l := sh.late.at(number)
		if l.t >= mint && l.t <= maxt {
			sc.late = append(sc.late, *l)
		}
		number = l.before
	}
	for number := e.hists; number != 0; {
		h := sh.hists.at(number)
		if h.T >= mint && h.T <= maxt {
			sc.hists = append(sc.hists, *h)
		}
		number = h.before
	}
}

func (b *Buffer) collectOpen(sc *scratch, sh *shard, s *series, ref model.Ref, mint, maxt int64) {
	sp, ok := b.clip(sc, place{s.next.group, s.start}, s.next.index, mint, maxt)
	if !ok {
		return
	}
	sp.values.from = len(sc.bytes)
	sc.bytes = s.xor.Finish(sh.slab.appendTo(sc.bytes, s.values.first, s.values.size))
	sp.values.to = len(sc.bytes)
	runs := uint32(0)
	if s.extra != 0 {
		runs = sh.extras.at(s.extra).runs
	}
	var v *versionColumn
	if sh.versions != nil {
		v = &sh.versions[ref%shardSeries]
	}
	sc.add(sp, sh, v, runs)
}

// collectClosed answers false when the chunk ends before mint.
func (b *Buffer) collectClosed(sc *scratch, sh *shard, c *chunk, number uint32, mint, maxt int64) bool {
	sp, ok := b.clip(sc, c.at, c.end, mint, maxt)
	if !ok {
		_, _, last := b.groups.bounds(c.at.group, c.at.index, c.end)
		return last >= mint
	}
	sp.values.from = len(sc.bytes)
	sc.bytes = sh.slab.appendTo(sc.bytes, c.values, c.size)
	sp.values.to = len(sc.bytes)
	var v *versionColumn
	if sh.versions != nil {
		v = sh.closedVersions.at(number)
	}
	sc.add(sp, sh, v, c.runs)
	return true
}

// clip finds the part of a chunk in [mint, maxt] and copies its timestamps.
func (b *Buffer) clip(sc *scratch, at place, end uint32, mint, maxt int64) (span, bool) {
	var lo, hi uint32
	from := len(sc.t)
	sc.t, lo, hi = b.groups.clip(sc.t, at.group, at.index, end, mint, maxt)
	return span{
		at: place{at.group, lo}, end: hi, skip: int(lo - at.index), t: between{from, len(sc.t)},
	}, lo < hi
}

// add completes a span by its versions and start timestamps.
func (sc *scratch) add(sp span, sh *shard, v *versionColumn, runs uint32) {
	sp.versions.from = len(sc.bytes)
	if v != nil {
		sc.bytes = sh.slab.appendTo(sc.bytes, v.bytes.first, v.bytes.size)
	}
	sp.versions.to = len(sc.bytes)
	sp.runs.from = len(sc.runs)
	for runs != 0 {
		r := sh.runs.at(runs)
		sc.runs = append(sc.runs, *r)
		runs = r.before
	}
	sp.runs.to = len(sc.runs)
	sc.spans = append(sc.spans, sp)
}

// decode turns the spans, which are the newest first, into columns.
func (b *Buffer) decode(sc *scratch, dst *model.Columns) error {
	for i := range slices.Backward(sc.spans) {
		sp := &sc.spans[i]
		dst.T = append(dst.T, sc.t[sp.t.from:sp.t.to]...)
		at := len(dst.V)
		var err error
		dst.V, err = column.DecodeXOR(dst.V, sc.bytes[sp.values.from:sp.values.to], sp.skip+sp.count())
		if err != nil {
			return err
		}
		dst.V = slices.Delete(dst.V, at, at+sp.skip)
		if dst.Ver, err = b.spanVersions(dst.Ver, sc, sp); err != nil {
			return err
		}
		dst.ST = addStarts(dst.ST, at, sc, sp)
	}
	return nil
}

// spanVersions appends the versions of a span's samples, if there are any.
func (b *Buffer) spanVersions(dst []model.Version, sc *scratch, sp *span) ([]model.Version, error) {
	if !b.opts.Versions {
		return dst, nil
	}
	at := len(dst)
	dst, err := b.decodeVersions(dst, sc.bytes[sp.versions.from:sp.versions.to], sp.skip+sp.count())
	if err != nil {
		return dst, err
	}
	return slices.Delete(dst, at, at+sp.skip), nil
}

// decodeVersions appends the versions of n samples.
func (b *Buffer) decodeVersions(dst []model.Version, bytes []byte, n int) ([]model.Version, error) {
	b.mu.Lock()
	batches := b.batches
	b.mu.Unlock()
	number := int64(0)
	for range n {
		d, size := binary.Varint(bytes)
		number += d
		if size <= 0 || number < 1 || number > int64(len(batches)) {
			return dst, fmt.Errorf("version column: batch %d of %d", number, len(batches))
		}
		bytes = bytes[size:]
		dst = append(dst, batches[number-1])
	}
	return dst, nil
}

// addStarts appends the start timestamps of a span, which comes behind before
// other samples, to a column that is empty as long as no sample has any.
func addStarts(dst []int64, before int, sc *scratch, sp *span) []int64 {
	runs := sc.runs[sp.runs.from:sp.runs.to] // the newest first
	if len(runs) == 0 && len(dst) == 0 {
		return dst
	}
	n := sp.count()
	dst = append(dst, make([]int64, before-len(dst)+n)...)
	starts := dst[before:]
	end := sp.skip + n
	for _, r := range runs {
		for i := max(int(r.from), sp.skip); i < end; i++ {
			starts[i-sp.skip] = r.start
		}
		end = min(end, int(r.from))
	}
	return dst
}
