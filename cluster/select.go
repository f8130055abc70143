package cluster

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// Sizes of the parts of an answer.
const (
	partBytes   = 128 << 10 // a part is sent when it is as large
	partSamples = 16 << 10  // a series is cut into runs of so many
)

// selectRequest is what opSelect asks for.
type selectRequest struct {
	ring       uint64 // that the asker goes by
	mint, maxt int64
	holder     ring.NodeID // only series that it is a candidate of; 0 = all
	lookback   int64       // ms before mint in which the sample before a histogram is looked for; 0 = it is not
	copying    bool        // of these, only what it copies in a change of the ring
	matchers   []*labels.Matcher
	share      *Share // only its series; nil = all
}

func (q *selectRequest) append(dst []byte) []byte {
	dst = wire.AppendUvarint(dst, q.ring)
	copying := uint64(0)
	if q.copying {
		copying = 1
	}
	dst = wire.AppendUvarint(dst, copying)
	dst = wire.AppendVarint(dst, q.mint)
	dst = wire.AppendVarint(dst, q.maxt)
	dst = wire.AppendUvarint(dst, uint64(q.holder))
	dst = wire.AppendUvarint(dst, uint64(q.lookback))
	dst = transport.AppendMatchers(dst, q.matchers)
	if q.share == nil {
		return dst
	}
	return appendLists(dst, q.share.numbers())
}

func decodeSelect(d *wire.Decoder) selectRequest {
	return selectRequest{ring: d.Uvarint(), copying: d.Uvarint() == 1, mint: d.Varint(), maxt: d.Varint(), holder: ring.NodeID(d.Uvarint()), lookback: int64(d.Uint32Varint()), matchers: transport.DecodeMatchers(d)}
}

// decodeShare reads the lists that a request may end with; nil: it has none.
func decodeShare(d *wire.Decoder, t *topology) *Share {
	if d.Len() == 0 {
		return nil
	}
	return newShare(t, decodeLists(d, t))
}

// appendLists appends the numbers of lists.
func appendLists(dst []byte, lists []int) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(lists)))
	for _, i := range lists {
		dst = wire.AppendUvarint(dst, uint64(i))
	}
	return dst
}

// decodeLists reads numbers of lists of a ring.
func decodeLists(d *wire.Decoder, t *topology) []int {
	out := make([]int, 0, d.Count(1))
	for range cap(out) {
		i := d.Uvarint()
		if i >= uint64(len(t.lists)) {
			d.Fail("list %d of %d", i, len(t.lists))
			return nil
		}
		out = append(out, int(i))
	}
	return out
}

// read fills cols with the samples of series i, and puts before the first
// histogram the sample that lies before it: it tells whether that one is a counter
// reset. scratch is for that sample.
func (q *selectRequest) read(sel Selection, i int, cols, scratch *model.Columns) error {
	if err := sel.Read(i, q.mint, q.maxt, cols); err != nil || q.lookback == 0 || len(cols.Hist) == 0 {
		return err
	}
	if len(cols.T) > 0 && cols.T[0] < cols.Hist[0].T {
		return nil // the float before it is there
	}
	if err := sel.Read(i, q.mint-q.lookback, q.mint-1, scratch); err != nil {
		return err
	}
	n, h := len(scratch.T), len(scratch.Hist)
	if h > 0 && (n == 0 || scratch.T[n-1] < scratch.Hist[h-1].T) {
		cols.Hist = slices.Insert(cols.Hist, 0, scratch.Hist[h-1])
	}
	return nil
}

// selectHead opens an answer.
type selectHead struct {
	standing
	tombstones []model.Tombstone
}

// serveSelect answers with a head and parts: runs of series, each its labels
// (left out when the run before was of the same series) and its samples with
// versions.
func (c *Cluster) serveSelect(ctx context.Context, d *wire.Decoder, w *transport.Answer) error {
	q := decodeSelect(d)
	if d.Err() != nil {
		return d.Err()
	}
	t := c.topo.Load()
	if t == nil || !c.settled.Load() {
		return transport.Errorf(transport.CodeUnavailable, "node %d is starting", c.opts.Node)
	}
	if err := c.sameRing(q.ring); err != nil {
		return err
	}
	if d.Len() > 0 && t.ring.Number() != q.ring {
		return transport.Errorf(transport.CodeNewRing, "node %d is changing to ring %d", c.opts.Node, q.ring)
	}
	if q.share = decodeShare(d, t); d.Err() != nil {
		return d.Err()
	}
	sel, err := c.local.Select(ctx, q.mint, q.maxt, q.matchers...)
	if err != nil {
		return err
	}
	defer sel.Close()
	buf := append([]byte(nil), c.standing(timeRange{q.mint, q.maxt}).byte())
	buf = transport.AppendTombstones(buf, c.local.Tombstones(q.mint, q.maxt))
	if err := w.Send(buf); err != nil {
		return err
	}
	buf = buf[:0]
	var cols, scratch model.Columns
	for i := range sel.Len() {
		ls := sel.Labels(i)
		if q.holder != 0 && !q.wants(t, ls) || !q.inShare(ls) {
			continue
		}
		if err := q.read(sel, i, &cols, &scratch); err != nil {
			return fmt.Errorf("read series %s: %w", ls, err)
		}
		if cols.Len() == 0 {
			continue
		}
		if buf, err = appendRuns(buf, ls, &cols, w.Send); err != nil {
			return err
		}
	}
	if len(buf) == 0 {
		return nil
	}
	return w.Send(buf)
}

// inShare says whether a series is in the share that was asked for.
func (q *selectRequest) inShare(ls labels.Labels) bool { return q.share == nil || q.share.Has(0, ls) }

// wants says whether a holder was asked for that the series belongs to.
func (q *selectRequest) wants(t *topology, ls labels.Labels) bool {
	l := &t.lists[t.ring.ListOf(model.SeriesIDOf(ls).Token())]
	if q.copying {
		return l.Copies(q.holder)
	}
	return l.Has(q.holder)
}

func (c *Cluster) countsByte() byte {
	if c.refill.running() {
		return 0
	}
	return 1
}

// appendRuns appends a series in runs and sends what has grown large enough.
func appendRuns(buf []byte, ls labels.Labels, cols *model.Columns, send func([]byte) error) ([]byte, error) {
	for from := 0; from == 0 || from < len(cols.T); from += partSamples {
		to := min(from+partSamples, len(cols.T))
		if from == 0 {
			buf = transport.AppendLabels(append(buf, 0), ls)
		} else {
			buf = append(buf, 1)
		}
		buf = transport.AppendColumns(buf, cols, from, to, to == len(cols.T))
		if len(buf) < partBytes {
			continue
		}
		if err := send(buf); err != nil {
			return nil, err
		}
		buf = buf[:0]
	}
	return buf, nil
}

// selectReader puts the parts of an answer together again.
type selectReader struct {
	headed bool
	open   *seriesCopy // the last series: more of it may come
}

// read takes one part. A series is handed out when the next one begins.
func (r *selectReader) read(chunk []byte) (part, error) {
	d := wire.NewDecoder(chunk)
	var p part
	if !r.headed {
		r.headed = true
		p.head = &selectHead{standing: standingOf(d.Byte()), tombstones: transport.DecodeTombstones(&d)}
		return p, d.Err()
	}
	for d.Len() > 0 {
		if more := d.Byte(); more == 0 {
			if r.open != nil {
				p.series = append(p.series, r.open)
			}
			r.open = &seriesCopy{labels: transport.DecodeLabels(&d)}
		} else if r.open == nil || more != 1 {
			return p, wire.Corruptf("a run of samples without a series")
		}
		transport.DecodeColumns(&d, &r.open.cols)
		if d.Err() != nil {
			return p, d.Err()
		}
	}
	return p, nil
}

// rest returns the last series.
func (r *selectReader) rest() []*seriesCopy {
	if r.open == nil {
		return nil
	}
	return []*seriesCopy{r.open}
}
