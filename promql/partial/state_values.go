package partial

import (
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/count-db/count/internal/wire"
)

// valuesState serves quantile and count_values, which need all values of a step.
type valuesState struct {
	op       parser.ItemType
	quantile float64
	steps    [][]float64
}

func newValuesState(a *aggregation, n int) *valuesState {
	return &valuesState{op: a.op, quantile: a.quantile, steps: make([][]float64, n)}
}

func (s *valuesState) add(r *row, _ int32) {
	for k, v := range r.v {
		if r.has(k) {
			s.steps[k] = append(s.steps[k], v)
		}
	}
}

func (s *valuesState) merge(other state) {
	for k, vs := range other.(*valuesState).steps {
		s.steps[k] = append(s.steps[k], vs...)
	}
}

// finish writes the quantiles; how count_values ends: see countValues.
func (s *valuesState) finish(r *row) {
	r.reset(len(s.steps))
	for k, vs := range s.steps {
		if len(vs) > 0 {
			r.v[k], r.ok[k] = quantileOf(s.quantile, vs), true
		}
	}
}

// quantileOf is Prometheus's, for 0 <= q <= 1. It sorts the values: NaN is less
// than all others.
func quantileOf(q float64, vs []float64) float64 {
	slices.Sort(vs)
	n := float64(len(vs))
	rank := q * (n - 1)
	lower := math.Max(0, math.Floor(rank))
	upper := math.Min(n-1, lower+1)
	weight := rank - math.Floor(rank)
	if weight == 0 {
		return vs[int(lower)]
	}
	return vs[int(lower)]*(1-weight) + vs[int(upper)]*weight
}

// countValues returns the series of count_values: one for each value that a group
// has. False: they would take far more memory than the values.
func (s *valuesState) countValues(group labels.Labels, label string) ([]Series, bool) {
	place := map[uint64]int{}
	var rows []Series
	points := 0
	for k, vs := range s.steps {
		points += len(vs)
		for _, v := range vs {
			bits := math.Float64bits(v)
			if math.IsNaN(v) {
				bits = math.Float64bits(math.NaN())
			}
			i, ok := place[bits]
			if !ok {
				if len(rows)*len(s.steps) > leastValues+valuesShare*points {
					return nil, false
				}
				i = len(rows)
				place[bits] = i
				b := labels.NewBuilder(group)
				b.Set(label, strconv.FormatFloat(v, 'f', -1, 64))
				rows = append(rows, Series{Labels: b.Labels(), V: make([]float64, len(s.steps)), OK: make([]bool, len(s.steps))})
			}
			rows[i].V[k]++
			rows[i].OK[k] = true
		}
	}
	return rows, true
}

// The series of count_values have a place for every step: no more of them than
// leastValues and valuesShare for each value.
const (
	leastValues = 1 << 18
	valuesShare = 8
)

func (s *valuesState) encode(dst []byte) []byte {
	for _, vs := range s.steps {
		dst = wire.AppendUvarint(dst, uint64(len(vs)))
		for _, v := range vs {
			dst = appendFloat(dst, v)
		}
	}
	return dst
}

func (s *valuesState) decode(d *wire.Decoder) {
	for k := range s.steps {
		n := d.Count(8)
		if n == 0 {
			continue
		}
		s.steps[k] = make([]float64, n)
		for i := range s.steps[k] {
			s.steps[k][i] = d.Float64()
		}
	}
}

var _ wireState = (*valuesState)(nil)
