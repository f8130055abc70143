package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/merge"
	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
)

// Series is one series of a Set: its samples are in memory.
type Series struct {
	labels labels.Labels
	cols   model.Columns
}

// Labels returns the labels.
func (s *Series) Labels() labels.Labels { return s.labels }

// Read fills dst, after resetting it, with the samples in [mint, maxt].
func (s *Series) Read(mint, maxt int64, dst *model.Columns) error {
	dst.Reset()
	c := &s.cols
	lo, _ := slices.BinarySearch(c.T, mint)
	hi, found := slices.BinarySearch(c.T, maxt)
	if found {
		hi++
	}
	if lo < hi {
		dst.T, dst.V = append(dst.T, c.T[lo:hi]...), append(dst.V, c.V[lo:hi]...)
		if len(c.ST) > 0 {
			dst.ST = append(dst.ST, c.ST[lo:hi]...)
		}
	}
	for _, p := range c.Hist {
		if p.T >= mint && p.T <= maxt {
			dst.Hist = append(dst.Hist, p)
		}
	}
	return nil
}

// Set walks the merged series of a Select in the order of their labels. It
// belongs to one goroutine; its series do not.
type Set struct {
	c       *Cluster
	parent  context.Context // of the request
	ctx     context.Context // of the asking
	cancel  context.CancelFunc
	asked   selectRequest
	answers *answers
	sources []*source
	wake    chan struct{} // capacity 1: a source has something
	grace   *time.Timer   // nil until the answer is complete
	began   time.Time

	tombstones []model.Tombstone
	headed     bool           // all heads that will come are there
	only       *labels.Labels // the one series that is asked for; nil: all that match
	repairing  bool           // what a copy misses is sent to it
	patient    bool           // nobody is given up for being slow, and no limit holds
	samples    int
	current    *Series
	warnings   []string
	err        error
	done       bool
}

// hintLookback is how far before a query's first histogram the one before it is
// looked for, ms: as far as readers do.
const hintLookback = 5 * 60 * 1000

// Select asks all members for the series that match and have samples in [mint,
// maxt] (ms, inclusive). It returns at once. The set must be closed.
func (c *Cluster) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (*Set, error) {
	t, err := c.readable()
	if err != nil {
		return nil, err
	}
	q := selectRequest{ring: t.ring.Number(), mint: mint, maxt: maxt, matchers: ms, lookback: hintLookback}
	s, err := c.open(ctx, newAnswers(t, quorum.LevelFrom(ctx)), memberIDs(t), q)
	if s != nil {
		s.repairing = true
	}
	return s, err
}

// SelectShare is Select for the series of a share. Where another ring comes into
// force meanwhile, whose lists are others, the set ends with an error by which
// Spread knows it.
func (c *Cluster) SelectShare(ctx context.Context, share *Share, mint, maxt int64, ms ...*labels.Matcher) (*Set, error) {
	t := share.t
	q := selectRequest{ring: t.ring.Number(), mint: mint, maxt: maxt, matchers: ms, lookback: hintLookback, share: share}
	a := newAnswers(t, quorum.LevelFrom(ctx))
	a.lists = nil
	for _, i := range share.numbers() {
		a.lists = append(a.lists, t.lists[i])
	}
	nodes := slices.DeleteFunc(memberIDs(t), func(id ring.NodeID) bool { return !a.needs(id) })
	s, err := c.open(ctx, a, nodes, q)
	if s != nil {
		s.repairing = true
	}
	return s, err
}

// SelectSeries is Select for one series by all of its labels: only its candidates
// are asked, and only they count.
func (c *Cluster) SelectSeries(ctx context.Context, mint, maxt int64, ls labels.Labels) (*Set, error) {
	t, err := c.readable()
	if err != nil {
		return nil, err
	}
	q := selectRequest{ring: t.ring.Number(), mint: mint, maxt: maxt, lookback: hintLookback}
	ls.Range(func(l labels.Label) {
		q.matchers = append(q.matchers, &labels.Matcher{Type: labels.MatchEqual, Name: l.Name, Value: l.Value})
	})
	a, nodes := answersOf(t, quorum.LevelFrom(ctx), &ls)
	s, err := c.open(ctx, a, nodes, q)
	if s != nil {
		s.repairing, s.only = true, &ls
	}
	return s, err
}

// answersOf returns what a read needs and whom it asks: of one series, or of all
// when only is nil.
func answersOf(t *topology, level quorum.Level, only *labels.Labels) (*answers, []ring.NodeID) {
	a := newAnswers(t, level)
	if only == nil {
		return a, memberIDs(t)
	}
	list := t.ring.ListOf(model.SeriesIDOf(*only).Token())
	a.lists = t.lists[list : list+1]
	return a, a.lists[0].Nodes
}

// open begins to ask the nodes.
func (c *Cluster) open(ctx context.Context, a *answers, nodes []ring.NodeID, q selectRequest) (*Set, error) {
	s := &Set{c: c, parent: ctx, asked: q, answers: a, wake: make(chan struct{}, 1), began: time.Now()}
	if err := s.ask(nodes); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// ask begins to ask the nodes.
func (s *Set) ask(nodes []ring.NodeID) error {
	s.ctx, s.cancel = context.WithCancel(s.parent)
	body := s.asked.append(nil)
	for _, id := range nodes {
		src := &source{id: id, set: s, ctx: s.ctx, parts: make(chan part, 2)}
		if id == s.c.opts.Node {
			if err := src.openHere(s.asked); err != nil {
				return err
			}
		} else {
			go src.run(body)
		}
		s.sources = append(s.sources, src)
	}
	return nil
}

// Next moves to the next series; it may wait for the network.
func (s *Set) Next() bool {
	for !s.done && s.err == nil {
		if !s.wait() {
			break
		}
		if s.reopen() {
			continue
		}
		if !s.headed {
			s.uniteTombstones()
		}
		next := s.merge()
		if next == nil {
			s.finish()
			break
		}
		if next.cols.Len() == 0 || s.only != nil && !labels.Equal(next.labels, *s.only) || !s.asked.inShare(next.labels) {
			continue // all of it is deleted, or it was not asked for
		}
		if s.samples += next.cols.Len(); s.samples > s.c.opts.MaxSamples && !s.patient {
			s.err = fmt.Errorf("%w: the limit is %d", ErrTooManySamples, s.c.opts.MaxSamples)
			break
		}
		s.current = next
		return true
	}
	return false
}

// wait returns when every source that is still asked has its next series ready:
// those that have not answered when the others are complete and the grace is
// over are asked no more.
func (s *Set) wait() bool {
	look := time.NewTicker(patience / 10)
	defer look.Stop()
	for {
		waiting := s.advance()
		if waiting == 0 {
			return s.err == nil
		}
		var grace <-chan time.Time
		if !s.patient && s.answers.complete() {
			if s.grace == nil {
				s.grace = time.NewTimer(s.c.opts.Grace)
			}
			grace = s.grace.C
		}
		select {
		case <-s.wake:
		case <-grace:
			s.grace.Reset(0) // the grace is one for the whole answer
			s.drop(func(*source) bool { return true })
		case <-look.C:
			if !s.patient && time.Since(s.began) > patience {
				s.drop(func(src *source) bool { return s.c.doubtfulNode(src.id) })
			}
		case <-s.ctx.Done():
			s.err = s.ctx.Err()
			return false
		}
	}
}

// advance takes what the sources have and returns how many are waited for.
func (s *Set) advance() int {
	waiting := 0
	for _, src := range s.sources {
		if !src.ready() && !src.poll() {
			waiting++
		}
		if src.err != nil {
			s.answers.failed[src.id] = src.err
		}
		s.answers.counts[src.id] = src.countsNow() && src.ready()
	}
	return waiting
}

// drop gives up the sources that are waited for and for which is holds.
func (s *Set) drop(is func(*source) bool) {
	for _, src := range s.sources {
		if !src.ready() && is(src) {
			src.err = quorum.ErrSilent
		}
	}
}

// uniteTombstones puts together the deletes that the nodes know of: each hides
// samples of all copies (V3).
func (s *Set) uniteTombstones() {
	s.headed = true
	for _, src := range s.sources {
		for _, t := range src.tombstones {
			if !hasTombstone(s.tombstones, &t) {
				s.tombstones = append(s.tombstones, t)
			}
		}
	}
	if !s.repairing {
		return
	}
	for _, src := range s.sources {
		for i := range s.tombstones {
			if src.err == nil && !hasTombstone(src.tombstones, &s.tombstones[i]) {
				s.c.offerRepair(repair{node: src.id, tombstone: &s.tombstones[i]})
			}
		}
	}
}

// Tombstones returns the deletes that the nodes know of. They are all there are
// when the set is at its end without error and warnings.
func (s *Set) Tombstones() []model.Tombstone { return s.tombstones }

func hasTombstone(all []model.Tombstone, t *model.Tombstone) bool {
	return slices.ContainsFunc(all, func(o model.Tombstone) bool {
		return o.Version == t.Version && o.MinT == t.MinT && o.MaxT == t.MaxT && slices.EqualFunc(o.Matchers, t.Matchers,
			func(a, b *labels.Matcher) bool { return a.String() == b.String() })
	})
}

// merge takes the first series by labels from all sources that have it.
func (s *Set) merge() *Series {
	var first *seriesCopy
	for _, src := range s.sources {
		if h := src.head; h != nil && src.err == nil && (first == nil || labels.Compare(h.labels, first.labels) < 0) {
			first = h
		}
	}
	if first == nil {
		return nil
	}
	// A node that refills may have what was deleted, and the delete is settled and
	// forgotten: where the answer is complete without it, it is left out.
	complete := s.answers.complete()
	var copies []*model.Columns
	var holders []*source
	for _, src := range s.sources {
		if src.err != nil || src.head == nil || !labels.Equal(src.head.labels, first.labels) {
			continue
		}
		holders = append(holders, src)
		if src.countsNow() || !complete {
			copies = append(copies, &src.head.cols)
		}
	}
	out := &Series{labels: first.labels}
	same := merge.Columns(&out.cols, copies, s.c.opts.Rule)
	merge.Hide(&out.cols, out.labels, s.tombstones)
	if s.repairing {
		s.offerRepairs(out, holders, same && len(copies) == len(holders))
	}
	for _, src := range holders {
		src.head = nil
	}
	return out
}

// offerRepairs has what owners were found to miss sent to them.
func (s *Set) offerRepairs(merged *Series, holders []*source, same bool) {
	if merged.cols.Len() == 0 {
		return
	}
	t := s.answers.t
	list := &t.lists[t.ring.ListOf(model.SeriesIDOf(merged.labels).Token())]
	if same && len(holders) >= list.Owners {
		return
	}
	for _, src := range s.sources {
		if src.err != nil || !list.Owns(src.id) || list.Copies(src.id) {
			continue
		}
		held := &model.Columns{}
		if slices.Contains(holders, src) {
			if same {
				continue
			}
			held = &src.head.cols
		}
		missing := &model.Columns{}
		merge.Missing(missing, &merged.cols, held, s.c.opts.Rule)
		s.c.offerSamples(src.id, merged.labels, missing)
	}
}

func (s *Set) finish() {
	s.done = true
	if s.err = s.ctx.Err(); s.err != nil {
		return // then nodes that have not answered say nothing about themselves
	}
	for _, src := range s.sources {
		s.answers.note(src.id, standing{src.countsNow(), src.lost})
	}
	if s.asked.share != nil && s.otherRing() {
		s.err = errOtherRing
		return
	}
	s.warnings, s.err = s.answers.verdict(s.c.majority.Load())
	if len(s.warnings) > 0 {
		s.c.stats.incomplete.Inc()
	}
}

// At returns the current series, valid for as long as it is held.
func (s *Set) At() *Series { return s.current }

// Err is what ended the set, nil at its end.
func (s *Set) Err() error { return s.err }

// Warnings say what the answer may lack; they are complete when Next has
// returned false.
func (s *Set) Warnings() []string { return s.warnings }

// Close ends the asking. It may be called more than once.
func (s *Set) Close() {
	s.cancel()
	s.done = true
	for _, src := range s.sources {
		src.close()
	}
	if s.grace != nil {
		s.grace.Stop()
	}
}

// seriesCopy is one node's copy of a series.
type seriesCopy struct {
	labels labels.Labels
	cols   model.Columns
}

// part is what a source has at once.
type part struct {
	head   *selectHead // in the first part
	series []*seriesCopy
	err    error // io.EOF: the end
}

// source is one node's answer to a Select.
type source struct {
	id    ring.NodeID
	set   *Set
	ctx   context.Context // of the asking
	parts chan part       // capacity 2; of remote sources

	// Of the set's goroutine.
	standing
	tombstones []model.Tombstone
	queue      []*seriesCopy
	head       *seriesCopy
	ended      bool
	err        error

	here    Selection // of this node's own source
	next    int
	asked   selectRequest
	scratch model.Columns
}

// ready says whether nothing is waited for: there is a series, or none will
// come.
func (s *source) ready() bool { return s.head != nil || s.ended || s.err != nil }

// countsNow says whether the answer counts: this node may have heard since it was
// opened that its disk is an older copy.
func (s *source) countsNow() bool {
	return s.counts && s.err == nil && (s.here == nil || !s.set.c.refill.running())
}

func (s *source) openHere(q selectRequest) error {
	c := s.set.c
	sel, err := c.local.Select(s.set.ctx, q.mint, q.maxt, q.matchers...)
	if err != nil {
		return err
	}
	s.here, s.asked = sel, q
	s.standing = c.standing(timeRange{q.mint, q.maxt})
	s.tombstones = c.local.Tombstones(q.mint, q.maxt)
	return nil
}

// poll takes the next series if there is one; false when it is not known yet.
func (s *source) poll() bool {
	if s.here != nil {
		s.pollHere()
		return true
	}
	for {
		if len(s.queue) > 0 {
			s.head, s.queue = s.queue[0], s.queue[1:]
			return true
		}
		select {
		case p := <-s.parts:
			if p.head != nil {
				s.standing, s.tombstones = p.head.standing, p.head.tombstones
			}
			s.queue = p.series
			switch {
			case errors.Is(p.err, io.EOF):
				s.ended = len(p.series) == 0
			case p.err != nil:
				s.err = p.err
			}
			if s.ready() {
				return true
			}
		default:
			return false
		}
	}
}

func (s *source) pollHere() {
	for s.next < s.here.Len() && !s.asked.inShare(s.here.Labels(s.next)) {
		s.next++
	}
	if s.next >= s.here.Len() {
		s.ended = true
		return
	}
	h := &seriesCopy{labels: s.here.Labels(s.next)}
	if err := s.asked.read(s.here, s.next, &h.cols, &s.scratch); err != nil {
		s.err = err
		return
	}
	s.next++
	s.head = h
}

// run reads a remote node's answer.
func (s *source) run(body []byte) {
	ctx := s.ctx
	p := s.set.c.peer(s.id)
	if p == nil {
		s.put(part{err: transport.ErrUnreachable})
		return
	}
	stream, err := p.Stream(ctx, opSelect, body)
	if err != nil {
		s.put(part{err: err})
		return
	}
	defer stream.Close()
	var r selectReader
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if rest := r.rest(); len(rest) > 0 {
				s.put(part{series: rest})
			}
			s.put(part{err: io.EOF})
			return
		}
		var p part
		if err == nil {
			p, err = r.read(chunk)
		}
		if err != nil {
			s.put(part{err: err})
			return
		}
		if !s.put(p) {
			return
		}
	}
}

func (s *source) put(p part) bool {
	select {
	case s.parts <- p:
	case <-s.ctx.Done():
		return false
	}
	select {
	case s.set.wake <- struct{}{}:
	default:
	}
	return true
}

func (s *source) close() {
	if s.here != nil {
		s.here.Close()
		s.here = nil
		s.ended = true
	}
}
