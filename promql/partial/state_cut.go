package partial

import "slices"

// cutState is a state of which some steps can be copied, and put in place in a
// state of more steps. Native histograms are left out: results with them are not
// cut.
type cutState interface {
	state
	// any says whether there is a value in the steps from up to before to.
	any(from, to int) bool
	// cut copies these steps.
	cut(from, to int, mem *copies) cutState
	// paste copies the steps from up to before to of another state of the same kind to
	// the steps from at on, which are empty.
	paste(at int, other cutState, from, to int)
}

var (
	_ cutState = (*sumState)(nil)
	_ cutState = (*avgState)(nil)
	_ cutState = (*extremeState)(nil)
	_ cutState = (*countState)(nil)
	_ cutState = (*varianceState)(nil)
	_ cutState = (*topState)(nil)
	_ cutState = (*valuesState)(nil)
)

// cuttable says whether the aggregation's states are cutStates.
func (a *aggregation) cuttable() bool {
	_, ok := a.newState(0).(cutState)
	return ok
}

func anyOf(counts []float64) bool {
	return slices.ContainsFunc(counts, func(n float64) bool { return n > 0 })
}

func (s *countState) any(from, to int) bool { return anyOf(s.count[from:to]) }

func (s *countState) cut(from, to int, mem *copies) cutState {
	return &countState{group: s.group, count: mem.floats(s.count[from:to])}
}

func (s *countState) paste(at int, other cutState, from, to int) {
	copy(s.count[at:], other.(*countState).count[from:to])
}

func (s *extremeState) any(from, to int) bool { return slices.Contains(s.seen[from:to], true) }

func (s *extremeState) cut(from, to int, mem *copies) cutState {
	return &extremeState{max: s.max, best: mem.floats(s.best[from:to]), seen: mem.bools(s.seen[from:to])}
}

func (s *extremeState) paste(at int, other cutState, from, to int) {
	o := other.(*extremeState)
	copy(s.best[at:], o.best[from:to])
	copy(s.seen[at:], o.seen[from:to])
}

func (s *varianceState) any(from, to int) bool { return anyOf(s.count[from:to]) }

func (s *varianceState) cut(from, to int, mem *copies) cutState {
	return &varianceState{
		root: s.root, count: mem.floats(s.count[from:to]), mean: mem.floats(s.mean[from:to]), m2: mem.floats(s.m2[from:to]),
	}
}

func (s *varianceState) paste(at int, other cutState, from, to int) {
	o := other.(*varianceState)
	copy(s.count[at:], o.count[from:to])
	copy(s.mean[at:], o.mean[from:to])
	copy(s.m2[at:], o.m2[from:to])
}

func (s *sumState) any(from, to int) bool { return slices.Contains(s.seen[from:to], true) }

func (s *sumState) cut(from, to int, mem *copies) cutState {
	return &sumState{sum: mem.floats(s.sum[from:to]), comp: mem.floats(s.comp[from:to]), seen: mem.bools(s.seen[from:to])}
}

func (s *sumState) paste(at int, other cutState, from, to int) {
	o := other.(*sumState)
	copy(s.sum[at:], o.sum[from:to])
	copy(s.comp[at:], o.comp[from:to])
	copy(s.seen[at:], o.seen[from:to])
}

func (s *avgState) any(from, to int) bool { return anyOf(s.count[from:to]) }

func (s *avgState) cut(from, to int, mem *copies) cutState {
	return &avgState{
		value: mem.floats(s.value[from:to]), comp: mem.floats(s.comp[from:to]),
		count: mem.floats(s.count[from:to]), incremental: mem.bools(s.incremental[from:to]),
	}
}

func (s *avgState) paste(at int, other cutState, from, to int) {
	o := other.(*avgState)
	copy(s.value[at:], o.value[from:to])
	copy(s.comp[at:], o.comp[from:to])
	copy(s.count[at:], o.count[from:to])
	copy(s.incremental[at:], o.incremental[from:to])
}

func (s *topState) any(from, to int) bool {
	return slices.ContainsFunc(s.steps[from:to], func(entries []topEntry) bool { return len(entries) > 0 })
}

func (s *topState) cut(from, to int, _ *copies) cutState {
	c := newTopState(s.op, s.k, to-from)
	for i, entries := range s.steps[from:to] {
		c.steps[i] = slices.Clone(entries)
	}
	return c
}

func (s *topState) paste(at int, other cutState, from, to int) {
	for i, entries := range other.(*topState).steps[from:to] {
		s.steps[at+i] = slices.Clone(entries)
	}
}

// eachEntry calls f for all entries, which it may change.
func (s *topState) eachEntry(f func(e *topEntry)) {
	for _, entries := range s.steps {
		for i := range entries {
			f(&entries[i])
		}
	}
}

func (s *valuesState) any(from, to int) bool {
	return slices.ContainsFunc(s.steps[from:to], func(vs []float64) bool { return len(vs) > 0 })
}

func (s *valuesState) cut(from, to int, mem *copies) cutState {
	c := &valuesState{op: s.op, quantile: s.quantile, steps: make([][]float64, to-from)}
	for i, vs := range s.steps[from:to] {
		c.steps[i] = mem.floats(vs)
	}
	mem.taken += int64(24 * len(c.steps))
	return c
}

func (s *valuesState) paste(at int, other cutState, from, to int) {
	for i, vs := range other.(*valuesState).steps[from:to] {
		s.steps[at+i] = slices.Clone(vs) // they will be sorted
	}
}
