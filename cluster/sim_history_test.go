package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// simKey is a sample that clients write: a series and a timestamp.
type simKey struct {
	name string
	at   int64
}

// simOp is a write or a delete that a client tried. Its number is the value that
// it writes, so a value says where it comes from.
type simOp struct {
	number int
	delete bool
	keys   []simKey
	node   int
	began  uint64 // position in the order of all that clients do
	ended  uint64 // 0: not yet
	from   time.Time
	until  time.Time
	acked  bool
	unsure map[string]bool // by series: it may be lost, though it was acknowledged
}

// ackedOf says whether the operation was acknowledged, and must not be lost, for a
// series.
func (o *simOp) ackedOf(name string) bool { return o.acked && !o.unsure[name] }

// simPair are two writes of a sample that were acknowledged at the same time, and
// which of them was read.
type simPair struct {
	key           simKey
	winner, loser int
}

// simHistory is all that clients did, and checks what they read (contract.md):
//
//   - a complete read shows what was acknowledged last before it began, or what was
//     tried later or at the same time. A write that was refused or never answered
//     may show up over one that was acknowledged later as long as the time between
//     the two is less than clocks may differ, and not after that;
//   - of two acknowledged at the same time the same one wins in all reads;
//   - what is deleted is gone, what was never written is not read.
//
// What was lost with so many members that nobody else may hold it counts as refused
// (unsure).
//
// Not checked: reads that are marked or refused. Those may lack anything, and
// show only what was written.
type simHistory struct {
	mu     sync.Mutex
	began  time.Time
	took   time.Duration // of virtual time, at the end
	span   time.Duration // how far the clocks of two nodes may be apart
	now    uint64
	ops    []*simOp
	byKey  map[simKey][]*simOp
	beaten map[simPair]bool
	log    []string
	first  string // the first failure
	failed chan struct{}

	answers simSum // of all complete reads

	acked, refused, reads, marked, deletes int
}

func newSimHistory(span time.Duration) *simHistory {
	return &simHistory{began: time.Now(), span: span, byKey: map[simKey][]*simOp{}, beaten: map[simPair]bool{}, failed: make(chan struct{})}
}

// note adds to the log of what happened.
func (h *simHistory) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noteLocked(format, args...)
}

func (h *simHistory) noteLocked(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf("%12.3fs  ", time.Since(h.began).Seconds())+fmt.Sprintf(format, args...))
}

// fail ends the life with a reason.
func (h *simHistory) fail(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failLocked(format, args...)
}

func (h *simHistory) failLocked(format string, args ...any) {
	if h.first == "" {
		h.first = fmt.Sprintf(format, args...)
		h.noteLocked("FAILED: %s", h.first)
		close(h.failed)
	}
}

func (h *simHistory) over() bool {
	select {
	case <-h.failed:
		return true
	default:
		return false
	}
}

// tell returns the failure with the last things that happened before it.
func (h *simHistory) tell(last int) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	events := h.log
	for i, e := range events {
		if strings.Contains(e, "FAILED: ") {
			events = events[:i+1]
			break
		}
	}
	return strings.Join(events[max(0, len(events)-last):], "\n")
}

// beginOp notes that an operation begins.
func (h *simHistory) beginOp(node int, del bool, keys []simKey) *simOp {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	o := &simOp{number: len(h.ops) + 1, delete: del, keys: keys, node: node, began: h.now, from: time.Now()}
	h.ops = append(h.ops, o)
	for _, k := range keys {
		h.byKey[k] = append(h.byKey[k], o)
	}
	return o
}

// endOp notes how it ended.
func (h *simHistory) endOp(o *simOp, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	o.ended, o.until, o.acked = h.now, time.Now(), err == nil
	what, how := "write", "acknowledged"
	if o.delete {
		what = "delete"
		h.deletes++
	}
	if h.acked++; err != nil {
		h.acked--
		h.refused++
		how = err.Error()
	}
	h.noteLocked("%s %d of %s through node %d: %s", what, o.number, keysText(o.keys), o.node, how)
}

func keysText(keys []simKey) string {
	var out []string
	for _, k := range keys {
		out = append(out, fmt.Sprintf("%s@%d", k.name, k.at))
	}
	return strings.Join(out, " ")
}

// unsure notes that what was acknowledged so far of some series may be lost.
func (h *simHistory) unsure(of func(name string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.ops {
		for _, k := range o.keys {
			if o.unsure[k.name] || !of(k.name) {
				continue
			}
			if o.unsure == nil {
				o.unsure = map[string]bool{}
			}
			o.unsure[k.name] = true
		}
	}
}

// simRead is a read that a client makes.
type simRead struct {
	node   int
	began  uint64
	from   time.Time
	what   string
	series map[string]bool // nil: all
}

func (h *simHistory) beginRead(node int, what string, series ...string) simRead {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	r := simRead{node: node, began: h.now, from: time.Now(), what: what}
	for _, name := range series {
		if r.series == nil {
			r.series = map[string]bool{}
		}
		r.series[name] = true
	}
	return r
}

// endRead checks an answer. An incomplete one may lack anything.
func (h *simHistory) endRead(r simRead, got map[string]map[int64]float64, complete bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	for name, samples := range got {
		for at, v := range samples {
			o := h.opOf(simKey{name, at}, v)
			if o == nil {
				h.failLocked("%s through node %d shows %g for %s@%d, which was never written", r.what, r.node, v, name, at)
				return
			}
		}
	}
	if !complete {
		h.marked++
		return
	}
	h.reads++
	h.answers.add(r, got)
	for _, k := range h.keysLocked() {
		if r.series != nil && !r.series[k.name] {
			continue
		}
		v, found := got[k.name][k.at]
		if why := h.wrong(r, k, v, found); why != "" {
			h.failLocked("%s through node %d: %s", r.what, r.node, why)
			return
		}
	}
}

func (h *simHistory) keysLocked() []simKey {
	return slices.SortedFunc(maps.Keys(h.byKey), func(a, b simKey) int {
		if a.name != b.name {
			return strings.Compare(a.name, b.name)
		}
		return int(a.at - b.at)
	})
}

// opOf returns the write that wrote a value.
func (h *simHistory) opOf(k simKey, v float64) *simOp {
	n := int(v)
	if n < 1 || n > len(h.ops) || float64(n) != v {
		return nil
	}
	if o := h.ops[n-1]; !o.delete && slices.Contains(o.keys, k) {
		return o
	}
	return nil
}

// wrong says why an answer is wrong for a key; empty: it is right.
func (h *simHistory) wrong(r simRead, k simKey, v float64, found bool) string {
	all := h.byKey[k]
	if found {
		o := h.opOf(k, v)
		if by := h.superseded(r, k, o); by != nil {
			return fmt.Sprintf("%s@%d is %d, and %d was acknowledged after that and before the read\n%s", k.name, k.at, o.number, by.number, h.textOf(all))
		}
		return h.sameWinner(r, k, all, o)
	}
	// Nothing is there: as in the beginning, or by a delete.
	by := h.superseded(r, k, nil)
	if by == nil {
		return ""
	}
	for _, o := range all {
		if o.delete && h.superseded(r, k, o) == nil {
			return ""
		}
	}
	return fmt.Sprintf("%s@%d is missing, and %d was acknowledged before the read\n%s", k.name, k.at, by.number, h.textOf(all))
}

// superseded returns an operation that was acknowledged before the read began and
// after the given one was over, nil when there is none. Nil stands for the
// beginning.
func (h *simHistory) superseded(r simRead, k simKey, o *simOp) *simOp {
	for _, by := range h.byKey[k] {
		if by == o || !by.ackedOf(k.name) || by.ended >= r.began {
			continue
		}
		acked := o != nil && o.ackedOf(k.name)
		if o == nil || acked && o.ended < by.began || !acked && o.ended != 0 && o.ended < by.began && h.apart(o, by) {
			return by
		}
	}
	return nil
}

// apart says whether the time between the end of a refused operation and the begin
// of one that was acknowledged is more than clocks may differ.
func (h *simHistory) apart(refused, by *simOp) bool { return by.from.Sub(refused.until) > h.span }

// sameWinner checks that of two that were acknowledged at the same time the same
// one wins again and again.
func (h *simHistory) sameWinner(r simRead, k simKey, all []*simOp, o *simOp) string {
	if !o.ackedOf(k.name) || o.ended >= r.began {
		return ""
	}
	for _, by := range all {
		if by == o || by.delete || !by.ackedOf(k.name) || by.ended >= r.began || by.ended < o.began || o.ended < by.began {
			continue
		}
		if h.beaten[simPair{k, by.number, o.number}] {
			return fmt.Sprintf("%s@%d is %d, and it was %d before: both were acknowledged at the same time\n%s", k.name, k.at, o.number, by.number, h.textOf(all))
		}
		h.beaten[simPair{k, o.number, by.number}] = true
	}
	return ""
}

func (h *simHistory) textOf(ops []*simOp) string {
	var b strings.Builder
	for _, o := range ops[max(0, len(ops)-12):] {
		how := "refused"
		if o.acked {
			how = "acknowledged"
			if len(o.unsure) > 0 {
				how = "acknowledged, and may be lost"
			}
		} else if o.ended == 0 {
			how = "under way"
		}
		fmt.Fprintf(&b, "  %d delete=%v through node %d from %.3fs to %.3fs: %s\n", o.number, o.delete, o.node, o.from.Sub(h.began).Seconds(), o.until.Sub(h.began).Seconds(), how)
	}
	return b.String()
}
