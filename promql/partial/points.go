package partial

// points counts the points of the per-series expression step by step.
type points struct {
	at    []int64
	whole int64 // series with a point at every step, not yet in at
}

// add takes the points of one series, n in all. Nothing is counted by nil.
func (p *points) add(r *row, n int) {
	if p == nil {
		return
	}
	if n == len(p.at) {
		p.whole++
		return
	}
	for k, ok := range r.ok {
		if ok {
			p.at[k]++
		}
	}
}

// finish returns the counts.
func (p *points) finish() []int64 {
	for k := range p.at {
		p.at[k] += p.whole
	}
	p.whole = 0
	return p.at
}
