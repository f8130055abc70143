package ring

import "slices"

// Move is a range of positions whose candidates differ between two rings.
type Move struct {
	From, To uint64   // behind From, up to and including To; around the end when From >= To
	Gained   []NodeID // candidates in the new ring only, ascending
	Lost     []NodeID // candidates in the old ring only, ascending
}

// Diff returns what changes hands from one ring to another, ascending by To.
// Both grids are laid over each other, so that within one Move nothing differs.
func Diff(before, after *Ring) []Move {
	cuts := slices.Concat(before.tokens, after.tokens)
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var moves []Move
	var was, is []NodeID
	for i, to := range cuts {
		was = before.Candidates(was[:0], to)
		is = after.Candidates(is[:0], to)
		gained, lost := without(is, was), without(was, is)
		if len(gained) == 0 && len(lost) == 0 {
			continue
		}
		from := cuts[(i+len(cuts)-1)%len(cuts)]
		if n := len(moves); n > 0 && moves[n-1].To == from &&
			slices.Equal(moves[n-1].Gained, gained) && slices.Equal(moves[n-1].Lost, lost) {
			moves[n-1].To = to
			continue
		}
		moves = append(moves, Move{From: from, To: to, Gained: gained, Lost: lost})
	}
	return moves
}

// Share returns the part of the circle that the range covers.
func (m Move) Share() float64 {
	const circle = 1 << 64
	if m.From == m.To {
		return 1
	}
	return float64(m.To-m.From) / circle
}

func without(a, b []NodeID) []NodeID {
	var out []NodeID
	for _, id := range a {
		if !slices.Contains(b, id) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Shares returns the part of all positions that each member owns. They add up to
// the number of owners.
func (r *Ring) Shares() map[NodeID]float64 {
	shares := make(map[NodeID]float64, len(r.members))
	var owners []NodeID
	for bucket := range r.tokens {
		from, to := r.Range(bucket)
		owners = r.Owners(owners[:0], to)
		for _, id := range owners {
			shares[id] += Move{From: from, To: to}.Share()
		}
	}
	return shares
}
