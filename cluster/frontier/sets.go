package frontier

import (
	"cmp"
	"maps"
	"slices"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/wire"
)

// Stream is one numbering.
type Stream struct {
	Node  ring.NodeID // the coordinator
	Start uint64      // which of its starts
	Ring  uint64      // the ring that the list is of
	List  uint32      // number of the candidate list
}

// Origin is what a batch is known by: its number, and the numbers of earlier
// attempts of the same write that it replaces.
type Origin struct {
	Stream
	Number  uint64
	Earlier []uint64
}

// AppendOrigins appends origins.
func AppendOrigins(dst []byte, all []Origin) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(all)))
	for i := range all {
		o := &all[i]
		dst = appendStream(dst, o.Stream)
		dst = wire.AppendUvarint(dst, o.Number)
		dst = wire.AppendUvarint(dst, uint64(len(o.Earlier)))
		for _, n := range o.Earlier {
			dst = wire.AppendUvarint(dst, n)
		}
	}
	return dst
}

// DecodeOrigins reads origins and appends them to dst.
func DecodeOrigins(d *wire.Decoder, dst []Origin) []Origin {
	for range d.Count(6) {
		o := Origin{Stream: decodeStream(d), Number: d.Uvarint()}
		for range d.Count(1) {
			o.Earlier = append(o.Earlier, d.Uvarint())
		}
		if d.Err() != nil {
			break
		}
		dst = append(dst, o)
	}
	return dst
}

func appendStream(dst []byte, s Stream) []byte {
	dst = wire.AppendUvarint(dst, uint64(s.Node))
	dst = wire.AppendUvarint(dst, s.Start)
	dst = wire.AppendUvarint(dst, s.Ring)
	return wire.AppendUvarint(dst, uint64(s.List))
}

func decodeStream(d *wire.Decoder) Stream {
	return Stream{Node: ring.NodeID(d.Uvarint()), Start: d.Uvarint(), Ring: d.Uvarint(), List: d.Uint32Varint()}
}

// Sets are the numbers that a node has stored, by stream.
type Sets map[Stream]*Set

// Add puts an origin's numbers into its stream's set.
func (s Sets) Add(o *Origin) {
	set := s[o.Stream]
	if set == nil {
		set = &Set{}
		s[o.Stream] = set
	}
	set.Add(o.Number)
	for _, n := range o.Earlier {
		set.Add(n)
	}
}

// Contains says whether all of o is in s.
func (s Sets) Contains(o Sets) bool {
	for stream, theirs := range o {
		mine := s[stream]
		if mine == nil {
			mine = &Set{}
		}
		if !mine.Contains(theirs) {
			return false
		}
	}
	return true
}

// Unite puts all of o into s.
func (s Sets) Unite(o Sets) {
	for stream, theirs := range o {
		mine := s[stream]
		if mine == nil {
			mine = &Set{}
			s[stream] = mine
		}
		mine.Unite(theirs)
	}
}

// Of returns the sets of the streams that are wanted. They are shared with s.
func (s Sets) Of(want func(Stream) bool) Sets {
	out := Sets{}
	for stream, set := range s {
		if want(stream) {
			out[stream] = set
		}
	}
	return out
}

// Clone returns a copy.
func (s Sets) Clone() Sets {
	out := make(Sets, len(s))
	for stream, set := range s {
		out[stream] = set.clone()
	}
	return out
}

// Append appends the sets.
func (s Sets) Append(dst []byte) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(s)))
	for _, stream := range slices.SortedFunc(maps.Keys(s), compareStreams) {
		dst = appendStream(dst, stream)
		dst = s[stream].append(dst)
	}
	return dst
}

func compareStreams(a, b Stream) int {
	return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Start, b.Start), cmp.Compare(a.Ring, b.Ring), cmp.Compare(a.List, b.List))
}

// DecodeSets reads sets.
func DecodeSets(d *wire.Decoder) Sets {
	out := Sets{}
	for range d.Count(5) {
		stream := decodeStream(d)
		set := decodeSet(d)
		if d.Err() != nil {
			break
		}
		out[stream] = set
	}
	return out
}
