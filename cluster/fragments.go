package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/wire"
)

// FragmentRunner computes a fragment, as a Job holds it, over this node's own
// copy of a share. An error has the asking node give the share to another owner;
// what would fail everywhere belongs into the answer.
type FragmentRunner func(ctx context.Context, share *Share, fragment []byte) (answer []byte, err error)

// ServeFragments has this node compute what others ask of it.
func (c *Cluster) ServeFragments(run FragmentRunner) { c.fragments.Store(&run) }

// fragmentRequest is what opFragment asks for: ring number, flags (1 = prove),
// lists, wanted lists, frontier (with its length, empty without proving),
// fragment.
type fragmentRequest struct {
	ring  uint64
	prove bool // compute only lists that the copy is proved complete for
	lists []int
	// wanted are lists that the asking node computes: the answer begins with the
	// node's frontier of them, which saves a question.
	wanted []int
	// frontier is that of the asking node for the lists, for the same reason.
	frontier []byte
	fragment []byte
}

func (q *fragmentRequest) append(dst []byte) []byte {
	flags := byte(0)
	if q.prove {
		flags = 1
	}
	dst = append(wire.AppendUvarint(dst, q.ring), flags)
	dst = appendLists(appendLists(dst, q.lists), q.wanted)
	dst = wire.AppendBytes(dst, q.frontier)
	return append(dst, q.fragment...)
}

func decodeFragmentRequest(d *wire.Decoder, t *topology) fragmentRequest {
	q := fragmentRequest{ring: d.Uvarint(), prove: d.Byte()&1 != 0}
	if t.ring.Number() != q.ring {
		return q // its lists are others
	}
	q.lists, q.wanted = decodeLists(d, t), decodeLists(d, t)
	q.frontier = d.Bytes()
	q.fragment = d.Rest()
	return q
}

// frontierOfLists returns this node's frontier of some lists of the ring.
func (c *Cluster) frontierOfLists(t *topology, lists []int) []byte {
	share := newShare(t, lists)
	return c.appendFrontier(nil, t, func(s frontier.Stream) bool {
		return s.Ring == t.ring.Number() && int(s.List) < len(share.lists) && share.lists[s.List]
	})
}

// fragmentHead is what an answer begins with: lists that the node does not
// compute, and its frontier of the wanted ones, where there are any.
type fragmentHead struct {
	others   []int
	frontier *known
}

func decodeFragmentHead(d *wire.Decoder) fragmentHead {
	h := fragmentHead{others: make([]int, 0, d.Count(1))}
	for range cap(h.others) {
		h.others = append(h.others, int(d.Uint32Varint()))
	}
	if d.Len() > 0 {
		k := decodeFrontier(d)
		h.frontier = &k
	}
	return h
}

// maxFragmentAnswer bounds the bytes of an answer.
const maxFragmentAnswer = 1 << 30

// askFragment has a node compute a fragment. head is called with what the answer
// begins with.
func (c *Cluster) askFragment(ctx context.Context, id ring.NodeID, q *fragmentRequest, head func(fragmentHead)) ([]byte, error) {
	p := c.peer(id)
	if p == nil {
		return nil, transport.ErrUnreachable
	}
	stream, err := p.Stream(ctx, opFragment, q.append(nil))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	chunk, err := stream.Recv()
	if err != nil {
		return nil, fmt.Errorf("head of a fragment: %w", err)
	}
	d := wire.NewDecoder(chunk)
	h := decodeFragmentHead(&d)
	if d.Err() != nil {
		return nil, d.Err()
	}
	head(h)
	if len(h.others) >= len(q.lists) {
		return nil, errNothingProved
	}
	var answer []byte
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return answer, nil
		}
		if err != nil {
			return nil, err
		}
		if len(answer)+len(chunk) > maxFragmentAnswer {
			return nil, fmt.Errorf("answer of node %d to a fragment: more than %d bytes", id, maxFragmentAnswer)
		}
		if answer == nil {
			answer = chunk // most answers are one
		} else {
			answer = append(answer, chunk...)
		}
	}
}

// fragmentPart is the size of the parts of an answer.
const fragmentPart = 512 << 10

// serveFragment answers with a head and the answer of the FragmentRunner in parts.
func (c *Cluster) serveFragment(ctx context.Context, from ring.NodeID, d *wire.Decoder, w *transport.Answer) error {
	t, runner := c.topo.Load(), c.fragments.Load()
	if t == nil || !c.settled.Load() || runner == nil || c.refill.running() {
		return transport.Errorf(transport.CodeUnavailable, "node %d is starting or refilling", c.opts.Node)
	}
	q := decodeFragmentRequest(d, t)
	switch {
	case d.Err() != nil:
		return d.Err()
	case q.ring == 0:
		return wire.Corruptf("a fragment without a ring")
	case q.ring != t.ring.Number():
		if err := c.sameRing(q.ring); err != nil {
			return err
		}
		return transport.Errorf(transport.CodeNewRing, "node %d is changing to ring %d", c.opts.Node, q.ring)
	}
	head := []byte(nil)
	if len(q.wanted) > 0 {
		// Before the proof: what the asking node lacks of it then it may wait for.
		head = c.frontierOfLists(t, q.wanted)
	}
	lists, others := q.lists, []int(nil)
	if q.prove {
		given := map[ring.NodeID]frontierSource{from: givenFrontier(q.frontier)}
		lists, others = c.prove(ctx, t, lists, given)
	}
	if err := w.Send(append(appendLists(nil, others), head...)); err != nil || len(lists) == 0 {
		return err
	}
	c.stats.fragments.WithLabelValues(fragmentServed).Inc()
	answer, err := (*runner)(ctx, newShare(t, lists), q.fragment)
	if err != nil {
		return err
	}
	for len(answer) > fragmentPart {
		if err := w.Send(answer[:fragmentPart]); err != nil {
			return err
		}
		answer = answer[fragmentPart:]
	}
	w.End(answer)
	return nil
}

// givenFrontier is the source of a frontier that came with a request.
func givenFrontier(data []byte) frontierSource {
	return func(context.Context) (known, error) {
		d := wire.NewDecoder(data)
		return decodeFrontier(&d), d.Err()
	}
}
