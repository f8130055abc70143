package registry

import "github.com/count-db/count/internal/model"

// refTable is a hash table from 64-bit hashes to references, by linear
// probing. It holds no pointers and no keys: the caller says which of the
// references under a hash is meant. The zero value is an empty table.
type refTable struct {
	slots []refSlot // a power of two long, or empty
	used  int       // slots that are not free, deleted ones included
}

// refSlot is free when ref is 0 and tag is 0, and deleted when ref is 0 and
// tag is not.
type refSlot struct {
	tag uint32 // high half of the hash, so that most probes need no look at the series
	ref model.Ref
}

const minTableSlots = 16

// find returns the reference for which match says yes, or 0.
func (t *refTable) find(hash uint64, match func(model.Ref) bool) model.Ref {
	if len(t.slots) == 0 {
		return 0
	}
	mask, tag := uint64(len(t.slots)-1), uint32(hash>>32)
	for i := slotOf(hash, mask); ; i = (i + 1) & mask {
		s := t.slots[i]
		if s.ref == 0 && s.tag == 0 {
			return 0
		}
		if s.ref != 0 && s.tag == tag && match(s.ref) {
			return s.ref
		}
	}
}

// insert adds a reference that is not in the table. hashOf tells the hash of
// those that are, should the table have to grow.
func (t *refTable) insert(hash uint64, ref model.Ref, hashOf func(model.Ref) uint64) {
	if (t.used+1)*4 > len(t.slots)*3 {
		t.grow(hashOf)
	}
	t.put(hash, ref)
}

func (t *refTable) put(hash uint64, ref model.Ref) {
	mask := uint64(len(t.slots) - 1)
	i := slotOf(hash, mask)
	for t.slots[i].ref != 0 {
		i = (i + 1) & mask
	}
	if t.slots[i].tag == 0 {
		t.used++
	}
	t.slots[i] = refSlot{tag: uint32(hash >> 32), ref: ref}
}

// remove takes a reference out.
func (t *refTable) remove(hash uint64, ref model.Ref) {
	if len(t.slots) == 0 {
		return
	}
	mask := uint64(len(t.slots) - 1)
	for i := slotOf(hash, mask); ; i = (i + 1) & mask {
		s := t.slots[i]
		if s.ref == 0 && s.tag == 0 {
			return
		}
		if s.ref == ref {
			t.slots[i] = refSlot{tag: 1}
			return
		}
	}
}

func (t *refTable) grow(hashOf func(model.Ref) uint64) {
	live := 0
	for _, s := range t.slots {
		if s.ref != 0 {
			live++
		}
	}
	size := minTableSlots
	for (live+1)*2 > size {
		size *= 2
	}
	old := t.slots
	t.slots, t.used = make([]refSlot, size), 0
	for _, s := range old {
		if s.ref != 0 {
			t.put(hashOf(s.ref), s.ref)
		}
	}
}

// slotOf spreads the low half by a multiplication, because a shard's hashes
// share their lowest bits.
func slotOf(hash, mask uint64) uint64 { return (hash * 0x9E3779B97F4A7C15 >> 20) & mask }
