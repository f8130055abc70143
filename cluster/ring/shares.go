package ring

// Share returns the part of the circle behind from, up to and including to: all
// of it where they are the same.
func Share(from, to uint64) float64 {
	const circle = 1 << 64
	if from == to {
		return 1
	}
	return float64(to-from) / circle
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
			shares[id] += Share(from, to)
		}
	}
	return shares
}
