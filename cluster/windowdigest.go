package cluster

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/antientropy"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// What lies in closed windows seldom changes, so its digests are kept: one per
// window and candidate list, computed when they are asked for first, dropped when
// something is stored in the window or deleted from it. To verify a range that
// was verified before costs a look into memory. What is kept is compared with
// what is read back again and again (readBack), so that rot is found.

const (
	windowLength = int64(2 * time.Hour / time.Millisecond)
	// closedAfter is how far a window's end lies behind the clock when it counts
	// as closed.
	closedAfter = int64(10 * time.Minute / time.Millisecond)
	// windowRun is how many windows one after the other are read in one pass.
	windowRun = 12
	// windowAsk is how many windows are asked for in one call.
	windowAsk = 512
)

func windowOf(t int64) int64 {
	w := t / windowLength
	if t%windowLength < 0 {
		w--
	}
	return w
}

// windowDigest is what is known of the content of a window on this node.
type windowDigest struct {
	ring    uint64                     // whose lists these are
	lists   map[int]antientropy.Digest // of all samples; those that this node is no candidate of too
	floor   settledAt                  // by which lists were computed
	plain   map[int]antientropy.Digest // as lists, without any versions
	highest model.Version              // of its samples
	read    time.Time                  // when it was read from the storage
}

// windowDigests keeps the digests of windows.
type windowDigests struct {
	// pass is held while windows are read: capacity 1.
	pass chan struct{}
	max  int // digests that are kept

	mu    sync.Mutex
	kept  map[int64]*windowDigest // guarded by mu
	count int                     // guarded by mu; digests in kept
	dirty map[int64]bool          // guarded by mu; windows that were touched during the pass; nil: no pass
	spoil bool                    // guarded by mu; everything was touched during the pass
}

func newWindowDigests(most int) *windowDigests {
	return &windowDigests{pass: make(chan struct{}, 1), max: most, kept: map[int64]*windowDigest{}}
}

// touch notes that the content of windows first to last has changed. It must be
// called after the change can be read: a digest that missed the change is then
// dropped, now or at the end of its pass.
func (d *windowDigests) touch(first, last int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if last-first >= int64(len(d.kept)+len(d.dirty)+windowRun) {
		for w := range d.kept {
			if w >= first && w <= last {
				d.dropLocked(w)
			}
		}
		d.spoil = true
		return
	}
	for w := first; w <= last; w++ {
		d.dropLocked(w)
		if d.dirty != nil {
			d.dirty[w] = true
		}
	}
}

// clear forgets everything.
func (d *windowDigests) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.kept)
	d.count, d.spoil = 0, true
}

func (d *windowDigests) dropLocked(w int64) {
	if e := d.kept[w]; e != nil {
		d.count -= 2*len(e.lists) + 1
		delete(d.kept, w)
	}
}

// get returns what is kept of a window, if all of it is below the version.
func (d *windowDigests) get(w int64, a *digestAsk) *windowDigest {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.kept[w]; e != nil && e.ring == a.ring && e.highest < a.before && e.by(w, a.floor) != nil {
		return e
	}
	return nil
}

// by returns the digests by a floor, nil when they are not known.
func (e *windowDigest) by(w int64, floor settledAt) map[int]antientropy.Digest {
	switch {
	case e.highest <= floor.version && w*windowLength >= floor.from:
		return e.plain
	case e.floor == floor:
		return e.lists
	}
	return nil
}

// begin starts a pass: the caller ends it.
func (d *windowDigests) begin(ctx context.Context) error {
	select {
	case d.pass <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dirty, d.spoil = map[int64]bool{}, false
	return nil
}

// end ends a pass and keeps what it found of windows that nothing was stored in
// meanwhile.
func (d *windowDigests) end(found map[int64]*windowDigest) {
	d.mu.Lock()
	for w, e := range found {
		if d.spoil || d.dirty[w] {
			continue
		}
		d.dropLocked(w)
		d.kept[w] = e
		d.count += 2*len(e.lists) + 1
	}
	d.dirty = nil
	for d.count > d.max {
		oldest := int64(math.MaxInt64)
		for w := range d.kept {
			oldest = min(oldest, w)
		}
		d.dropLocked(oldest)
	}
	d.mu.Unlock()
	<-d.pass
}

// stalest returns the window that was read longest ago measured by its period.
func (d *windowDigests) stalest(p antientropy.Periods, now time.Time) (w int64, e *windowDigest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	most := 1.0
	for n, one := range d.kept {
		period := p.Of(antientropy.Range{MinT: n * windowLength, MaxT: (n+1)*windowLength - 1}, now.UnixMilli())
		if overdue := float64(now.Sub(one.read)) / float64(period); overdue > most {
			w, e, most = n, one, overdue
		}
	}
	return w, e
}

// windowsHere returns the digests of the windows in the range, which is whole
// windows, by window and list: of all that this node holds as a candidate.
func (c *Cluster) windowsHere(ctx context.Context, t *topology, a digestAsk) (map[antientropy.Key]antientropy.Digest, error) {
	return c.windowsOf(ctx, t, a, func(list int) bool { return t.lists[list].Has(c.opts.Node) })
}

// windowsOf is windowsHere for some of the lists.
func (c *Cluster) windowsOf(ctx context.Context, t *topology, a digestAsk, wants func(list int) bool) (map[antientropy.Key]antientropy.Digest, error) {
	out := map[antientropy.Key]antientropy.Digest{}
	take := func(w int64, e *windowDigest) {
		for list, d := range e.by(w, a.floor) {
			if wants(list) {
				out[antientropy.Key{Slice: w, List: list}] = d
			}
		}
	}
	within := func(w int64) bool { return w >= windowOf(a.mint) && w <= windowOf(a.maxt) }
	if err := c.eachWindow(ctx, t, a, within, take); err != nil {
		return nil, err
	}
	return out, nil
}

// eachWindow has take called with the digests of each window that this node holds
// something of and that is wanted: those that are kept, and those that are read for
// it.
func (c *Cluster) eachWindow(ctx context.Context, t *topology, a digestAsk, wanted func(w int64) bool, take func(w int64, e *windowDigest)) error {
	var missing []int64
	for _, w := range c.local.Windows() {
		if !wanted(w) {
			continue
		}
		if e := c.windows.get(w, &a); e != nil {
			take(w, e)
		} else {
			missing = append(missing, w)
		}
	}
	pace := c.newPace()
	for _, run := range runsOf(missing) {
		found, err := c.readWindows(ctx, t, a, run, pace)
		if err != nil {
			return err
		}
		for w, e := range found {
			take(w, e)
		}
	}
	return nil
}

// runsOf cuts ascending windows into runs that are read in one pass each.
func runsOf(windows []int64) [][]int64 {
	var out [][]int64
	for from, i := 0, 1; i <= len(windows); i++ {
		if i == len(windows) || windows[i] != windows[i-1]+1 || i-from == windowRun {
			out = append(out, windows[from:i])
			from = i
		}
	}
	return out
}

// readWindows computes the digests of a run of windows from the storage, and
// keeps them.
func (c *Cluster) readWindows(ctx context.Context, t *topology, a digestAsk, run []int64, pace *pace) (map[int64]*windowDigest, error) {
	if err := c.windows.begin(ctx); err != nil {
		return nil, err
	}
	pace.restart() // the time until here was none of work
	kept := map[int64]*windowDigest{}
	defer func() { c.windows.end(kept) }()
	found := map[int64]*windowDigest{}
	for _, w := range run {
		found[w] = &windowDigest{ring: t.ring.Number(), lists: map[int]antientropy.Digest{}, floor: a.floor, plain: map[int]antientropy.Digest{}, read: time.Now()}
	}
	hasher := antientropy.NewHasher(t.record.ClusterID)
	mint, maxt := run[0]*windowLength, (run[len(run)-1]+1)*windowLength-1
	err := c.eachLocal(ctx, mint, maxt, func(ls labels.Labels, cols *model.Columns) error {
		id := model.SeriesIDOf(ls)
		list := t.ring.ListOf(id.Token())
		series := hasher.Series(id)
		addWindows(found, &series, list, cols, &a)
		return pace.rest(ctx, cols.Len())
	})
	if err != nil {
		return nil, err
	}
	for w, e := range found {
		if e.highest < a.before {
			kept[w] = e
		}
	}
	return found, nil
}

// addWindows adds a series' samples to the digests of their windows.
func addWindows(found map[int64]*windowDigest, h *antientropy.SeriesHasher, list int, cols *model.Columns, a *digestAsk) {
	at := int64(math.MinInt64)
	var entry *windowDigest
	var sum, none antientropy.Digest
	plain := false
	flush := func() {
		if entry != nil && sum.Count > 0 {
			lists := entry.lists
			if plain {
				lists = entry.plain
			}
			d := lists[list]
			d.Add(sum)
			lists[list] = d
		}
		sum = antientropy.Digest{}
	}
	enter := func(t int64) *antientropy.Digest {
		if w := windowOf(t); w != at {
			flush()
			at, entry = w, found[w]
		}
		if entry == nil {
			return &none // between the windows that were asked for
		}
		return &sum
	}
	for i, v := range cols.Ver {
		enter(cols.T[i])
		if entry != nil {
			entry.highest = max(entry.highest, v)
		}
	}
	for i := range cols.Hist {
		enter(cols.Hist[i].T)
		if entry != nil {
			entry.highest = max(entry.highest, cols.Hist[i].Ver)
		}
	}
	hashColumns(h, cols, a.before, a.floor, enter)
	flush()
	plain = true
	hashColumns(h, cols, a.before, settledAt{version: everyVersion, from: math.MinInt64}, enter)
	flush()
}

// splitClosed cuts a range of time into whole closed windows and what is left
// before and behind them.
func splitClosed(a digestAsk, now time.Time) (windows digestAsk, any bool, rest []digestAsk) {
	closed := windowOf(now.UnixMilli()-closedAfter) * windowLength
	from, to := windowOf(a.mint)*windowLength, closed
	if from < a.mint {
		from += windowLength
	}
	if a.maxt < closed {
		to = windowOf(a.maxt+1) * windowLength
	}
	if from >= to {
		return a, false, []digestAsk{a}
	}
	windows = a
	windows.mint, windows.maxt = from, to-1
	if a.mint < from {
		before := a
		before.maxt = from - 1
		rest = append(rest, before)
	}
	if a.maxt >= to {
		behind := a
		behind.mint = to
		rest = append(rest, behind)
	}
	return windows, true, rest
}

// differingWindows returns the slices of closed windows that this node holds and
// the member, which owns them, has not or has otherwise.
func (c *Cluster) differingWindows(ctx context.Context, t *topology, id ring.NodeID, a digestAsk) ([]antientropy.Key, error) {
	a.floor = c.floors.at()
	mine, err := c.windowsHere(ctx, t, a)
	if err != nil {
		return nil, err
	}
	held := heldWindows(mine)
	var out []antientropy.Key
	for len(held) > 0 {
		n := min(len(held), windowAsk)
		part := a
		part.mint, part.maxt = held[0]*windowLength, (held[n-1]+1)*windowLength-1
		theirs, floor, err := c.digestsOf(ctx, t, id, opWindowDigests, part)
		if err != nil {
			return nil, err
		}
		if floor != a.floor {
			a.floor = floor
			if mine, err = c.windowsHere(ctx, t, a); err != nil {
				return nil, err
			}
		}
		for _, w := range held[:n] {
			keys, err := c.differingWindow(ctx, t, id, a, w, mine, theirs)
			if err != nil {
				return nil, err
			}
			out = append(out, keys...)
		}
		held = held[n:]
	}
	return out, nil
}

func heldWindows(mine map[antientropy.Key]antientropy.Digest) []int64 {
	var out []int64
	for k := range mine {
		out = append(out, k.Slice)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// differingWindow compares one window, slice by slice where it differs.
func (c *Cluster) differingWindow(ctx context.Context, t *topology, id ring.NodeID, a digestAsk, w int64, mine, theirs map[antientropy.Key]antientropy.Digest) ([]antientropy.Key, error) {
	differs := false
	for list := range t.lists {
		k := antientropy.Key{Slice: w, List: list}
		if d, has := mine[k]; has && t.owesTo(id, list) && theirs[k] != d {
			differs = true
		}
	}
	if !differs {
		return nil, nil
	}
	part := a
	part.mint, part.maxt = w*windowLength, (w+1)*windowLength-1
	keys, err := c.differingSlices(ctx, t, id, part)
	if err == nil && len(keys) == 0 {
		// One of the two is no longer what was kept, as after a retention.
		c.windows.touch(w, w)
	}
	return keys, err
}

// owesTo says whether the member is to have all that this node has of a list.
func (t *topology) owesTo(id ring.NodeID, list int) bool {
	l := &t.lists[list]
	return l.Owns(id) && !l.Copies(id)
}

// owesAnything says whether the member is to have anything that this node has
// because of more than the change of the ring under way, for which it copies.
func (t *topology) owesAnything(id ring.NodeID) bool {
	for list := range t.lists {
		if t.owesTo(id, list) {
			return true
		}
	}
	return false
}

func (c *Cluster) serveWindowDigests(ctx context.Context, d *wire.Decoder, w *transport.Answer) error {
	return c.serveDigestsBy(ctx, d, w, c.windowsHere)
}

// readBack reads the window that is due most, if one is, and has what it lost
// brought back.
func (c *Cluster) readBack(ctx context.Context, t *topology, now time.Time) (done bool, err error) {
	w, old := c.windows.stalest(c.opts.timing.readBack, now)
	if old == nil || old.ring != t.ring.Number() {
		return false, nil
	}
	a := digestAsk{ring: t.ring.Number(), mint: w * windowLength, maxt: (w+1)*windowLength - 1, before: everyVersion, floor: c.floors.at()}
	found, err := c.readWindows(ctx, t, a, []int64{w}, c.newPace())
	if err != nil {
		return false, err
	}
	c.stats.readBack.Inc()
	switch {
	case sameDigests(found[w].plain, old.plain), c.windows.get(w, &a) == nil:
		return true, nil // as it was, or written to meanwhile
	case !slices.Contains(c.local.Windows(), w):
		c.windows.touch(w, w) // its time is over
		return true, nil
	}
	c.stats.rotten.Inc()
	c.info("a window no longer reads as it did: what it lost is brought back", "window", w)
	a.before = c.cut(4).version
	for _, id := range c.otherMembers(t) {
		if c.inSight(id) {
			err = c.repairWith(ctx, t, &Repaired{Node: id}, a, false)
		}
	}
	return true, err
}

func sameDigests(a, b map[int]antientropy.Digest) bool {
	for list, d := range a {
		if b[list] != d {
			return false
		}
	}
	return len(a) == len(b)
}
