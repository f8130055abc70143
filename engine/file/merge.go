package file

import (
	"github.com/count-db/count/internal/model"
)

// Walk goes through the series of several files in one order, those with the
// same reference together.
type Walk struct {
	inputs  []*Reader
	compare func(a, b model.Ref) int
	next    []int // of each input
	at      []int // of each input: its number for the current series, -1 = not there
	ref     model.Ref
}

// NewWalk walks through the inputs, each of which has its series in ascending
// order of compare (0 only for equal references). compare is called only where
// the inputs differ.
func NewWalk(inputs []*Reader, compare func(a, b model.Ref) int) *Walk {
	return &Walk{inputs: inputs, compare: compare, next: make([]int, len(inputs)), at: make([]int, len(inputs))}
}

// Next goes to the next series.
func (w *Walk) Next() bool {
	found := false
	for i, r := range w.inputs {
		if w.next[i] == r.Len() {
			continue
		}
		ref := r.Ref(w.next[i])
		if !found || (ref != w.ref && w.compare(ref, w.ref) < 0) {
			found, w.ref = true, ref
		}
	}
	if !found {
		return false
	}
	for i, r := range w.inputs {
		w.at[i] = -1
		if w.next[i] < r.Len() && r.Ref(w.next[i]) == w.ref {
			w.at[i] = w.next[i]
			w.next[i]++
		}
	}
	return true
}

// Ref returns the reference of the current series.
func (w *Walk) Ref() model.Ref { return w.ref }

// At returns the number of the current series in an input, -1 when it is not
// there.
func (w *Walk) At(input int) int { return w.at[input] }

// Copier copies chunks from one file into another as they are. Columns are
// stored once again when they are equal to others of the new file.
type Copier struct {
	w       *Writer
	columns map[*Reader][]int // new number + 1 of the columns copied so far
	// Settled returns the one version that all samples of a chunk get, 0 where they
	// keep theirs. Nil: all keep theirs.
	Settled func(c *Chunk) model.Version
	version []int64 // scratch
}

// NewCopier returns a copier into w.
func NewCopier(w *Writer) *Copier {
	return &Copier{w: w, columns: map[*Reader][]int{}}
}

// Copy adds the chunk, which c has just loaded, to the current series.
func (p *Copier) Copy(c *Cursor, chunk *Chunk) error {
	if p.w.err != nil {
		return p.w.err
	}
	out := *chunk
	columns := []*int{&out.times, &out.sts, &out.versions}
	if p.Settled != nil {
		if v := p.Settled(chunk); v != 0 {
			out.versions, out.MinVersion, out.MaxVersion = p.constant(v, chunk.Count), v, v
			columns = columns[:2]
		}
	}
	for _, n := range columns {
		var err error
		if *n, err = p.column(c, *n, n == &out.versions); err != nil {
			return err
		}
	}
	start := len(p.w.bodies)
	p.w.bodies = append(p.w.bodies, chunk.body...)
	out.body = p.w.bodies[start:]
	p.w.push(out)
	return nil
}

// constant returns the column of so many times the same version.
func (p *Copier) constant(v model.Version, count int) int {
	p.version = p.version[:0]
	for range count {
		p.version = append(p.version, int64(v))
	}
	return p.w.columns.add(p.version, true)
}

func (p *Copier) column(c *Cursor, n int, versions bool) (int, error) {
	if n == noColumn {
		return noColumn, nil
	}
	known := p.columns[c.r]
	if known == nil {
		known = make([]int, len(c.r.columns))
		p.columns[c.r] = known
	}
	if known[n] > 0 {
		p.w.columns.list[known[n]-1].shared = true
		return known[n] - 1, nil
	}
	xs, err := c.column(n)
	if err != nil {
		return noColumn, err
	}
	known[n] = p.w.columns.add(xs, versions) + 1
	return known[n] - 1, nil
}
