package promql

import (
	"sort"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/count-db/count/promql/partial"
)

// valueOf makes the result of a query that is one part alone, as Prometheus's
// engine would from the part's series: a vector in their order, or a matrix sorted
// by labels.
func valueOf(series []partial.Series, g partial.Grid, instant bool) parser.Value {
	if instant {
		return vectorOf(series, g)
	}
	return matrixOf(series, g)
}

func vectorOf(series []partial.Series, g partial.Grid) promql.Vector {
	out := make(promql.Vector, 0, len(series))
	for i := range series {
		if s := &series[i]; s.OK == nil || s.OK[0] {
			sample := promql.Sample{Metric: s.Labels, T: g.Start, F: s.V[0]}
			if s.H != nil && s.H[0] != nil {
				sample.F, sample.H = 0, s.H[0]
			}
			out = append(out, sample)
		}
	}
	return out
}

func matrixOf(series []partial.Series, g partial.Grid) promql.Matrix {
	out := make(promql.Matrix, 0, len(series))
	n := g.Len()
	points := make([]promql.FPoint, 0, n*len(series)) // of all series
	for i := range series {
		s := &series[i]
		one := promql.Series{Metric: s.Labels}
		from := len(points)
		for k, v := range s.V {
			switch {
			case s.OK != nil && !s.OK[k]:
			case s.H != nil && s.H[k] != nil:
				one.Histograms = append(one.Histograms, promql.HPoint{T: g.At(k), H: s.H[k]})
			default:
				points = append(points, promql.FPoint{T: g.At(k), F: v})
			}
		}
		if len(points) > from {
			one.Floats = points[from:len(points):len(points)]
		}
		if len(one.Floats)+len(one.Histograms) > 0 {
			out = append(out, one)
		}
	}
	if !sort.IsSorted(out) {
		sort.Sort(out)
	}
	return out
}
