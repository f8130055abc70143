package settle

import (
	"fmt"
	"hash/maphash"
	"testing"

	"github.com/count-db/count/internal/model"
)

// The exhaustive search runs the real State at three owners of one sample, of
// which any two acknowledge and any two complete a read. Clients write a, write b
// over it, delete it and write c, each after the one before was acknowledged.
// Whatever a node ever showed may reach any other at any time, again and again, or
// never: that is every push of anti-entropy, read repair and hints at once. The
// leader of rounds may die, members may take another ring, and one disk may be
// lost or replaced by an old copy. In every state it is checked that
//
//   - a complete read shows the last acknowledged operation or one begun later;
//   - members with the same floor hold the same at or below it.
//
// Not searched: several samples (they do not meet), ranges of time (From), two
// disks lost at once (what W candidates do not survive), and how digests are
// compared (Assess has its own test).

// The operations of the clients, in their order, and their versions. Floors lie
// between.
const (
	opA = iota
	opB
	opD // deletes
	opC
	operations
)

var versions = [operations]model.Version{1, 2, 4, 9}

const members = 3

// low is what a node holds of a and b.
type low struct {
	ver model.Version // 0: nothing
	op  uint8
}

type member struct {
	s         State
	ring      uint8
	low       low
	c         bool // the node holds c
	tomb      bool // and the delete
	purge     model.Version
	refilling bool
	learned   uint8 // 1 + sum of the floors learnt; 0: none
	merged    uint8
}

// world is one state of the search.
type world struct {
	n       [members]member
	begun   uint8 // bits of operations
	acked   uint8
	taken   [operations]uint8 // bits of nodes that took the fresh operation
	sent    uint32            // bits of copies that were ever shown: see copyBit
	running Round             // that the leader drives
	base    model.Version     // the highest floor when the round began
	answers [members]answer   // what members answered when they froze
	froze   uint8             // who answered
	rounds  uint8             // begun so far
	said    [2]bool           // by round: the leader's decision is on its way
	inRing  [2]uint8          // by round: its ring
	ringNow uint8
	losses  uint8
}

// answer is what a member holds at or below a floor.
type answer struct {
	low
	tomb bool
}

// broken are rules left out, to see that the search finds what they are for.
type broken struct {
	noPromise, noLook, noDeletes, noFreeze, noDrop, noRevoke, noPurge, noAgain, early bool
}

type instance struct {
	broken
	ops     int // operations of the clients: the first ones
	skip    int // one that is left out
	floors  []model.Version
	rings   uint8 // changes of the ring
	losses  uint8 // of disks
	oldCopy bool  // the lost disk comes back as a copy of when a was stored
	leaders uint8 // the leader's process may die
}

// copyBit numbers what is sent: versions up to 7, of a or b; c and the delete.
func copyBit(l low) uint32 { return 1 << (uint32(l.ver) + 8*uint32(l.op)) }

const (
	sentC    = 1 << 24
	sentTomb = 1 << 25
)

// visible is what a node shows of a and b: its storage goes by the versions as
// they were stored.
func (m *member) visible() low {
	l := m.low
	if l.ver == 0 || m.tomb && l.ver < versions[opD] || l.ver < m.purge {
		return low{}
	}
	if l.ver <= m.s.Floor {
		l.ver = m.s.Floor
	}
	return l
}

func (m *member) store(l low) {
	if l.ver > m.low.ver || l.ver == m.low.ver && l.op > m.low.op {
		m.low = l
	}
}

// below is what is visible at or below a floor.
func (m *member) below(f model.Version) low {
	if v := m.visible(); v.ver <= f && v.ver > 0 {
		return low{1, v.op}
	}
	return low{}
}

// settled is what is at or below a floor, as reads of this node and another show
// it.
func (m member) settled(f model.Version, o *member) low {
	m.tomb = m.tomb || o.tomb
	return m.below(f)
}

func (in *instance) steps(w world, emit func(world)) {
	add := func(f func(n *world) bool) {
		n := w
		if f(&n) {
			n.note()
			if n != w {
				emit(n)
			}
		}
	}
	in.clients(w, add)
	for i := range members {
		in.copies(w, i, add)
		in.member(w, i, add)
		in.refill(w, i, add)
	}
	in.leader(w, add)
}

// note records what is shown now: it may be sent.
func (w *world) note() {
	if w.running == (Round{}) {
		w.froze, w.base, w.answers = 0, 0, [members]answer{}
	}
	for i := range w.n {
		m := &w.n[i]
		if m.refilling {
			continue // it is asked nothing
		}
		if v := m.visible(); v.ver > 0 {
			w.sent |= copyBit(v)
		}
		if m.c {
			w.sent |= sentC
		}
		if m.tomb {
			w.sent |= sentTomb
		}
	}
}

func (in *instance) clients(w world, add func(func(*world) bool)) {
	last := -1
	for op := range in.ops {
		if op == in.skip {
			continue
		}
		bit := uint8(1) << op
		add(func(n *world) bool {
			if n.begun&bit != 0 || last >= 0 && n.acked&(1<<last) == 0 {
				return false
			}
			n.begun |= bit
			return true
		})
		last = op
		if w.begun&bit == 0 {
			continue
		}
		for i := range members {
			add(func(n *world) bool { return in.fresh(n, i, op) })
		}
	}
}

// fresh delivers an operation of a client to a node.
func (in *instance) fresh(n *world, i, op int) bool {
	m, bit := &n.n[i], uint8(1)<<i
	if n.taken[op]&bit != 0 || !m.s.Fresh(versions[op]) || m.refilling && m.learned == 0 {
		return false
	}
	n.taken[op] |= bit
	switch op {
	case opD:
		m.tomb = true
	case opC:
		m.c = true
	default:
		m.store(low{versions[op], uint8(op)})
	}
	if count(n.taken[op]) >= 2 {
		n.acked |= 1 << op
	}
	return true
}

func count(bits uint8) int { return int(bits&1 + bits>>1&1 + bits>>2&1) }

// copies delivers what was ever shown to node i.
func (in *instance) copies(w world, i int, add func(func(*world) bool)) {
	verdict := func(m *member, v Verdict) bool {
		return v == Take || v == Later && in.noFreeze || v == Drop && in.noDrop
	}
	for op := uint8(opA); op <= opB; op++ {
		for ver := model.Version(1); ver < 8; ver++ {
			l := low{ver, op}
			if w.sent&copyBit(l) == 0 {
				continue
			}
			add(func(n *world) bool {
				m := &n.n[i]
				if !verdict(m, m.s.Copy(ver, 0)) {
					return false
				}
				m.store(l)
				return true
			})
		}
	}
	if w.sent&sentC != 0 {
		add(func(n *world) bool { n.n[i].c = true; return true })
	}
	if w.sent&sentTomb != 0 {
		add(func(n *world) bool {
			m := &n.n[i]
			v, _ := m.s.Delete(versions[opD], 0, 0)
			if !verdict(m, v) {
				return false
			}
			m.tomb = true
			return true
		})
	}
}

// member does what a member does alone.
func (in *instance) member(w world, i int, add func(func(*world) bool)) {
	add(func(n *world) bool { // the delete is worked in and forgotten
		m := &n.n[i]
		if !m.tomb || m.s.Floor < versions[opD] && !in.early {
			return false
		}
		if m.visible().ver == 0 {
			m.low = low{}
		}
		m.tomb = false
		return true
	})
	add(func(n *world) bool { // versions are forgotten
		m := &n.n[i]
		if v := m.visible(); v.ver > 0 {
			m.low = v
			return true
		}
		return false
	})
	add(func(n *world) bool { // another ring
		m := &n.n[i]
		if m.ring >= n.ringNow {
			return false
		}
		m.ring = n.ringNow
		m.s.Enter(uint64(m.ring))
		return true
	})
	frozen := w.n[i].s.Frozen
	if frozen == (Round{}) {
		return
	}
	add(func(n *world) bool { // asks the leader
		m := &n.n[i]
		switch n.n[0].s.OutcomeOf(frozen, n.running) {
		case Settled:
			return m.s.Decide(frozen) == nil
		case Dropped:
			m.s.Release(frozen)
			return true
		}
		return false
	})
}

// refill lets a node lose its disk and merge it back from both others.
func (in *instance) refill(w world, i int, add func(func(*world) bool)) {
	j, k := (i+1)%members, (i+2)%members
	if w.losses < in.losses && !w.n[i].refilling && !w.n[j].refilling && !w.n[k].refilling {
		add(func(n *world) bool {
			n.losses++
			for op := range operations {
				if n.acked&(1<<op) == 0 {
					n.taken[op] &^= 1 << i // a refill outlasts the deadline of a write
				}
			}
			m := &n.n[i]
			s := m.s
			*m = member{ring: m.ring, refilling: true}
			if in.noRevoke {
				m.s = s
			}
			if i == 0 {
				n.running = Round{} // its process has died
			}
			if in.oldCopy && n.taken[opA]&(1<<i) != 0 {
				m.low = low{versions[opA], opA}
			}
			return true
		})
	}
	if !w.n[i].refilling {
		return
	}
	floors := func(n *world) uint8 { return 1 + uint8(n.n[j].s.Floor+n.n[k].s.Floor) }
	add(func(n *world) bool {
		m := &n.n[i]
		if m.learned > 0 {
			return false
		}
		m.learned, m.merged = floors(n), 0
		m.s.Promise(max(n.n[j].s.Mark, n.n[k].s.Mark))
		if !in.noPurge {
			m.purge = max(n.n[j].s.Floor, n.n[k].s.Floor)
		}
		return true
	})
	if w.n[i].learned == 0 {
		return
	}
	for _, from := range []int{j, k} {
		add(func(n *world) bool {
			m, o := &n.n[i], &n.n[from]
			if v := o.visible(); v.ver > 0 {
				m.store(v)
			}
			m.tomb, m.c = m.tomb || o.tomb, m.c || o.c
			m.merged |= 1 << from
			return true
		})
	}
	add(func(n *world) bool {
		m := &n.n[i]
		if count(m.merged) < 2 {
			return false
		}
		if floors(n) != m.learned && !in.noAgain {
			m.learned = 0
			return true
		}
		m.refilling, m.learned, m.merged = false, 0, 0
		return true
	})
}

// leader drives rounds: node 0 does.
func (in *instance) leader(w world, add func(func(*world) bool)) {
	add(func(n *world) bool {
		if n.running != (Round{}) || int(n.rounds) == len(in.floors) || n.n[0].refilling || n.n[0].s.Frozen != (Round{}) {
			return false
		}
		n.running = Round{Floor: in.floors[n.rounds], Leader: 1, Start: uint64(n.rounds), Ring: uint64(n.n[0].ring)}
		n.inRing[n.rounds] = n.n[0].ring
		for i := range members {
			n.base = max(n.base, n.n[i].s.Floor)
		}
		n.rounds++
		return true
	})
	if w.ringNow < in.rings {
		add(func(n *world) bool { n.ringNow++; return true })
	}
	r := w.running
	for i, said := range w.said {
		if said {
			r := Round{Floor: in.floors[i], Leader: 1, Start: uint64(i), Ring: uint64(w.inRing[i])}
			for j := range members {
				add(func(n *world) bool { return n.n[j].s.Decide(r) == nil })
			}
		}
	}
	if r == (Round{}) {
		return
	}
	add(func(n *world) bool { n.running = Round{}; return in.leaders > 0 }) // it dies, or gives up
	promised := true
	for i := range members {
		promised = promised && (in.noPromise || w.n[i].s.Mark >= r.Floor)
		if !in.noPromise {
			add(func(n *world) bool { n.n[i].s.Promise(r.Floor); return true })
		}
	}
	if !promised {
		return
	}
	for i := range members {
		add(func(n *world) bool {
			m := &n.n[i]
			if in.noPromise {
				m.s.Mark = max(m.s.Mark, r.Floor)
				defer func(mark model.Version) { m.s.Mark = mark }(w.n[i].s.Mark)
			}
			if n.froze&(1<<i) != 0 || m.refilling || m.s.Freeze(r, uint64(m.ring)) != nil {
				return false
			}
			n.froze |= 1 << i
			n.answers[i] = answer{m.below(r.Floor), m.tomb && versions[opD] > n.base && versions[opD] <= r.Floor && !in.noDeletes}
			return true
		})
	}
	if count(w.froze) < members || !in.noLook && (w.answers[0] != w.answers[1] || w.answers[1] != w.answers[2]) {
		return
	}
	add(func(n *world) bool {
		if n.n[0].s.Decide(r) != nil {
			return false
		}
		n.said[r.Start] = true
		n.running = Round{}
		return true
	})
}

// wrong says what must not be in a state; empty: nothing.
func (in *instance) wrong(w *world) string {
	lastAcked := nothing
	for op := range in.ops {
		if w.acked&(1<<op) != 0 {
			lastAcked = op
		}
	}
	for i := range members {
		j := (i + 1) % members
		a, b := &w.n[i], &w.n[j]
		if a.refilling || b.refilling {
			continue
		}
		if !in.allowed(w, lastAcked, read(a, b)) {
			return "a complete read shows neither the last acknowledged operation nor a later one"
		}
		if f := a.s.Floor; f > 0 && f == b.s.Floor && a.settled(f, b) != b.settled(f, a) {
			return "members with one floor hold different samples below it"
		}
	}
	return ""
}

// nothing is what an empty answer shows.
const nothing = -1

// read is a complete read of two members: the operation that it shows.
func read(a, b *member) int {
	if a.c || b.c {
		return opC
	}
	best := low{}
	for _, m := range []*member{a, b} {
		v := m.visible()
		if v.ver > best.ver || v.ver == best.ver && v.op > best.op {
			best = v
		}
	}
	if best.ver == 0 || (a.tomb || b.tomb) && best.ver < versions[opD] {
		return nothing
	}
	return int(best.op)
}

// allowed says whether an answer may be given after lastAcked was acknowledged.
func (in *instance) allowed(w *world, lastAcked, got int) bool {
	if got == nothing {
		return lastAcked == nothing || lastAcked == opD || lastAcked < opD && w.begun&(1<<opD) != 0
	}
	return got >= lastAcked && w.begun&(1<<got) != 0
}

// run searches all states and returns how many there are, and what is wrong in
// the first wrong one, with the way to it.
func (in *instance) run(most int) (states int, fault string) {
	first := world{}
	seed := maphash.MakeSeed()
	seen := map[uint64]struct{}{maphash.Comparable(seed, first): {}}
	queue, from := []world{first}, []int{0}
	for at := 0; at < len(queue) && len(seen) < most; at++ {
		w := queue[at]
		if fault := in.wrong(&w); fault != "" {
			for ; at > 0; at = from[at] {
				fault += "\n" + queue[at].String()
			}
			return len(seen), fault
		}
		in.steps(w, func(n world) {
			key := maphash.Comparable(seed, n)
			if _, ok := seen[key]; !ok {
				seen[key] = struct{}{}
				queue, from = append(queue, n), append(from, at)
			}
		})
	}
	return len(seen), ""
}

func (w *world) String() string {
	s := fmt.Sprintf("begun %b acked %b running %d froze %b said %v", w.begun, w.acked, w.running.Floor, w.froze, w.said)
	for i := range w.n {
		m := &w.n[i]
		s += fmt.Sprintf(" | mark %d floor %d frozen %d ring %d holds %d@%d c %v delete %v purge %d refilling %v %d %b",
			m.s.Mark, m.s.Floor, m.s.Frozen.Floor, m.ring, m.low.op, m.low.ver, m.c, m.tomb, m.purge, m.refilling, m.learned, m.merged)
	}
	return s
}

func TestModelSettling(t *testing.T) {
	for _, c := range []struct {
		name string
		in   instance
	}{
		{"two writes, the leader dies", instance{ops: 2, skip: -1, floors: []model.Version{3}, leaders: 1}},
		{"a write and a delete, the ring changes", instance{ops: 3, skip: opB, floors: []model.Version{5}, leaders: 1, rings: 1}},
		{"a write, a delete, a write", instance{ops: 4, skip: opB, floors: []model.Version{5}}},
		{"a disk is lost", instance{ops: 3, skip: opB, floors: []model.Version{5}, losses: 1}},
		{"an old disk comes back", instance{ops: 3, skip: opB, floors: []model.Version{5}, losses: 1, oldCopy: true}},
		{"two rounds", instance{ops: 3, skip: opB, floors: []model.Version{3, 5}}},
	} {
		states, fault := c.in.run(mostStates)
		if fault != "" {
			t.Errorf("%s: %s", c.name, fault)
		}
		t.Logf("%s: %d states", c.name, states)
	}
}

const mostStates = 1_000_000

// TestModelFindsBrokenRules: leaving out a rule makes the search find a fault.
func TestModelFindsBrokenRules(t *testing.T) {
	twoWrites := instance{ops: 2, skip: -1, floors: []model.Version{3}}
	deleted := instance{ops: 3, skip: opB, floors: []model.Version{5}, leaders: 1, rings: 1}
	oldDisk := instance{ops: 3, skip: opB, floors: []model.Version{5}, losses: 1, oldCopy: true}
	for _, c := range []struct {
		name string
		in   instance
		rule func(*broken)
	}{
		{"fresh writes below the floor are taken", deleted, func(b *broken) { b.noPromise = true }},
		{"contents are not compared", twoWrites, func(b *broken) { b.noLook = true }},
		{"deletes are not compared", deleted, func(b *broken) { b.noDeletes = true }},
		{"copies are taken while frozen", instance{ops: 1, skip: -1, floors: []model.Version{3}, losses: 1}, func(b *broken) { b.noFreeze = true }},
		{"copies below the floor are taken", deleted, func(b *broken) { b.noDrop = true }},
		{"deletes are forgotten before they are settled", deleted, func(b *broken) { b.early = true }},
		{"a node that lost data keeps its floor", oldDisk, func(b *broken) { b.noRevoke = true }},
		{"what the others settled is not removed from an old disk", oldDisk, func(b *broken) { b.noPurge = true }},
		{"floors that rose during a refill are not seen", oldDisk, func(b *broken) { b.noAgain = true }},
	} {
		c.rule(&c.in.broken)
		states, fault := c.in.run(mostStates)
		if fault == "" {
			t.Errorf("%s: nothing was found in %d states", c.name, states)
		}
	}
}
