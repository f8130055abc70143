package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/noted"
)

// patience is how long a read that is not complete waits for a node that gives
// no sign of life.
const patience = time.Second

// answers is who has answered a read so far, and who cannot.
type answers struct {
	t      *topology
	lists  []ring.List // that must be complete
	level  quorum.Level
	counts map[ring.NodeID]bool  // answered, and its answer counts
	lost   map[ring.NodeID]bool  // answered, and has lost samples of the range for good
	failed map[ring.NodeID]error // will not answer
}

func newAnswers(t *topology, level quorum.Level) *answers {
	return &answers{t: t, lists: t.lists, level: level, counts: map[ring.NodeID]bool{}, lost: map[ring.NodeID]bool{}, failed: map[ring.NodeID]error{}}
}

func (a *answers) complete() bool {
	return a.level.Complete(a.lists, func(id ring.NodeID) bool { return a.counts[id] })
}

// verdict says what is to be said of the answer: nothing when it is complete, a
// warning when it is not, and an error when some range has no answer at all.
func (a *answers) verdict(majority bool) (warnings []string, err error) {
	if !majority {
		warnings = append(warnings, "possibly stale: "+ErrMinority.Error())
	}
	if a.complete() {
		return append(warnings, a.gone()...), nil
	}
	why := a.missing()
	if !quorum.One.Complete(a.lists, func(id ring.NodeID) bool { return a.counts[id] }) {
		return nil, unavailable(fmt.Errorf("%w: %s", ErrNoAnswer, why))
	}
	return append(warnings, "possibly incomplete or stale: fewer copies answered than asked for: "+why), nil
}

// gone warns of what is lost at every node that answered of those that hold it.
func (a *answers) gone() []string {
	var losers []ring.NodeID
	for i := range a.lists {
		var here []ring.NodeID
		kept := false
		for _, id := range a.lists[i].Group(0).Nodes {
			kept = kept || a.counts[id] && !a.lost[id]
			if a.counts[id] && a.lost[id] && !slices.Contains(losers, id) {
				here = append(here, id)
			}
		}
		if !kept {
			losers = append(losers, here...)
		}
	}
	if len(losers) == 0 {
		return nil
	}
	slices.Sort(losers)
	return []string{fmt.Sprintf("%snodes %v have lost some of this range, and there is no other copy", noted.Gone, losers)}
}

// needs says whether the node is a candidate of anything that was asked for.
func (a *answers) needs(id ring.NodeID) bool {
	return slices.ContainsFunc(a.lists, func(l ring.List) bool { return l.Has(id) })
}

func (a *answers) missing() string {
	var parts []string
	for _, m := range a.t.ring.Members() {
		switch err := a.failed[m.ID]; {
		case a.counts[m.ID] || !a.needs(m.ID):
		case err != nil:
			parts = append(parts, fmt.Sprintf("node %d: %v", m.ID, err))
		default:
			parts = append(parts, fmt.Sprintf("node %d: no answer", m.ID))
		}
	}
	return strings.Join(parts, "; ")
}

func (a *answers) note(id ring.NodeID, s standing) {
	a.counts[id], a.lost[id] = s.counts, s.counts && s.lost
}

// reply is one node's answer to a question that is answered at once.
type reply[T any] struct {
	id    ring.NodeID
	value T
	standing
	err error
}

// question is asked of all members: here by a direct call.
type question[T any] struct {
	op     transport.Op
	body   []byte
	here   func(ctx context.Context) (T, error)
	decode func(payload []byte) (T, error)
	span   timeRange // that it is about
}

// ask puts a question to all members and returns their answers: those that came
// until they were complete and a short grace had passed.
func ask[T any](ctx context.Context, c *Cluster, q question[T]) ([]T, []string, error) {
	t, err := c.readable()
	if err != nil {
		return nil, nil, err
	}
	if t.alone {
		value, err := q.here(ctx)
		a := newAnswers(t, quorum.One)
		a.note(c.opts.Node, c.standing(q.span))
		return []T{value}, a.gone(), err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	members := t.ring.Members()
	in := make(chan reply[T], len(members))
	for _, m := range members {
		go func() { in <- askOne(ctx, c, m.ID, q) }()
	}
	a := newAnswers(t, quorum.LevelFrom(ctx))
	values, err := collect(ctx, c, a, in)
	if err != nil {
		return nil, nil, err
	}
	warnings, err := a.verdict(c.majority.Load())
	return values, warnings, err
}

func askOne[T any](ctx context.Context, c *Cluster, id ring.NodeID, q question[T]) reply[T] {
	r := reply[T]{id: id}
	if id == c.opts.Node {
		r.value, r.err = q.here(ctx)
		r.standing = c.standing(q.span)
		return r
	}
	p := c.peer(id)
	if p == nil {
		r.err = transport.ErrUnreachable
		return r
	}
	payload, err := p.Call(ctx, q.op, q.body)
	if err == nil && len(payload) == 0 {
		err = transport.Errorf(transport.CodeOther, "empty answer")
	}
	if err != nil {
		r.err = err
		return r
	}
	r.standing = standingOf(payload[0])
	r.value, r.err = q.decode(payload[1:])
	return r
}

// collect takes answers until they are complete and the grace is over, or nobody
// is left to wait for. Those that do not count are left out where the others are
// complete: a node that refills may have what was deleted.
func collect[T any](ctx context.Context, c *Cluster, a *answers, in <-chan reply[T]) ([]T, error) {
	replies, err := collectAll(ctx, c, a, in)
	if err != nil {
		return nil, err
	}
	complete := a.complete()
	var values []T
	for i := range replies {
		if replies[i].counts || !complete {
			values = append(values, replies[i].value)
		}
	}
	return values, nil
}

func collectAll[T any](ctx context.Context, c *Cluster, a *answers, in <-chan reply[T]) ([]reply[T], error) {
	var replies []reply[T]
	var grace <-chan time.Time
	look := time.NewTicker(patience / 10)
	defer look.Stop()
	began := time.Now()
	for answered := 0; answered+len(a.failed) < len(a.t.ring.Members()); {
		if a.complete() && grace == nil {
			t := time.NewTimer(c.opts.Grace)
			defer t.Stop()
			grace = t.C
		}
		select {
		case r := <-in:
			if _, late := a.failed[r.id]; late {
				continue
			}
			if r.err != nil {
				a.failed[r.id] = r.err
				continue
			}
			answered++
			a.note(r.id, r.standing)
			replies = append(replies, r)
		case <-grace:
			return replies, nil
		case <-look.C:
			for _, m := range a.t.ring.Members() {
				if _, done := a.counts[m.ID]; !done && a.failed[m.ID] == nil && time.Since(began) > patience && c.doubtfulNode(m.ID) {
					a.failed[m.ID] = quorum.ErrSilent
				}
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return replies, nil
}

// readable returns the ring that reads go by, or why there are none.
func (c *Cluster) readable() (*topology, error) {
	t := c.topo.Load()
	switch {
	case t == nil:
		return nil, unavailable(c.notFounded())
	case !t.alone && !c.settled.Load():
		return nil, unavailable(fmt.Errorf("starting: %w", ErrMinority))
	}
	return t, nil
}
