package partial

import (
	"cmp"
	"slices"
	"sort"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/promql/store"
)

// Piece puts steps in place: those from From up to before To of Steps are the ones
// from At on of the grid.
type Piece struct {
	Steps    *Steps
	From, To int
	At       int
}

// Assemble puts a result together from pieces that cover the grid, of results of
// the same program. sel is what the program runs over now; false means that a piece
// names a series that it does not have.
func Assemble(p *Program, g Grid, sel store.Selection, pieces []Piece) (*Result, bool) {
	a := assembler{result: newResult(p, g), sel: sel, byLabels: map[string]int{}}
	r := a.result
	r.Series, r.points = int64(sel.Len()), make([]int64, g.Len())
	for i := range pieces {
		c := &pieces[i]
		copy(r.Total[c.At:], c.Steps.total[c.From:c.To])
		copy(r.Read[c.At:], c.Steps.read[c.From:c.To])
		copy(r.points[c.At:], c.Steps.points[c.From:c.To])
		a.rows(c)
		if !a.groups(c) {
			return nil, false
		}
	}
	r.Read[0] = r.Total[0] // there is no step before it
	for _, n := range r.points {
		r.Points += n
	}
	if r.Points > 0 {
		r.annos.Merge(p.infos())
	}
	slices.SortFunc(r.groups, func(a, b *group) int { return cmp.Compare(a.first, b.first) })
	for i := range r.rows {
		if s := &r.rows[i]; !slices.Contains(s.OK, false) {
			s.OK = nil
		}
	}
	return r, true
}

// Check returns the error that the run of the whole grid would have ended with.
func (r *Result) Check(maxSamples int64) error {
	if maxSamples <= 0 {
		return nil
	}
	if r.Points > maxSamples {
		return promql.ErrTooManySamples("query execution")
	}
	n := int64(r.grid.Len())
	if int64(len(r.rows)+len(r.groups))*n > maxSamples+n {
		return ErrFallback
	}
	return nil
}

// assembler is the state of one Assemble.
type assembler struct {
	result   *Result
	sel      store.Selection
	byLabels map[string]int // groups of the result
	hint     int            // the group found last
	key      []byte
}

// rows merges the rows of a piece, which are in the order of labels as are those
// of the result.
func (a *assembler) rows(c *Piece) {
	n := a.result.grid.Len()
	at := 0
	var fresh []Series
	for i := range c.Steps.rows {
		row := &c.Steps.rows[i]
		if row.OK != nil && !slices.Contains(row.OK[c.From:c.To], true) {
			continue
		}
		rows := a.result.rows
		for at < len(rows) && labels.Compare(rows[at].Labels, row.Labels) < 0 {
			at++
		}
		if at < len(rows) && labels.Equal(rows[at].Labels, row.Labels) {
			rows[at].paste(c, row)
			continue
		}
		s := Series{Labels: row.Labels, V: make([]float64, n), OK: make([]bool, n)}
		s.paste(c, row)
		fresh = append(fresh, s)
	}
	if len(fresh) == 0 {
		return
	}
	a.result.rows = append(a.result.rows, fresh...)
	slices.SortFunc(a.result.rows, func(a, b Series) int { return labels.Compare(a.Labels, b.Labels) })
}

func (s *Series) paste(c *Piece, row *Series) {
	copy(s.V[c.At:], row.V[c.From:c.To])
	if row.OK != nil {
		copy(s.OK[c.At:], row.OK[c.From:c.To])
		return
	}
	for k := range c.To - c.From {
		s.OK[c.At+k] = true
	}
}

// groups puts the groups of a piece in place.
func (a *assembler) groups(c *Piece) bool {
	numbers, ok := a.kept(c)
	if !ok {
		return false
	}
	a.hint = -1
	for i := range c.Steps.groups {
		cut := &c.Steps.groups[i]
		if !cut.state.any(c.From, c.To) {
			continue
		}
		first, ok := a.find(&cut.first)
		if !ok {
			return false
		}
		g := a.group(cut.labels, first)
		g.first = min(g.first, first)
		g.state.(cutState).paste(c.At, cut.state, c.From, c.To)
		if top, ok := g.state.(*topState); ok {
			for k := range c.To - c.From {
				for e := range top.steps[c.At+k] {
					entry := &top.steps[c.At+k][e]
					entry.series = numbers[entry.series]
				}
			}
		}
	}
	return true
}

// group finds or makes a group. The groups of neighbouring pieces mostly are the
// same ones in the same order.
func (a *assembler) group(ls labels.Labels, first int32) *group {
	r := a.result
	if a.hint++; a.hint < len(r.groups) && labels.Equal(r.groups[a.hint].labels, ls) {
		return r.groups[a.hint]
	}
	a.key = ls.Bytes(a.key)
	if i, ok := a.byLabels[string(a.key)]; ok {
		a.hint = i
		return r.groups[i]
	}
	a.hint = len(r.groups)
	a.byLabels[string(a.key)] = a.hint
	g := &group{labels: ls, first: first, state: r.prog.agg.newState(r.grid.Len())}
	r.groups = append(r.groups, g)
	return g
}

// kept numbers the series that topk and its kin kept in a piece as the selection
// does, whose order is the same.
func (a *assembler) kept(c *Piece) ([]int32, bool) {
	if len(c.Steps.series) == 0 {
		return nil, true
	}
	numbers := make([]int32, len(c.Steps.series))
	for n := range c.Steps.series {
		s := &c.Steps.series[n]
		i, ok := a.find(s)
		if !ok {
			return nil, false
		}
		numbers[n] = i
		a.result.names[i] = s.output
	}
	return numbers, true
}

// find returns the place of a series in the selection.
func (a *assembler) find(s *cutSeries) (int32, bool) {
	n := a.sel.Len()
	if i := int(s.index); i < n && labels.Equal(a.sel.Labels(i), s.labels) {
		return s.index, true
	}
	i := sort.Search(n, func(i int) bool { return labels.Compare(a.sel.Labels(i), s.labels) >= 0 })
	if i == n || !labels.Equal(a.sel.Labels(i), s.labels) {
		return 0, false
	}
	return int32(i), true
}
