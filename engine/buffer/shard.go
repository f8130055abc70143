package buffer

import (
	"math"
	"sync"

	"github.com/count-db/count/engine/column"
	"github.com/count-db/count/internal/model"
)

const (
	shardBits   = 8
	shardSeries = 1 << shardBits
	// maxChunk is the number of samples at which a chunk is closed.
	maxChunk = 2048
)

// shard holds consecutive series. Its fields are guarded by mu, but for
// readers of a frozen buffer, which need no lock.
type shard struct {
	mu     sync.RWMutex
	series [shardSeries]series
	slab   slab
	closed list[chunk]
	extras list[extra]
	runs   list[startRun]
	late   list[lateSample]
	hists  list[histSample]
	// arrivals numbers late samples and histograms in their order.
	arrivals uint32

	// With Options.Versions only, else nil or empty.
	versions       *[shardSeries]versionColumn // of the open chunks
	closedVersions list[versionColumn]         // of closed, by number
}

// series is one series and its open chunk.
type series struct {
	xor    column.XORState
	values chain
	next   place  // of the open chunk's next sample; group 0: none is open
	start  uint32 // index of its first sample in the group
	closed uint32 // the chunk closed last
	extra  uint32 // what few series have; 0 = nothing
	flags  uint8
}

// The flags of a series: what makes an append leave the short path.
const (
	hasStarts = 1 << iota // start timestamps
	hasHists              // native histograms
	hasLate               // late samples
)

// chunk is a closed chunk. Its stream of values is complete.
type chunk struct {
	at     place
	end    uint32 // index behind its last sample
	values uint32 // address of the first piece
	size   uint32 // bytes of values
	runs   uint32 // start timestamps
	before uint32 // the chunk closed before it
}

// extra is what few series have.
type extra struct {
	runs     uint32 // start timestamps of the open chunk, newest first
	late     uint32 // late samples, newest first
	hists    uint32 // histograms, newest first
	start    int64  // start timestamp of the last sample
	lastHist int64  // highest timestamp of a histogram
	// window was the last one reported for a late sample or a histogram.
	window   int64
	reported bool
}

// startRun says that from a sample of a chunk on the start timestamp is start.
type startRun struct {
	start  int64
	from   uint32
	before uint32
}

// versionColumn holds the versions of a chunk's samples, as differences of
// batch numbers.
type versionColumn struct {
	bytes    chain
	last     uint32 // batch number of the last sample
	min, max model.Version
}

// lateSample is a float at or before the last sample of its series then.
type lateSample struct {
	t       int64
	v       float64
	start   int64
	version model.Version
	arrival uint32
	before  uint32
}

// histSample is one native histogram.
type histSample struct {
	model.HistogramPoint
	arrival uint32
	before  uint32
}

// appender is the state of one Append.
type appender struct {
	b       *Buffer
	version model.Version
	batch   uint32 // number of the batch; with versions
	grown   int    // bytes of memory
	result  Result

	// The move made last; to.group is 0 before the first.
	from place
	t    int64
	to   place
}

// float appends one float sample; sh.mu is held.
func (a *appender) float(sh *shard, f *model.FloatSample, start int64) {
	s := &sh.series[f.Ref%shardSeries]
	if s.flags&(hasStarts|hasHists) != 0 || start != 0 {
		if !a.special(sh, s, f, start) {
			return
		}
	}
	if s.next != a.from || f.T != a.t || a.to.group == 0 {
		to, ok := a.b.groups.move(s.next, f.T)
		if !ok {
			a.late(sh, s, f, start)
			return
		}
		a.from, a.t, a.to = s.next, f.T, to
	}
	if a.to != s.next || s.next.index-s.start == maxChunk {
		a.open(sh, s, f.Ref)
	}
	s.next.index++
	var final [16]byte
	if n := s.xor.Put(&final, f.V); n > 0 {
		a.grown += sh.slab.put(&s.values, final[:n])
	}
	if sh.versions != nil {
		a.stamp(sh, &sh.versions[f.Ref%shardSeries])
	}
	a.result.Floats++
}

// open closes the chunk of a series and opens one at a.to.
func (a *appender) open(sh *shard, s *series, ref model.Ref) {
	oldWindow := int64(math.MinInt64)
	if s.next.group != 0 {
		oldWindow = WindowOf(a.b.groups.last(s.next))
		a.close(sh, s, ref)
	}
	s.xor, s.values = column.XORState{}, chain{}
	s.next, s.start = a.to, a.to.index
	if s.flags&hasStarts != 0 {
		// The new chunk begins without a start timestamp.
		e := sh.extras.at(s.extra)
		if e.runs = 0; e.start != 0 {
			a.run(sh, e, 0)
		}
	}
	if window := WindowOf(a.t); window != oldWindow {
		a.b.opened(ref, window)
	}
}

// close moves the open chunk of a series to the closed ones.
func (a *appender) close(sh *shard, s *series, ref model.Ref) {
	var last [1]byte
	a.grown += sh.slab.put(&s.values, s.xor.Finish(last[:0]))
	c := chunk{
		at: place{s.next.group, s.start}, end: s.next.index,
		values: s.values.first, size: s.values.size, before: s.closed,
	}
	if s.extra != 0 {
		c.runs = sh.extras.at(s.extra).runs
	}
	number, grown := sh.closed.add(c)
	a.addBlock(grown, listBlock*32)
	s.closed = number
	if sh.versions != nil {
		column := &sh.versions[ref%shardSeries]
		_, grown := sh.closedVersions.add(*column)
		a.addBlock(grown, listBlock*40)
		*column = versionColumn{}
	}
}

func (a *appender) addBlock(grown bool, bytes int) {
	if grown {
		a.grown += bytes
	}
}

// special does what start timestamps and histograms ask for before a float is
// appended. It answers false when it took the sample.
func (a *appender) special(sh *shard, s *series, f *model.FloatSample, start int64) bool {
	e := a.extra(sh, s)
	if s.flags&hasHists != 0 && f.T <= e.lastHist {
		a.late(sh, s, f, start)
		return false
	}
	if start == e.start {
		return true
	}
	if s.next.group != 0 && f.T <= a.b.groups.last(s.next) {
		a.late(sh, s, f, start)
		return false
	}
	s.flags |= hasStarts
	e.start = start
	if s.next.group != 0 {
		// Harmless should the sample open a new chunk: the run is then behind
		// the last sample of the old one.
		a.run(sh, e, s.next.index-s.start)
	}
	return true
}

// run notes that from a sample of the open chunk on e.start holds.
func (a *appender) run(sh *shard, e *extra, from uint32) {
	number, grown := sh.runs.add(startRun{start: e.start, from: from, before: e.runs})
	a.addBlock(grown, listBlock*16)
	e.runs = number
}

func (a *appender) extra(sh *shard, s *series) *extra {
	if s.extra == 0 {
		number, grown := sh.extras.add(extra{lastHist: math.MinInt64})
		a.addBlock(grown, listBlock*48)
		s.extra = number
	}
	return sh.extras.at(s.extra)
}

// stamp notes the version of the sample appended last.
func (a *appender) stamp(sh *shard, c *versionColumn) {
	if c.bytes.size == 0 {
		c.min, c.max = a.version, a.version
	} else {
		c.min, c.max = min(c.min, a.version), max(c.max, a.version)
	}
	var buf [16]byte
	p := appendDelta(buf[:0], c.last, a.batch)
	c.last = a.batch
	a.grown += sh.slab.put(&c.bytes, p)
}

// late keeps a sample that is not behind the last one of its series.
func (a *appender) late(sh *shard, s *series, f *model.FloatSample, start int64) {
	if a.repeats(sh, s, f, start) {
		a.result.Repeats++
		return
	}
	e := a.extra(sh, s)
	s.flags |= hasLate
	sh.arrivals++
	number, grown := sh.late.add(lateSample{
		t: f.T, v: f.V, start: start, version: a.version, arrival: sh.arrivals, before: e.late,
	})
	a.addBlock(grown, listBlock*40)
	e.late = number
	a.result.Late++
	a.report(e, f.Ref, f.T)
}

// repeats says whether a late sample is the series' last one once more, which
// changes nothing: a request that was sent again. With versions it raises the
// sample's.
func (a *appender) repeats(sh *shard, s *series, f *model.FloatSample, start int64) bool {
	if sh.versions != nil || s.next.group == 0 || s.flags&(hasLate|hasHists) != 0 {
		return false
	}
	if s.flags&hasStarts != 0 && sh.extras.at(s.extra).start != start || s.flags&hasStarts == 0 && start != 0 {
		return false
	}
	return math.Float64bits(s.xor.Last()) == math.Float64bits(f.V) && a.b.groups.last(s.next) == f.T
}

// report tells of the window of a late sample or a histogram.
func (a *appender) report(e *extra, ref model.Ref, t int64) {
	if w := WindowOf(t); !e.reported || w != e.window {
		e.window, e.reported = w, true
		a.b.opened(ref, w)
	}
}

// histogram keeps a native histogram; sh.mu is held.
func (a *appender) histogram(sh *shard, h *model.HistogramSample) {
	s := &sh.series[h.Ref%shardSeries]
	e := a.extra(sh, s)
	s.flags |= hasHists
	sh.arrivals++
	number, grown := sh.hists.add(histSample{
		HistogramPoint: model.HistogramPoint{T: h.T, ST: h.ST, H: h.H, FH: h.FH, Ver: a.version},
		arrival:        sh.arrivals, before: e.hists,
	})
	a.addBlock(grown, listBlock*48)
	a.grown += histogramBytes(h)
	e.hists = number
	e.lastHist = max(e.lastHist, h.T)
	a.result.Histograms++
	a.report(e, h.Ref, h.T)
}

// histogramBytes estimates the memory of a histogram, which the buffer keeps
// alive.
func histogramBytes(h *model.HistogramSample) int {
	const header, span = 160, 8
	switch {
	case h.H != nil:
		return header + span*(len(h.H.PositiveSpans)+len(h.H.NegativeSpans)) +
			8*(len(h.H.PositiveBuckets)+len(h.H.NegativeBuckets))
	case h.FH != nil:
		return header + span*(len(h.FH.PositiveSpans)+len(h.FH.NegativeSpans)) +
			8*(len(h.FH.PositiveBuckets)+len(h.FH.NegativeBuckets))
	}
	return header
}
