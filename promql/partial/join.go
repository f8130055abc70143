package partial

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// join is a binary operator between two vectors. The match groups of the series
// are found once for all steps; what must be unique within a step is checked where
// several series share a group.
type join struct {
	op       parser.ItemType
	matching *parser.VectorMatching
	names    []string // of the labels that make the match group or do not; sorted
	bool     bool
	value    func(a, b float64) float64 // of arithmetic, and of comparisons with bool
	keep     func(a, b float64) bool    // of comparisons without bool
}

func newJoin(n *parser.BinaryExpr, opts Options) (*join, error) {
	m := n.VectorMatching
	if m == nil || m.FillValues.LHS != nil || m.FillValues.RHS != nil {
		return nil, fmt.Errorf("operator %s fills in values", n.Op)
	}
	if opts.DelayedNameRemoval && n.ReturnBool {
		return nil, fmt.Errorf("the metric name is dropped at the end of the query")
	}
	j := &join{op: n.Op, matching: m, bool: n.ReturnBool, names: slices.Clone(m.MatchingLabels)}
	if !m.On {
		j.names = append(j.names, labels.MetricName, "__type__", "__unit__")
	}
	slices.Sort(j.names)
	if n.Op.IsSetOperator() {
		return j, nil
	}
	if keep, ok := comparisonOf(n.Op); ok && !n.ReturnBool {
		j.keep = keep
		return j, nil
	}
	value, ok := binaryOf(n.Op)
	if !ok {
		return nil, fmt.Errorf("operator %s", n.Op)
	}
	j.value = value
	return j, nil
}

// dropsName says whether results have no metric name.
func (j *join) dropsName() bool { return j.value != nil }

// keyOf appends the match group of a series.
func (j *join) keyOf(dst []byte, ls labels.Labels) []byte {
	if j.matching.On {
		return ls.BytesWithLabels(dst, j.names...)
	}
	return ls.BytesWithoutLabels(dst, j.names...)
}

func (j *join) evaluate(l, r []Series, steps int) ([]Series, error) {
	if j.op.IsSetOperator() {
		return j.evaluateSet(l, r, steps)
	}
	many, one := l, r
	if j.matching.Card == parser.CardOneToMany {
		many, one = r, l
	}
	groups, err := j.oneSide(one)
	if err != nil {
		return nil, err
	}
	m := &matcher{join: j, builder: labels.NewBuilder(labels.EmptyLabels()), byLabels: map[string]*claims{}}
	var key []byte
	out := make([]Series, 0, len(many))
	for i := range many {
		key = j.keyOf(key[:0], many[i].Labels)
		g := groups[string(key)]
		if g == nil {
			continue
		}
		s, err := m.match(&many[i], g)
		if err != nil {
			return nil, err
		}
		if s.OK == nil || slices.Contains(s.OK, true) {
			out = append(out, s)
		}
	}
	return mergeEqual(out)
}

// oneGroup is the series of the side with one series in each match group.
type oneGroup struct {
	Series
	claims claims // of one-to-one matching
}

// claims are the steps at which something that must be unique has been seen, kept
// or not.
type claims struct {
	used bool
	ok   []bool // nil = all, where used
}

// add claims more steps. False: one of them was claimed.
func (c *claims) add(ok []bool) bool {
	if !c.used {
		c.used, c.ok = true, slices.Clone(ok)
		return true
	}
	if c.ok == nil || ok == nil {
		return false
	}
	for k, now := range ok {
		if now && c.ok[k] {
			return false
		}
		c.ok[k] = c.ok[k] || now
	}
	return true
}

// oneSide returns the series of the one side by match group.
func (j *join) oneSide(one []Series) (map[string]*oneGroup, error) {
	groups := make(map[string]*oneGroup, len(one))
	list := make([]oneGroup, len(one))
	var key []byte
	for i, s := range one {
		if s.H != nil {
			return nil, ErrFallback
		}
		key = j.keyOf(key[:0], s.Labels)
		g := groups[string(key)]
		if g == nil {
			list[i].Series = s
			groups[string(key)] = &list[i]
			continue
		}
		if len(j.matching.Include) > 0 || !mergeInto(&g.Series, &s) {
			return nil, ErrFallback
		}
	}
	return groups, nil
}

// matcher is the state of one evaluation.
type matcher struct {
	*join
	builder  *labels.Builder
	byLabels map[string]*claims // of grouped matching: of results
	key      []byte
}

// match computes the series of the result that a series of the many side makes. It
// takes its place.
func (m *matcher) match(many *Series, g *oneGroup) (Series, error) {
	if many.H != nil {
		return Series{}, ErrFallback
	}
	if many.OK == nil {
		many.OK = slices.Clone(g.OK)
	} else if g.OK != nil {
		for k, ok := range g.OK {
			many.OK[k] = many.OK[k] && ok
		}
	}
	out := Series{Labels: m.labelsOf(many.Labels, g.Labels), V: many.V, OK: many.OK}
	unique := &g.claims
	if m.matching.Card != parser.CardOneToOne {
		unique = m.claimsOf(out.Labels)
	}
	if !unique.add(out.OK) {
		return Series{}, ErrFallback
	}
	a, b := many.V, g.V
	if m.matching.Card == parser.CardOneToMany {
		a, b = b, a
	}
	if m.keep != nil {
		m.filter(&out, a, b)
	} else {
		m.compute(out.V, a, b)
	}
	return out, nil
}

func (m *matcher) claimsOf(ls labels.Labels) *claims {
	m.key = ls.Bytes(m.key)
	c := m.byLabels[string(m.key)]
	if c == nil {
		c = &claims{}
		m.byLabels[string(m.key)] = c
	}
	return c
}

// compute writes the values of arithmetic over all steps; what a step without a
// value gets does no harm.
func (j *join) compute(dst, a, b []float64) {
	a, b = a[:len(dst)], b[:len(dst)]
	switch j.op {
	case parser.ADD:
		for k := range dst {
			dst[k] = a[k] + b[k]
		}
	case parser.SUB:
		for k := range dst {
			dst[k] = a[k] - b[k]
		}
	case parser.MUL:
		for k := range dst {
			dst[k] = a[k] * b[k]
		}
	case parser.DIV:
		for k := range dst {
			dst[k] = a[k] / b[k]
		}
	default:
		for k := range dst {
			dst[k] = j.value(a[k], b[k])
		}
	}
}

// filter keeps the left values for which the comparison holds.
func (j *join) filter(s *Series, a, b []float64) {
	if s.OK == nil {
		s.OK = make([]bool, len(s.V))
		for k := range s.OK {
			s.OK[k] = true
		}
	}
	for k := range s.OK {
		s.OK[k] = s.OK[k] && j.keep(a[k], b[k])
		s.V[k] = a[k]
	}
}

// labelsOf returns the labels of a result: those of the many side, or of the match
// group, and what is included from the one side.
func (m *matcher) labelsOf(many, one labels.Labels) labels.Labels {
	b := m.builder
	b.Reset(many)
	if m.dropsName() {
		b.Del(labels.MetricName, "__type__", "__unit__")
	}
	if m.matching.Card == parser.CardOneToOne {
		if m.matching.On {
			b.Keep(m.matching.MatchingLabels...)
		} else {
			b.Del(m.matching.MatchingLabels...)
		}
	}
	for _, name := range m.matching.Include {
		b.Set(name, one.Get(name)) // empty: deleted
	}
	return b.Labels()
}

// mergeEqual joins series of equal labels that have values at different steps: they
// are one series of the result.
func mergeEqual(rows []Series) ([]Series, error) {
	place := make(map[string]int, len(rows))
	var key []byte
	out := rows[:0]
	for _, s := range rows {
		key = s.Labels.Bytes(key)
		i, found := place[string(key)]
		if !found {
			place[string(key)] = len(out)
			out = append(out, s)
			continue
		}
		if !mergeInto(&out[i], &s) {
			return nil, ErrFallback
		}
	}
	return out, nil
}

// mergeInto adds the values of another series. False: a step has two, or there are
// histograms.
func mergeInto(dst, s *Series) bool {
	if dst.OK == nil || s.OK == nil || dst.H != nil || s.H != nil {
		return false
	}
	for k, ok := range s.OK {
		if !ok {
			continue
		}
		if dst.OK[k] {
			return false
		}
		dst.OK[k], dst.V[k] = true, s.V[k]
	}
	return true
}
