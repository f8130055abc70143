package buffer

import (
	"fmt"
	"slices"

	"github.com/count-db/count/engine/column"
	"github.com/count-db/count/internal/model"
)

// Frozen is a buffer that nothing is appended to any more. It offers what a
// flush needs; reading it goes on as before.
type Frozen struct {
	*Buffer
}

// Freeze ends the buffer's life as the active one. The caller sees to it that
// no Append is running and that none comes later.
func (b *Buffer) Freeze() *Frozen { return &Frozen{b} }

// Kind says what the samples of a chunk are.
type Kind uint8

// The kinds of chunks.
const (
	Floats Kind = iota + 1
	Histograms
)

// Chunk is a run of samples of one series and one window, ascending, at most
// maxChunk of them, as a flush takes them. The chunks of a series have no
// timestamp in common. All slices are the walk's: they hold until the next
// chunk.
type Chunk struct {
	Ref    model.Ref
	Window int64 // floor(t / 2 h)
	Kind   Kind
	Count  int
	MinT   int64
	MaxT   int64

	// T are the timestamps. Where TKey is not 0, all chunks of this buffer with
	// the same key have the same.
	T    []int64
	TKey uint64
	// Values is the XOR stream (column.DecodeXOR) of the floats.
	Values []byte
	// ST are the start timestamps of the floats; empty when none has one.
	ST []int64
	// Hist are the histograms.
	Hist []model.HistogramPoint
	// Ver are the versions of the floats, with Options.Versions; a histogram
	// holds its own.
	Ver            []model.Version
	MinVer, MaxVer model.Version
}

// EachRef calls visit with every series that has samples, ascending by
// reference, until it returns false.
func (f *Frozen) EachRef(visit func(model.Ref) bool) {
	shards := *f.shards.Load()
	for n := range shards {
		sh := shards[n].Load()
		if sh == nil {
			continue
		}
		for i := range sh.series {
			if sh.series[i].hasSamples() && !visit(model.Ref(n<<shardBits|i)) {
				return
			}
		}
	}
}

// Refs returns the series that have samples, ascending by reference.
func (f *Frozen) Refs() []model.Ref {
	var refs []model.Ref
	f.EachRef(func(ref model.Ref) bool {
		refs = append(refs, ref)
		return true
	})
	return refs
}

// Walk is the memory that visiting chunks works in. The zero value is ready.
// It is for one goroutine.
type Walk struct {
	sc      scratch
	columns model.Columns
	chunk   Chunk
}

// Chunks calls visit with the chunks of a series: by window, floats before
// histograms. Chunks come as they were coded, but where late samples or
// histograms had to be merged in. The chunk is the walk's and changes with the
// next one. It returns visit's error.
func (f *Frozen) Chunks(ref model.Ref, w *Walk, visit func(*Chunk) error) error {
	sh := f.find(ref)
	if sh == nil {
		return nil
	}
	w.sc.reset()
	f.collect(&w.sc, sh, ref, minTime, maxTime)
	if len(w.sc.late)+len(w.sc.hists) > 0 {
		return f.mergedChunks(ref, w, visit)
	}
	for i := range slices.Backward(w.sc.spans) {
		if err := f.codedChunk(ref, w, &w.sc.spans[i]); err != nil {
			return fmt.Errorf("chunk of series %d of the buffer: %w", ref, err)
		}
		if err := visit(&w.chunk); err != nil {
			return err
		}
	}
	return nil
}

// codedChunk makes w.chunk one that is as it was coded.
func (f *Frozen) codedChunk(ref model.Ref, w *Walk, sp *span) error {
	c, sc := &w.chunk, &w.sc
	c.begin(ref, Floats, sc.t[sp.t.from:sp.t.to])
	c.TKey = sp.at.key(f.opts.Epoch, sp.end)
	c.Values = sc.bytes[sp.values.from:sp.values.to]
	c.ST = addStarts(c.ST, 0, sc, sp)
	var err error
	c.Ver, err = f.spanVersions(c.Ver, sc, sp)
	c.boundVersions()
	return err
}

// mergedChunks visits the chunks of a series with late samples or histograms.
func (f *Frozen) mergedChunks(ref model.Ref, w *Walk, visit func(*Chunk) error) error {
	m := &w.columns
	m.Reset()
	if err := f.decode(&w.sc, m); err != nil {
		return fmt.Errorf("merge series %d of the buffer: %w", ref, err)
	}
	f.merge(&w.sc, m)
	i, j := 0, 0
	for i < len(m.T) || j < len(m.Hist) {
		if i < len(m.T) && (j == len(m.Hist) || WindowOf(m.T[i]) <= WindowOf(m.Hist[j].T)) {
			n := f.floatChunk(ref, w, i)
			i += n
		} else {
			j += f.histogramChunk(ref, w, j)
		}
		if err := visit(&w.chunk); err != nil {
			return err
		}
	}
	return nil
}

// floatChunk makes w.chunk of the merged floats from i on and returns how many
// it took.
func (f *Frozen) floatChunk(ref model.Ref, w *Walk, i int) int {
	c, m := &w.chunk, &w.columns
	n := 1
	for window := WindowOf(m.T[i]); i+n < len(m.T) && n < maxChunk && WindowOf(m.T[i+n]) == window; {
		n++
	}
	c.begin(ref, Floats, m.T[i:i+n])
	w.sc.bytes = column.EncodeXOR(w.sc.bytes[:0], m.V[i:i+n])
	c.Values = w.sc.bytes
	if len(m.ST) > 0 && slices.ContainsFunc(m.ST[i:i+n], func(start int64) bool { return start != 0 }) {
		c.ST = append(c.ST, m.ST[i:i+n]...)
	}
	if len(m.Ver) > 0 {
		c.Ver = append(c.Ver, m.Ver[i:i+n]...)
	}
	c.boundVersions()
	return n
}

// histogramChunk makes w.chunk of the merged histograms from j on and returns
// how many it took.
func (f *Frozen) histogramChunk(ref model.Ref, w *Walk, j int) int {
	c, m := &w.chunk, &w.columns
	n := 1
	for window := WindowOf(m.Hist[j].T); j+n < len(m.Hist) && n < maxChunk && WindowOf(m.Hist[j+n].T) == window; {
		n++
	}
	w.sc.t = w.sc.t[:0]
	for k := range n {
		w.sc.t = append(w.sc.t, m.Hist[j+k].T)
	}
	c.begin(ref, Histograms, w.sc.t)
	c.Hist = m.Hist[j : j+n]
	c.boundVersions()
	return n
}

// begin fills in what a chunk's timestamps tell, and empties the rest.
func (c *Chunk) begin(ref model.Ref, kind Kind, t []int64) {
	*c = Chunk{
		Ref: ref, Kind: kind, Window: WindowOf(t[0]), Count: len(t), MinT: t[0], MaxT: t[len(t)-1],
		T: t, ST: c.ST[:0], Ver: c.Ver[:0],
	}
}

// boundVersions finds the lowest and the highest version.
func (c *Chunk) boundVersions() {
	if len(c.Ver) > 0 {
		c.MinVer, c.MaxVer = slices.Min(c.Ver), slices.Max(c.Ver)
		return
	}
	for i := range c.Hist {
		if v := c.Hist[i].Ver; i == 0 {
			c.MinVer, c.MaxVer = v, v
		} else {
			c.MinVer, c.MaxVer = min(c.MinVer, v), max(c.MaxVer, v)
		}
	}
}
