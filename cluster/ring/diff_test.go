package ring

import "slices"

// move is a range of positions whose candidates differ between two rings.
type move struct {
	From, To uint64   // behind From, up to and including To; around the end when From >= To
	Gained   []NodeID // candidates in the new ring only, ascending
	Lost     []NodeID // candidates in the old ring only, ascending
}

// diff returns what changes hands from one ring to another, ascending by To.
// Both grids are laid over each other, so that within one move nothing differs.
func diff(before, after *Ring) []move {
	cuts := slices.Concat(before.tokens, after.tokens)
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var moves []move
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
		moves = append(moves, move{From: from, To: to, Gained: gained, Lost: lost})
	}
	return moves
}
