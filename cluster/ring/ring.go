package ring

import (
	"errors"
	"fmt"
	"slices"
	"sort"
)

// MaxMembers bounds a ring: a List names its members by 16-bit numbers.
const MaxMembers = 4096

// Member is one node of a ring.
type Member struct {
	ID   NodeID
	Zone string // empty: a zone of its own
}

// Ring is an immutable placement of members. All methods are safe for
// concurrent use.
type Ring struct {
	number  uint64
	rf      int
	members []Member // ascending by id

	tokens []uint64 // ascending; bucket i ends at tokens[i], inclusive
	first  []uint16 // member that has tokens[i]
	order  []uint16 // per bucket, width members clockwise: the candidates
	width  int      // candidates a bucket
	listOf []uint32 // per bucket, index into lists
	lists  []List
	shares []float64 // by list
	grid   []uint32  // by the top gridBits of a position: the first bucket to look at

	before, after *Ring // of a dual ring; nil otherwise
}

// List is one group of candidates: every series of its buckets is held by the
// same owners and has the same stand-ins.
type List struct {
	// Nodes are the candidates: the owners, ascending by id, then the stand-ins
	// in the order in which they stand in.
	Nodes []NodeID
	// Owners is the number of owners at the head of Nodes.
	Owners int
	// W is how many of Nodes make a write durable and a read complete.
	W int
	// Both are set in a dual ring: the candidates of the ring before and of the
	// one after. W of each are needed then.
	Both []Group
	// Copying are the candidates that copy the range in a dual ring, ascending.
	Copying []NodeID
	// held is Group.Held of Nodes.
	held int
	lost bool // candidates (Survived)
}

// Has says whether the node is a candidate.
func (l *List) Has(id NodeID) bool { return slices.Contains(l.Nodes, id) }

// Owns says whether the node is an owner.
func (l *List) Owns(id NodeID) bool { return slices.Contains(l.Nodes[:l.Owners], id) }

// gridBits sizes the table that finds a position's bucket: 2^gridBits entries.
const gridBits = 13

// Quorum returns W and the number of candidates for a replication factor over
// so many members (C1).
func Quorum(rf, members int) (w, candidates int) {
	capped := max(min(rf, members), 1)
	w = capped/2 + 1
	return w, min(2*w-1, members)
}

// New places the members. rf is the number of copies wanted; it is capped by the
// number of members when owners are chosen.
func New(number uint64, rf int, members []Member) (*Ring, error) {
	if rf < 1 {
		return nil, fmt.Errorf("ring: replication factor %d: at least 1 is needed", rf)
	}
	if len(members) == 0 {
		return nil, errors.New("ring: no members")
	}
	if len(members) > MaxMembers {
		return nil, fmt.Errorf("ring: %d members: at most %d are possible", len(members), MaxMembers)
	}
	r := &Ring{number: number, rf: rf, members: slices.Clone(members)}
	slices.SortFunc(r.members, byID)
	for i, m := range r.members {
		if m.ID == 0 {
			return nil, errors.New("ring: node id 0: ids are positive")
		}
		if i > 0 && m.ID == r.members[i-1].ID {
			return nil, fmt.Errorf("ring: node id %d is given twice", m.ID)
		}
	}
	r.place()
	r.group()
	r.index()
	return r, nil
}

// place sorts the tokens. Two equal tokens are as good as impossible, and then
// the lower node id comes first everywhere.
func (r *Ring) place() {
	type placed struct {
		token  uint64
		member uint16
	}
	all := make([]placed, 0, len(r.members)*VirtualNodes)
	for i, m := range r.members {
		for v := range VirtualNodes {
			all = append(all, placed{Token(m.ID, v), uint16(i)})
		}
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].token != all[j].token {
			return all[i].token < all[j].token
		}
		return all[i].member < all[j].member
	})
	r.tokens = make([]uint64, len(all))
	r.first = make([]uint16, len(all))
	for i, p := range all {
		r.tokens[i], r.first[i] = p.token, p.member
	}
}

// group walks clockwise from every bucket and gives equal groups one List.
func (r *Ring) group() {
	w, width := Quorum(r.rf, len(r.members))
	owners := min(r.rf, len(r.members))
	r.width = max(width, owners)
	r.order = make([]uint16, 0, len(r.tokens)*r.width)
	r.listOf = make([]uint32, len(r.tokens))
	byKey := map[string]uint32{}
	walk := newWalk(r, owners)
	key := make([]byte, 0, 2*r.width)
	for bucket := range r.tokens {
		order := walk.from(bucket)
		r.order = append(r.order, order...)
		sorted := slices.Clone(order)
		slices.Sort(sorted[:owners])
		key = key[:0]
		for _, m := range sorted {
			key = append(key, byte(m), byte(m>>8))
		}
		id, ok := byKey[string(key)]
		if !ok {
			id = uint32(len(r.lists))
			byKey[string(key)] = id
			l := List{Owners: owners, W: w, held: w, Nodes: make([]NodeID, 0, r.width)}
			for _, m := range sorted {
				l.Nodes = append(l.Nodes, r.members[m].ID)
			}
			r.lists = append(r.lists, l)
		}
		r.listOf[bucket] = id
	}
}

func (r *Ring) index() {
	r.grid = make([]uint32, 1<<gridBits)
	bucket := 0
	for i := range r.grid {
		low := uint64(i) << (64 - gridBits)
		for bucket < len(r.tokens) && r.tokens[bucket] < low {
			bucket++
		}
		r.grid[i] = uint32(bucket)
	}
	r.shares = make([]float64, len(r.lists))
	for b := range r.tokens {
		from, to := r.Range(b)
		width := float64(to-from) / (1 << 63) / 2 // around the end, too
		if len(r.tokens) == 1 {
			width = 1
		}
		r.shares[r.listOf[b]] += width
	}
}

// Number is the ring's number in the history of the cluster.
func (r *Ring) Number() uint64 { return r.number }

// RF is the replication factor wanted, not capped.
func (r *Ring) RF() int { return r.rf }

// Members returns the members ascending by id. The slice must not be changed.
func (r *Ring) Members() []Member { return r.members }

// Has says whether the node is a member.
func (r *Ring) Has(id NodeID) bool {
	_, ok := slices.BinarySearchFunc(r.members, id, func(m Member, id NodeID) int {
		switch {
		case m.ID < id:
			return -1
		case m.ID > id:
			return 1
		}
		return 0
	})
	return ok
}

// Buckets returns the number of buckets: one a token.
func (r *Ring) Buckets() int { return len(r.tokens) }

// Bucket returns the bucket that a position lies in.
func (r *Ring) Bucket(position uint64) int {
	i := int(r.grid[position>>(64-gridBits)])
	for i < len(r.tokens) && r.tokens[i] < position {
		i++
	}
	if i == len(r.tokens) {
		return 0 // behind the last token the circle begins again
	}
	return i
}

// Range returns the positions of a bucket: behind from, up to and including to;
// around the end of the circle when from >= to.
func (r *Ring) Range(bucket int) (from, to uint64) {
	return r.tokens[(bucket+len(r.tokens)-1)%len(r.tokens)], r.tokens[bucket]
}

// ListOf returns the number of the position's candidate list, below
// len(Lists()). Numbers of different rings have nothing to do with each other.
func (r *Ring) ListOf(position uint64) int { return int(r.listOf[r.Bucket(position)]) }

// ListOfBucket returns the number of a bucket's candidate list.
func (r *Ring) ListOfBucket(bucket int) int { return int(r.listOf[bucket]) }

// Lists returns all candidate lists. The slice must not be changed.
func (r *Ring) Lists() []List { return r.lists }

// Share returns the share of all series that a list is of.
func (r *Ring) Share(list int) float64 { return r.shares[list] }

// Candidates appends the candidates of a position clockwise: owners first.
func (r *Ring) Candidates(dst []NodeID, position uint64) []NodeID {
	if r.Changing() {
		// Those of the ring before come first: they have the data.
		n := len(dst)
		dst = r.before.Candidates(dst, position)
		for _, id := range r.after.Candidates(nil, position) {
			if !slices.Contains(dst[n:], id) {
				dst = append(dst, id)
			}
		}
		return dst
	}
	if r.order == nil {
		return append(dst, r.lists[r.ListOf(position)].Nodes...) // see Survived
	}
	bucket := r.Bucket(position)
	for _, m := range r.order[bucket*r.width : (bucket+1)*r.width] {
		dst = append(dst, r.members[m].ID)
	}
	return dst
}

// Owners appends the owners of a position clockwise.
func (r *Ring) Owners(dst []NodeID, position uint64) []NodeID {
	n := len(dst)
	dst = r.Candidates(dst, position)
	if r.Changing() || r.order == nil {
		l := &r.lists[r.ListOf(position)]
		mine := slices.DeleteFunc(dst[n:], func(id NodeID) bool { return !l.Owns(id) })
		return dst[:n+len(mine)]
	}
	return dst[:n+min(r.rf, len(r.members))]
}

// Complete says whether answers of the given nodes make a complete read of every
// series: W candidates of each list. has must be cheap; it is asked repeatedly.
func (r *Ring) Complete(has func(NodeID) bool) bool {
	for i := range r.lists {
		if !r.lists[i].Complete(has) {
			return false
		}
	}
	return true
}

// Complete says whether W of the candidates are among the given nodes: W of each
// ring's in a dual ring.
func (l *List) Complete(has func(NodeID) bool) bool {
	if l.Both != nil {
		return count(l.Both[0].Nodes, has) >= l.Both[0].W && count(l.Both[1].Nodes, has) >= l.Both[1].W
	}
	return count(l.Nodes, has) >= l.W
}

// Count returns how many of the candidates are among the given nodes.
func (l *List) Count(has func(NodeID) bool) int { return count(l.Nodes, has) }
