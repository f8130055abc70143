package plan

import (
	"maps"
	"slices"
)

// dropDead removes files that hold nothing alive.
func (p *picture) dropDead() (Job, bool) {
	return Job{Kind: Drop, Inputs: p.dead}, len(p.dead) > 0
}

// mergeWindow merges when more than MaxPerWindow wide files hold one window.
// Windows that an import is filling may have MaxWide: with more room the same
// bytes are copied less often.
func (p *picture) mergeWindow() (Job, bool) {
	for _, n := range slices.Sorted(maps.Keys(p.windows)) {
		w := p.windows[n]
		if w.wideFiles <= p.MaxPerWindow || (!p.recent(n) && w.born+p.Quiet > p.now) {
			continue
		}
		return p.cheapest(func(f *File) bool {
			_, ok := f.part(n)
			return ok
		}), true
	}
	return Job{}, false
}

// mergeAll merges when there are more than MaxWide wide files.
func (p *picture) mergeAll() (Job, bool) {
	if len(p.wide) <= p.MaxWide {
		return Job{}, false
	}
	return p.cheapest(func(*File) bool { return true }), true
}

// cheapest returns the merge of neighbours that copies the fewest bytes for
// each file of those that count which it saves. With files of equal size that
// come one by one and room for m of them, m(m+1)/2 are taken before any is
// copied twice.
func (p *picture) cheapest(counts func(*File) bool) Job {
	from, to := 0, 0
	var bestCost, bestSaved int64
	for i := range p.wide {
		if !counts(&p.wide[i]) {
			continue
		}
		cost, saved := p.cost(&p.wide[i]), int64(0)
		for j := i + 1; j < len(p.wide) && j-i < p.MergeFiles; j++ {
			cost += p.cost(&p.wide[j])
			if !counts(&p.wide[j]) {
				continue
			}
			saved++
			// cost/saved < bestCost/bestSaved; of equals the longer run.
			if bestSaved == 0 || cost*bestSaved < bestCost*saved ||
				(cost*bestSaved == bestCost*saved && saved > bestSaved) {
				from, to, bestCost, bestSaved = i, j+1, cost, saved
			}
		}
	}
	if bestSaved == 0 {
		// Those that count lie further apart than one merge may reach.
		from, to = 0, min(p.MergeFiles, len(p.wide))
	}
	return p.mergeJob(from, to)
}

// cost is what copying a file costs: its live bytes, and something for the
// file itself.
func (p *picture) cost(f *File) int64 {
	const perFile = 4 << 10
	return f.live() + perFile
}

// rewriteDead merges neighbours that are more dead than alive, to give their
// bytes back: it copies less than was sealed or dropped before.
func (p *picture) rewriteDead() (Job, bool) {
	for i := range p.wide {
		j := i
		for j < len(p.wide) && j-i < p.MergeFiles && p.mostlyDead(&p.wide[j]) {
			j++
		}
		if j > i {
			return p.mergeJob(i, j), true
		}
	}
	return Job{}, false
}

func (p *picture) mostlyDead(f *File) bool {
	live := f.live()
	dead := f.Bytes - live
	return dead > live && dead >= p.DeadBytes
}

func (p *picture) mergeJob(from, to int) Job {
	job := Job{Kind: Merge}
	for _, f := range p.wide[from:to] {
		job.Inputs = append(job.Inputs, f.ID)
	}
	return job
}
