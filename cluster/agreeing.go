package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/count-db/count/cluster/agree"
	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/transport"
)

// Agreeing on the next ring (C2): what package agree decides is made durable and
// carried between the members here.

const (
	roundTimeout = 2 * time.Second        // for the answers of one round
	roundBackoff = 200 * time.Millisecond // at least, between two rounds of one proposer
)

// coreLocked returns this node's part in deciding the ring after the one in
// force. The caller holds c.mu.
func (c *Cluster) coreLocked() (*agree.Core, error) {
	r := c.state.Ring
	if r == nil {
		return nil, ErrNotFounded
	}
	if c.core != nil && c.core.Slot() == r.Number+1 {
		return c.core, nil
	}
	var saved agree.State
	if len(c.state.Vote) > 0 {
		var err error
		if saved, err = agree.DecodeState(c.state.Vote); err != nil {
			return nil, fmt.Errorf("read this node's vote: %w", err)
		}
	}
	self := agree.Voter{Node: c.opts.Node, Disk: c.diskID()}
	c.core = agree.New(self, r.Number+1, r.Electorate(), saved)
	if former := c.formerVoteLocked(r); former != "" {
		self.Disk = former
		c.core = agree.NewAcceptor(self, r.Number+1, r.Electorate(), saved)
	}
	return c.core, nil
}

// keepLocked makes durable what a step asks for. When that fails nothing of the
// step may leave this node.
func (c *Cluster) keepLocked(r agree.Ready) error {
	if r.Save == nil {
		return nil
	}
	old, start := c.state.Vote, &c.state.Past[len(c.state.Past)-1]
	c.state.Vote = agree.EncodeState(r.Save)
	start.Mark++ // a copy from before this vote is older
	if err := c.state.Save(c.opts.FS, c.opts.Dir); err != nil {
		c.state.Vote, c.core = old, nil
		start.Mark--
		return fmt.Errorf("make a vote durable: %w", err)
	}
	c.voting.mark = start.Mark
	return nil
}

// serveAgree takes a message of another member and answers with the reply to it.
func (c *Cluster) serveAgree(ctx context.Context, payload []byte, w *transport.Answer) error {
	m, err := agree.DecodeMessage(payload)
	if err != nil {
		return err
	}
	if m.Slot == 0 {
		return errors.New("ring 0 is not agreed on")
	}
	if err := c.sameRing(m.Slot - 1); err != nil {
		return err
	}
	if err := c.mayVote(); err != nil {
		return transport.Errorf(transport.CodeUnavailable, "%v", err)
	}
	r, err := c.stepAgree(m)
	if err != nil {
		return err
	}
	if err := c.tellMark(ctx); err != nil {
		return transport.Errorf(transport.CodeUnavailable, "%v", err)
	}
	for i := range r.Send {
		if r.Send[i].To == m.From.Node {
			w.End(agree.EncodeMessage(&r.Send[i]))
			break
		}
	}
	return nil
}

// stepAgree takes a message. What it decides is put in force.
func (c *Cluster) stepAgree(m agree.Message) (agree.Ready, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	core, err := c.coreLocked()
	if err != nil {
		return agree.Ready{}, err
	}
	r := core.Step(m)
	if err := c.keepLocked(r); err != nil {
		return agree.Ready{}, err
	}
	if r.Chosen == nil {
		return r, nil
	}
	record, err := decodeRecord(r.Chosen)
	if err == nil {
		err = c.adoptNewerLocked(record)
	}
	return r, err
}

func decodeRecord(value []byte) (*membership.RingRecord, error) {
	record := new(membership.RingRecord)
	if err := json.Unmarshal(value, record); err != nil {
		return nil, fmt.Errorf("read a chosen ring: %w", err)
	}
	return record, nil
}

func (c *Cluster) adoptNewerLocked(record *membership.RingRecord) error {
	if have := c.state.Ring; have != nil && have.Number >= record.Number {
		return nil
	}
	return c.adoptLocked(record)
}

// agreeOn has the members agree on a ring after the one in force. It returns
// what was chosen, which may be another's wish.
func (c *Cluster) agreeOn(ctx context.Context, wish *membership.RingRecord) (*membership.RingRecord, error) {
	value, err := json.Marshal(wish)
	if err != nil {
		return nil, err
	}
	for {
		chosen, err := c.round(ctx, wish.Number, value)
		if chosen != nil {
			return decodeRecord(chosen)
		}
		if errors.Is(err, agree.ErrNoVote) || errors.Is(err, errRingMoved) {
			return nil, err
		}
		// Two proposers stay out of each other's way by chance.
		t := time.NewTimer(roundBackoff + rand.N(2*roundBackoff))
		select {
		case <-t.C:
		case <-ctx.Done():
		case <-c.ctx.Done():
		}
		t.Stop()
		switch {
		case c.ctx.Err() != nil:
			return nil, ErrClosed
		case ctx.Err() != nil:
			return nil, unavailable(errors.Join(fmt.Errorf("no majority agreed on ring %d in time", wish.Number), err))
		}
	}
}

// errRingMoved means that the ring that was to be decided is in force already.
var errRingMoved = errors.New("the ring has changed meanwhile")

// round is one round of proposing; nil without an error when it came to nothing.
func (c *Cluster) round(ctx context.Context, slot uint64, value []byte) (chosen []byte, err error) {
	if err := c.mayVote(); err != nil {
		return nil, err
	}
	r, err := c.propose(slot, value)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	type reply struct {
		m   agree.Message
		err error
	}
	in := make(chan reply)
	waiting := 0
	for {
		if err := c.tellMark(ctx); err != nil {
			return nil, err // nothing of it may leave
		}
		for _, m := range r.Send {
			waiting++
			c.wg.Go(func() {
				answer, err := c.sendAgree(ctx, m)
				select {
				case in <- reply{answer, err}:
				case <-ctx.Done():
				}
			})
		}
		if r.Chosen != nil {
			// The messages that tell the others have a moment to leave.
			c.wg.Go(func() { drain(ctx, in, waiting) })
			return r.Chosen, nil
		}
		if waiting == 0 {
			return nil, err
		}
		select {
		case a := <-in:
			waiting--
			r = agree.Ready{}
			if a.err != nil {
				err = errors.Join(err, a.err)
				c.noteRing(a.err)
				continue
			}
			var stepErr error
			if r, stepErr = c.stepAgree(a.m); stepErr != nil {
				return nil, stepErr
			}
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		}
	}
}

func drain[T any](ctx context.Context, in <-chan T, n int) {
	for range n {
		select {
		case <-in:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Cluster) propose(slot uint64, value []byte) (agree.Ready, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	core, err := c.coreLocked()
	if err != nil {
		return agree.Ready{}, err
	}
	if core.Slot() != slot {
		return agree.Ready{}, errRingMoved
	}
	r, err := core.Propose(value)
	if err == nil {
		err = c.keepLocked(r)
	}
	if err == nil && r.Chosen != nil {
		var record *membership.RingRecord
		if record, err = decodeRecord(r.Chosen); err == nil {
			err = c.adoptNewerLocked(record)
		}
	}
	return r, err
}

// sendAgree sends one message and returns the reply.
func (c *Cluster) sendAgree(ctx context.Context, m agree.Message) (agree.Message, error) {
	p := c.peer(m.To)
	if p == nil {
		return agree.Message{}, fmt.Errorf("node %d: %w", m.To, transport.ErrUnreachable)
	}
	answer, err := p.Call(ctx, opAgree, agree.EncodeMessage(&m))
	if err != nil {
		return agree.Message{}, fmt.Errorf("node %d: %w", m.To, err)
	}
	if len(answer) == 0 {
		return agree.Message{Slot: m.Slot}, nil // nothing to say: a decision was heard
	}
	reply, err := agree.DecodeMessage(answer)
	if err == nil && reply.From.Node != m.To {
		err = fmt.Errorf("node %d answered for node %d", m.To, reply.From.Node)
	}
	return reply, err
}
