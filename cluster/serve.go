package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// The operations that nodes ask of one another.
const (
	opRing          transport.Op = 1 // the ring in force, as JSON
	opSelect        transport.Op = 2 // series and samples
	opLabelNames    transport.Op = 3
	opLabelValues   transport.Op = 4
	opExemplars     transport.Op = 5
	opMetadata      transport.Op = 6
	opDelete        transport.Op = 7 // store a tombstone
	opClock         transport.Op = 8 // a version above all that the node has met
	opOwe           transport.Op = 9 // keep a delete for a node that missed it
	opDigests       transport.Op = 10
	opAgree         transport.Op = 11 // a message about the next ring (C2)
	opWish          transport.Op = 12 // begin a change of the ring
	opReport        transport.Op = 13 // the node's part in a change of the ring
	opTakeRing      transport.Op = 14 // a ring that is newer than the node's
	opFrontier      transport.Op = 15 // the numbers of what the node has stored (C7)
	opUnite         transport.Op = 16 // the caller knows that the node holds all that the caller holds
	opCompare       transport.Op = 17 // compare with the asker and send it what it misses
	opSeriesDigests transport.Op = 18 // digests of single series in one slice of time
	opWindowDigests transport.Op = 19 // digests of whole windows
	opFragment      transport.Op = 20 // compute a part of a query over the node's own copy
	opSettle        transport.Op = 21 // a step of settling (V4)
	opHolds         transport.Op = 22 // say whether the node holds all of the asker's numbers
	opRemember      transport.Op = 23 // remember, durably, how far the asker's disk is (C2)
)

// opNames name the operations in the log.
var opNames = [...]string{
	opRing: "ring", opSelect: "select", opLabelNames: "label names", opLabelValues: "label values", opExemplars: "exemplars", opMetadata: "metadata",
	opDelete: "delete", opClock: "clock", opOwe: "owe", opDigests: "digests", opAgree: "agree", opWish: "wish", opReport: "report", opTakeRing: "take ring",
	opFrontier: "frontier", opUnite: "unite", opCompare: "compare", opSeriesDigests: "series digests", opWindowDigests: "digests of windows", opFragment: "fragment", opSettle: "settle", opHolds: "holds", opRemember: "remember",
}

func opName(op transport.Op) string {
	if int(op) < len(opNames) && opNames[op] != "" {
		return opNames[op]
	}
	return fmt.Sprintf("operation %d", op)
}

// handler answers the other nodes.
type handler Cluster

// Intern returns the reference of a series.
func (h *handler) Intern(ls labels.Labels) (model.Ref, error) { return h.local.Intern(ls) }

// Append stores a copy that another node coordinates.
func (h *handler) Append(ctx context.Context, r *transport.Request) func() (transport.AppendReply, error) {
	c := (*Cluster)(h)
	if err := c.enter(r.Ring); err != nil {
		return func() (transport.AppendReply, error) { return transport.AppendReply{}, err }
	}
	var parts []storing // in the order in which they began
	if r.Batch != nil {
		parts = []storing{c.beginStoring(ctx, r.Batch, howOf(r))}
	}
	for _, b := range r.Sections {
		parts = append(parts, c.beginStoring(ctx, b, pushed))
	}
	if !slices.ContainsFunc(parts, func(s storing) bool { return s.durable == nil }) {
		c.ledger.Shown(r.Origins)
	}
	began := time.Now()
	return func() (reply transport.AppendReply, err error) {
		defer c.gate.RUnlock()
		defer func() { c.logCall(ctx, "append", r.From, began, err) }()
		for i := range parts {
			err = errors.Join(err, parts[i].wait())
			reply.Stale = reply.Stale || parts[i].reply.Stale
			reply.Highest = max(reply.Highest, parts[i].reply.Highest)
		}
		if err != nil || reply.Stale {
			return reply, remoteError(err)
		}
		return reply, c.noteStored(r)
	}
}

// noteStored notes what comes with a copy that is durable: what others are owed
// of it, and its numbers.
func (c *Cluster) noteStored(r *transport.Request) error {
	for _, o := range r.Owed {
		for _, id := range o.Nodes {
			if err := c.hints.Add(id, o.Batch, o.Origins); err != nil {
				return err
			}
		}
	}
	c.ledger.Stored(r.Origins)
	return nil
}

// remoteError gives errors that the coordinator decides on their code.
func remoteError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrUnknownSeries):
		return transport.Errorf(transport.CodeUnknown, "%v", err)
	case errors.Is(err, ErrRefilling):
		return transport.Errorf(transport.CodeUnavailable, "%v", err)
	}
	return err
}

// enter is sameRing for what is stored: until c.gate is unlocked, which the
// caller does when there was no error, no newer ring comes into force.
func (c *Cluster) enter(number uint64) error {
	c.gate.RLock()
	if t := c.topo.Load(); number == 0 || t != nil && t.ring.Number() == number {
		return nil
	}
	c.gate.RUnlock()
	return c.sameRing(number)
}

// sameRing refuses what was grouped by another ring, and brings the newer one to
// whoever lacks it. 0 is for what does not depend on a ring.
func (c *Cluster) sameRing(number uint64) error {
	t := c.topo.Load()
	switch {
	case number == 0:
		return nil
	case t == nil || t.ring.Number() < number:
		c.changing.now()
		return transport.Errorf(transport.CodeNewRing, "node %d has not got ring %d yet", c.opts.Node, number)
	case t.ring.Number() > number:
		newer, err := c.ringBytes()
		if err != nil {
			return err
		}
		return &transport.RemoteError{Code: transport.CodeOldRing, Text: fmt.Sprintf("ring %d is in force, not %d", t.ring.Number(), number), Detail: newer}
	}
	return nil
}

// vouchesBy refuses where this node cannot say what it holds: by another ring, or
// while it refills.
func (c *Cluster) vouchesBy(number uint64) error {
	if err := c.sameRing(number); err != nil {
		return err
	}
	if c.refill.running() {
		return transport.Errorf(transport.CodeUnavailable, "node %d is refilling", c.opts.Node)
	}
	return nil
}

// storing is a batch that is being stored on this node.
type storing struct {
	reply   transport.AppendReply
	durable func() error // nil when it is not stored
	err     error
}

// wait returns when the batch is durable or cannot become so.
func (s *storing) wait() error {
	if s.err != nil || s.durable == nil {
		return s.err
	}
	return s.durable()
}

func howOf(r *transport.Request) storingHow {
	if r.Fresh {
		return fresh
	}
	return pushed
}

// beginStoring begins to store a batch: a fresh one is a client's, others are hints and
// repairs, which keep their version. A refilling node takes no fresh one until it
// knows how high the versions are that it may have lost (C5).
func (c *Cluster) beginStoring(ctx context.Context, b *model.Batch, how storingHow) storing {
	if how == fresh && c.refill.blocksWrites() {
		return storing{err: fmt.Errorf("%w and does not know yet which versions it has lost", ErrRefilling)}
	}
	c.clock.Observe(b.Version)
	var s storing
	if s.reply, s.durable, s.err = c.beginAdmitted(ctx, b, how); s.err != nil || s.reply.Stale {
		s.durable = nil
		if s.err != nil {
			c.noteTouched(b) // any part of it may be
		}
		return s
	}
	c.noteTouched(b)
	if how != fresh {
		c.digestCache.forget()
	}
	return s
}

// storeFresh stores a client's batch on this node, durably when it returns.
func (c *Cluster) storeFresh(ctx context.Context, b *model.Batch) (transport.AppendReply, error) {
	s := c.beginStoring(ctx, b, fresh)
	return s.reply, s.wait()
}

// store stores samples that keep their version, durably when it returns.
func (c *Cluster) store(ctx context.Context, b *model.Batch) (transport.AppendReply, error) {
	s := c.beginStoring(ctx, b, pushed)
	return s.reply, s.wait()
}

// noteTouched notes what was stored, after it was; any part of it, when storing it
// failed.
func (c *Cluster) noteTouched(b *model.Batch) {
	c.markLater()
	c.changes.note(b, time.Now(), func(slice int64) {
		w := windowOf(slice * sliceLength)
		c.windows.touch(w, w)
	})
}

// Call answers another node's question.
func (h *handler) Call(ctx context.Context, from ring.NodeID, op transport.Op, payload []byte, w *transport.Answer) error {
	c := (*Cluster)(h)
	began := time.Now()
	err := c.answer(ctx, from, op, payload, w)
	c.logCall(ctx, opName(op), from, began, err)
	return err
}

// requestID returns the correlation id of the client's request, "" without one.
func (c *Cluster) requestID(ctx context.Context) string {
	if c.opts.RequestIDs.Of == nil {
		return ""
	}
	return c.opts.RequestIDs.Of(ctx)
}

// logCall notes what another node asked for on behalf of a client.
func (c *Cluster) logCall(ctx context.Context, what string, from ring.NodeID, began time.Time, err error) {
	id := ""
	if c.opts.LogCalls {
		id = c.requestID(ctx)
	}
	if id == "" {
		return
	}
	line := []any{"msg", "asked by another node", "operation", what, "from", from, "seconds", time.Since(began).Seconds(), "request_id", id}
	if err != nil {
		line = append(line, "err", err)
	}
	// A log line that cannot be written has nowhere to be reported.
	_ = level.Debug(c.opts.Logger).Log(line...)
}

func (c *Cluster) answer(ctx context.Context, from ring.NodeID, op transport.Op, payload []byte, w *transport.Answer) error {
	d := wire.NewDecoder(payload)
	switch op {
	case opAgree:
		return c.serveAgree(ctx, payload, w)
	case opWish:
		return c.serveWish(ctx, payload)
	case opRemember:
		return c.serveRemember(from, payload)
	case opReport:
		return c.serveReport(payload, w)
	case opSeriesDigests:
		return c.serveSeriesDigests(ctx, &d, w)
	case opWindowDigests:
		return c.serveWindowDigests(ctx, &d, w)
	case opSettle:
		return c.serveSettle(ctx, payload, w)
	case opCompare:
		return c.serveCompare(ctx, from, &d, w)
	case opTakeRing:
		return c.serveTakeRing(payload)
	case opRing:
		answer, err := c.ringBytes()
		w.End(answer)
		return err
	case opSelect:
		return c.serveSelect(ctx, &d, w)
	case opFragment:
		return c.serveFragment(ctx, from, &d, w)
	case opLabelNames, opLabelValues:
		return c.serveLabels(ctx, op, &d, w)
	case opExemplars:
		return c.serveExemplars(ctx, &d, w)
	case opMetadata:
		return c.serveMetadata(&d, w)
	case opDelete:
		return c.serveDelete(ctx, &d)
	case opOwe:
		return c.serveOwe(&d)
	case opClock:
		w.End(wire.AppendUvarint(nil, uint64(c.clock.Now())))
		return nil
	case opFrontier:
		return c.serveFrontier(w)
	case opUnite:
		return c.serveUnite(from, &d)
	case opHolds:
		return c.serveHolds(from, &d, w)
	case opDigests:
		return c.serveDigests(ctx, &d, w)
	}
	return transport.Errorf(transport.CodeOther, "unknown operation %d of node %d", op, from)
}
