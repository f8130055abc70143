package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/spread"
	"github.com/count-db/count/cluster/transport"
)

// Where no node holds all series a query is computed where they lie: each list by
// one owner whose copy of it is provably complete (C7), and what no owner could
// vouch for by the asking node over series merged from W copies.
//
//	Assign ──▶ owners prove and say for which lists they cannot (the heads)
//	   ▲            │                        │
//	   └── others ◀─┴─ fails, falls silent   └─ no owner left ──▶ merged here
//
// The results of the runs together are of every series once.

const (
	// headPatience is how long an owner may take to say what it computes: longer
	// than a proof that fails.
	headPatience = 4 * frontierTimeout
	// spreadLook is the time between two looks for owners that fell silent.
	spreadLook = 50 * time.Millisecond
)

// ErrNotSpread says that a computation is not spread now: the ring is changing,
// this node sees no majority, or all owners were asked for. Then it runs over
// Select.
var ErrNotSpread = errors.New("not spread over the owners")

// ErrUseless may be wrapped by errors of a Job's Here and Decode: then the lists
// are given to another owner. Every other error of a Job ends the computation.
var ErrUseless = errors.New("not computed by this owner")

// Job is a computation over all series whose results for parts of them can be
// put together. Its functions but Take are called from several goroutines.
type Job[T any] struct {
	// Fragment is what other nodes are asked; they give it to their
	// FragmentRunner.
	Fragment []byte
	// Turn chooses among equal owners. Jobs that are alike have the same, so that the
	// same nodes compute the same parts again, of which they keep what they can.
	Turn uint64
	// Here computes over this node's own copy of a share.
	Here func(ctx context.Context, share *Share) (T, error)
	// Decode reads what another node's FragmentRunner answered.
	Decode func(answer []byte) (T, error)
	// Take is given each result that counts, one after the other, before the next is
	// there: its error ends the computation. Nil: all are taken.
	Take func(result T) error
	// Merged computes over a share by reading it from several copies, with
	// Cluster.SelectShare.
	Merged func(ctx context.Context, share *Share) (T, error)
}

// Spread carries a job out and returns the results of its parts. ErrNotSpread:
// it has to run over Select.
func Spread[T any](ctx context.Context, c *Cluster, job Job[T]) ([]T, error) {
	t, err := c.readable()
	if err != nil {
		return nil, err
	}
	level := quorum.LevelFrom(ctx)
	if t.alone || t.ring.Changing() || !t.member || !c.majority.Load() || level == quorum.All {
		return nil, ErrNotSpread
	}
	select {
	case c.spreads <- struct{}{}:
		defer func() { <-c.spreads }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &spreading[T]{
		c: c, t: t, job: job, prove: level != quorum.One,
		events: make(chan event[T]), tried: map[tried]bool{}, load: map[ring.NodeID]float64{},
	}
	defer s.running.Wait()
	defer cancel()
	for i := range t.lists {
		s.open = append(s.open, i)
	}
	return s.run(ctx)
}

// spreading is one run of Spread. It belongs to one goroutine; others send it
// events.
type spreading[T any] struct {
	c     *Cluster
	t     *topology
	job   Job[T]
	prove bool // owners have to prove that they are complete

	open    []int // lists that nobody computes
	merging []int // lists that no owner computes
	tried   map[tried]bool
	load    map[ring.NodeID]float64
	runs    []*run
	results []T
	events  chan event[T]
	running sync.WaitGroup
}

type tried struct {
	list int
	id   ring.NodeID
}

// run is one part on its way.
type run struct {
	id     ring.NodeID
	lists  []int
	headed bool // it has been said for which lists the node computes
	merged bool // over several copies
	// wanted are lists of the asking node's own run of which the node is a
	// candidate; frontier takes what it has stored of them. given are such
	// frontiers, of the asking node's own run.
	wanted   []int
	frontier chan<- known
	given    map[ring.NodeID]frontierSource
	began    time.Time
	cancel   context.CancelFunc
	over     bool
}

// event is what happened to a run: its head, or its end.
type event[T any] struct {
	run    *run
	head   bool
	others []int // head: lists that the node does not compute
	result T
	err    error
}

func (s *spreading[T]) run(ctx context.Context) ([]T, error) {
	look := time.NewTicker(spreadLook)
	defer look.Stop()
	for {
		s.assign(ctx)
		if len(s.runs) == 0 {
			return s.results, nil
		}
		select {
		case e := <-s.events:
			if err := s.take(ctx, e); err != nil {
				return nil, err
			}
		case <-look.C:
			s.giveUpSilent()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// assign begins to have the open lists computed.
func (s *spreading[T]) assign(ctx context.Context) {
	if len(s.open) > 0 {
		byNode, nobody := spread.Assign(spread.Request{
			Ring: s.t.ring, Self: s.c.opts.Node, Lists: s.open, Usable: s.usable, Load: s.load, Turn: s.job.Turn,
		})
		s.open, s.merging = nil, append(s.merging, nobody...)
		self := s.c.opts.Node
		here := &run{id: self, lists: byNode[self]}
		for id, lists := range byNode {
			if id != self {
				s.begin(ctx, s.runAt(id, lists, here))
			}
		}
		if len(here.lists) > 0 {
			s.begin(ctx, here)
		}
	}
	if len(s.merging) == 0 {
		return
	}
	for _, r := range s.runs {
		if !r.headed {
			return // it may leave more: they are merged in one pass
		}
	}
	s.begin(ctx, &run{id: s.c.opts.Node, lists: s.merging, merged: true, headed: true})
	s.merging = nil
}

// runAt returns the run of another node. Where that is a candidate of lists that
// this node computes in here, the head of its answer has its frontier of them.
func (s *spreading[T]) runAt(id ring.NodeID, lists []int, here *run) *run {
	r := &run{id: id, lists: lists}
	if !s.prove {
		return r
	}
	for _, i := range here.lists {
		if s.t.lists[i].Has(id) {
			r.wanted = append(r.wanted, i)
		}
	}
	if len(r.wanted) == 0 {
		return r
	}
	frontiers := make(chan known, 1)
	r.frontier = frontiers
	if here.given == nil {
		here.given = map[ring.NodeID]frontierSource{}
	}
	here.given[id] = func(ctx context.Context) (known, error) {
		select {
		case k, ok := <-frontiers:
			if !ok {
				return k, transport.ErrUnreachable
			}
			return k, nil
		case <-ctx.Done():
			return known{}, ctx.Err()
		}
	}
	return r
}

// usable says whether an owner may be given a list.
func (s *spreading[T]) usable(list int, id ring.NodeID) bool {
	return !s.tried[tried{list, id}] && s.c.canCompute(id)
}

// canCompute says whether a node seems able to compute for others.
func (c *Cluster) canCompute(id ring.NodeID) bool {
	if id == c.opts.Node {
		return !c.refill.running()
	}
	if c.doubtfulNode(id) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.view.Get(id, time.Now())
	return ok && n.Up && !n.Refilling
}

func (s *spreading[T]) begin(ctx context.Context, r *run) {
	for _, i := range r.lists {
		s.tried[tried{i, r.id}] = true
	}
	r.began = time.Now()
	var runCtx context.Context
	runCtx, r.cancel = context.WithCancel(ctx)
	s.runs = append(s.runs, r)
	share := newShare(s.t, r.lists)
	s.running.Go(func() {
		defer r.cancel()
		e := event[T]{run: r}
		switch {
		case r.merged:
			s.c.stats.fragments.WithLabelValues(fragmentMerged).Inc()
			if e.result, e.err = s.job.Merged(runCtx, share); e.err != nil {
				e.err = jobError{e.err}
			}
		case r.id == s.c.opts.Node:
			e.result, e.err = s.here(runCtx, r)
		default:
			s.c.stats.fragments.WithLabelValues(fragmentRemote).Inc()
			e.result, e.err = s.remote(runCtx, r)
		}
		s.send(runCtx, e)
	})
}

// send hands an event over; nobody takes that of a run which was given up.
func (s *spreading[T]) send(ctx context.Context, e event[T]) {
	select {
	case s.events <- e:
	case <-ctx.Done():
	}
}

// here computes the lists that this node can prove to hold.
func (s *spreading[T]) here(ctx context.Context, r *run) (none T, err error) {
	lists, others := r.lists, []int(nil)
	if s.prove {
		lists, others = s.c.prove(ctx, s.t, lists, r.given)
	}
	s.send(ctx, event[T]{run: r, head: true, others: others})
	if len(lists) == 0 {
		return none, errNothingProved
	}
	s.c.stats.fragments.WithLabelValues(fragmentOwn).Inc()
	result, err := s.job.Here(ctx, newShare(s.t, lists))
	if err != nil {
		return none, jobError{err}
	}
	return result, nil
}

// errNothingProved ends a run whose head left all lists to others.
var errNothingProved = errors.New("no list is computed")

// remote has another node compute the lists.
func (s *spreading[T]) remote(ctx context.Context, r *run) (none T, err error) {
	q := fragmentRequest{ring: s.t.ring.Number(), prove: s.prove, lists: r.lists, wanted: r.wanted, fragment: s.job.Fragment}
	if s.prove {
		q.frontier = s.c.frontierOfLists(s.t, r.lists)
	}
	told := false
	tell := func(k *known) {
		if r.frontier == nil || told {
			return
		}
		told = true
		if k != nil {
			r.frontier <- *k // there is room
		}
		close(r.frontier)
	}
	defer tell(nil)
	answer, err := s.c.askFragment(ctx, r.id, &q, func(h fragmentHead) {
		tell(h.frontier)
		s.send(ctx, event[T]{run: r, head: true, others: h.others})
	})
	if err != nil {
		return none, err
	}
	result, err := s.job.Decode(answer)
	if err != nil {
		return none, jobError{err}
	}
	return result, nil
}

// jobError is an error of the job itself.
type jobError struct{ error }

func (e jobError) Unwrap() error { return e.error }

// take notes what happened to a run.
func (s *spreading[T]) take(ctx context.Context, e event[T]) error {
	r := e.run
	if r.over {
		return nil
	}
	if e.head {
		s.leave(r, e.others)
		r.headed = true
		return nil
	}
	s.end(r)
	var own jobError
	switch {
	case e.err == nil:
		s.results = append(s.results, e.result)
		if s.job.Take != nil {
			return s.job.Take(e.result)
		}
		return nil
	case errors.Is(e.err, errNothingProved):
		return nil
	case errors.Is(e.err, errOtherRing):
		return fmt.Errorf("%w: %w", ErrNotSpread, e.err)
	case errors.As(e.err, &own) && !errors.Is(e.err, ErrUseless):
		return own.error
	case ctx.Err() != nil:
		return ctx.Err() // what fails then fails because of it
	case r.merged:
		return e.err
	case isOtherRing(e.err):
		s.c.noteRing(e.err)
		return fmt.Errorf("%w: node %d: %w", ErrNotSpread, r.id, e.err)
	}
	s.retry(r)
	return nil
}

// leave opens lists that a run does not compute.
func (s *spreading[T]) leave(r *run, others []int) {
	if len(others) == 0 {
		return
	}
	keep := newShare(s.t, others)
	var lists []int
	for _, i := range r.lists {
		if keep.lists[i] {
			s.open = append(s.open, i)
		} else {
			lists = append(lists, i)
		}
	}
	r.lists = lists
}

// retry has the lists of a run computed by others.
func (s *spreading[T]) retry(r *run) {
	s.c.stats.fragmentsMoved.Inc()
	s.open = append(s.open, r.lists...)
}

// end forgets a run.
func (s *spreading[T]) end(r *run) {
	r.over = true
	r.cancel()
	for i, other := range s.runs {
		if other == r {
			s.runs = append(s.runs[:i], s.runs[i+1:]...)
			return
		}
	}
}

// giveUpSilent gives what silent owners were asked for to others.
func (s *spreading[T]) giveUpSilent() {
	for _, r := range append([]*run(nil), s.runs...) {
		if r.id == s.c.opts.Node {
			continue
		}
		if s.c.doubtfulNode(r.id) || !r.headed && time.Since(r.began) > headPatience {
			s.end(r)
			s.retry(r)
		}
	}
}
