package frontier

import (
	"sync"

	"github.com/count-db/count/cluster/ring"
)

// Ledger is what one node knows of its own completeness since its start. Safe
// for concurrent use.
type Ledger struct {
	mu      sync.Mutex
	sets    Sets                   // what is durable here: others are told of it
	shown   Sets                   // what reads of this node show: the sets, and what is not durable yet
	bases   map[ring.NodeID]uint64 // by node: the start of it in which it said that this node holds all that it held
	changed chan struct{}          // closed and replaced when the sets grow
	late    map[Stream]uint64      // a number that was waited for in vain
}

// NewLedger returns the ledger of a node that has just started.
func NewLedger() *Ledger {
	return &Ledger{sets: Sets{}, shown: Sets{}, bases: map[ring.NodeID]uint64{}, changed: make(chan struct{}), late: map[Stream]uint64{}}
}

// Shown notes what reads of this node show from now on, durable or not. That is
// enough for an answer from this copy: what was acknowledged is durable at W others
// whatever becomes of it here.
func (l *Ledger) Shown(origins []Origin) {
	if len(origins) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range origins {
		l.shown.Add(&origins[i])
	}
	l.wakeLocked()
}

// Stored notes what was stored durably. It must be called before the batch is
// confirmed to anybody.
func (l *Ledger) Stored(origins []Origin) {
	if len(origins) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range origins {
		l.sets.Add(&origins[i])
		l.shown.Add(&origins[i])
	}
	l.wakeLocked()
}

func (l *Ledger) wakeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Snapshot returns a copy of the sets.
func (l *Ledger) Snapshot() Sets {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sets.Clone()
}

// AppendSets appends the sets of the streams that are wanted as they are sent.
func (l *Ledger) AppendSets(dst []byte, want func(Stream) bool) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sets.Of(want).Append(dst)
}

// Unite takes another node's word, in its given start, that this node holds all
// that it held before that start and all of the sets.
func (l *Ledger) Unite(node ring.NodeID, start uint64, sets Sets) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bases[node] = start
	l.sets.Unite(sets)
	l.shown.Unite(sets)
	l.wakeLocked()
}

// Complete says whether this node shows everything that another holds, which in
// the given start has these sets; if not, changed is closed when that may be
// different. It is nil when waiting does not help: no base is known (based is
// false), or a number is missing that was waited for in vain (GiveUp).
func (l *Ledger) Complete(node ring.NodeID, start uint64, sets Sets) (ok, based bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, has := l.bases[node]; !has || known != start {
		return false, false, nil
	}
	ok, changed = true, l.changed
	l.lackingLocked(sets, func(stream Stream, n uint64) {
		ok = false
		if n <= l.late[stream] {
			changed = nil
		}
	})
	return ok, true, changed
}

// lackingLocked calls f with the lowest number that is missing of each stream.
func (l *Ledger) lackingLocked(sets Sets, f func(Stream, uint64)) {
	for stream, theirs := range sets {
		mine := l.shown[stream]
		if mine == nil {
			mine = &Set{}
		}
		if n := mine.lacks(theirs); n > 0 {
			f(stream, n)
		}
	}
}

// GiveUp notes that what is missing of these sets did not come while it was
// waited for: it is owed by a hint or lost, and nobody waits for it again.
func (l *Ledger) GiveUp(sets Sets) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lackingLocked(sets, func(stream Stream, n uint64) { l.late[stream] = max(l.late[stream], n) })
}

// Gaps returns how many runs of numbers are missing in all streams.
func (l *Ledger) Gaps() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, s := range l.sets {
		n += s.Gaps()
	}
	return n
}
