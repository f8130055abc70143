package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"

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
// lists, fragment.
type fragmentRequest struct {
	ring     uint64
	prove    bool // compute only lists that the copy is proved complete for
	lists    []int
	fragment []byte
}

func (q *fragmentRequest) append(dst []byte) []byte {
	flags := byte(0)
	if q.prove {
		flags = 1
	}
	dst = append(wire.AppendUvarint(dst, q.ring), flags)
	return append(appendLists(dst, q.lists), q.fragment...)
}

// maxFragmentAnswer bounds the bytes of an answer.
const maxFragmentAnswer = 1 << 30

// askFragment has a node compute a fragment. head is called with the lists that
// it does not compute, before the answer.
func (c *Cluster) askFragment(ctx context.Context, id ring.NodeID, q *fragmentRequest, head func(others []int)) ([]byte, error) {
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
	others := make([]int, 0, d.Count(1))
	for range cap(others) {
		others = append(others, int(d.Uint32Varint()))
	}
	if d.Err() != nil {
		return nil, d.Err()
	}
	head(others)
	if len(others) >= len(q.lists) {
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

// serveFragment answers with a head, the lists that are not computed, and the
// answer of the FragmentRunner in parts.
func (c *Cluster) serveFragment(ctx context.Context, d *wire.Decoder, w *transport.Answer) error {
	t, runner := c.topo.Load(), c.fragments.Load()
	if t == nil || !c.settled.Load() || runner == nil || c.refill.running() {
		return transport.Errorf(transport.CodeUnavailable, "node %d is starting or refilling", c.opts.Node)
	}
	number, prove := d.Uvarint(), d.Byte()&1 != 0
	if d.Err() != nil {
		return d.Err()
	}
	if number == 0 {
		return wire.Corruptf("a fragment without a ring")
	}
	if err := c.sameRing(number); err != nil {
		return err
	}
	if t.ring.Number() != number {
		return transport.Errorf(transport.CodeNewRing, "node %d is changing to ring %d", c.opts.Node, number)
	}
	lists, others := decodeLists(d, t), []int(nil)
	fragment := d.Rest()
	if d.Err() != nil {
		return d.Err()
	}
	if prove {
		lists, others = c.prove(ctx, t, lists)
	}
	if err := w.Send(appendLists(nil, others)); err != nil {
		return err
	}
	if len(lists) == 0 {
		return nil
	}
	c.stats.fragments.WithLabelValues(fragmentServed).Inc()
	answer, err := (*runner)(ctx, newShare(t, lists), fragment)
	if err != nil {
		return err
	}
	for len(answer) > 0 {
		n := min(len(answer), fragmentPart)
		if err := w.Send(answer[:n]); err != nil {
			return err
		}
		answer = answer[n:]
	}
	return nil
}
