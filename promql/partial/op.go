package partial

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
)

// op changes the values of one series, step by step, in place.
type op struct {
	floats func(r *row, g Grid)
	// histogram returns what becomes of a native histogram at a time, ms; nil: it
	// has no result.
	histogram func(h *histogram.FloatHistogram, ts int64) *histogram.FloatHistogram
	// info is added where a native histogram has no result; nil = nothing is said.
	info error
}

// apply changes a row; annos takes what is said of histograms.
func (o op) apply(r *row, g Grid, annos *annotations.Annotations) {
	if r.h == nil {
		o.floats(r, g)
		return
	}
	hs := r.h
	had := make([]bool, len(hs)) // a histogram
	r.spread()
	for k, h := range hs {
		if r.ok[k] && h != nil {
			had[k], r.ok[k] = true, false
		}
	}
	o.floats(r, g)
	for k, h := range hs {
		switch {
		case !had[k]:
		case o.histogram != nil:
			hs[k], r.ok[k] = o.histogram(h, g.At(k)), true
		default:
			hs[k] = nil
			if o.info != nil {
				annos.Add(o.info)
			}
		}
	}
}

// row is the values of one series on a grid. Where all is true every step has
// one and ok is not looked at.
type row struct {
	v   []float64
	ok  []bool
	all bool
	// h holds native histograms where the step's value is one; nil where the row
	// has none.
	h    []*histogram.FloatHistogram
	hbuf []*histogram.FloatHistogram
}

// reset makes a row of n steps without values.
func (r *row) reset(n int) {
	if cap(r.v) < n {
		r.v, r.ok = make([]float64, n), make([]bool, n)
	}
	r.v, r.ok, r.all, r.h = r.v[:n], r.ok[:n], false, nil
	clear(r.ok)
}

// withHistograms makes room for histograms.
func (r *row) withHistograms() {
	if cap(r.hbuf) < len(r.v) {
		r.hbuf = make([]*histogram.FloatHistogram, len(r.v))
	}
	r.h = r.hbuf[:len(r.v)]
	clear(r.h)
}

// has says whether step k has a value.
func (r *row) has(k int) bool { return r.all || r.ok[k] }

// count returns the number of values.
func (r *row) count() int {
	if r.all {
		return len(r.v)
	}
	n := 0
	for _, ok := range r.ok {
		if ok {
			n++
		}
	}
	return n
}

// spread writes all into ok, so that single values can be taken out.
func (r *row) spread() {
	if r.all {
		if len(r.ok) < len(r.v) {
			r.ok = make([]bool, len(r.v))
		}
		for k := range r.ok {
			r.ok[k] = true
		}
		r.all = false
	}
}

// mapOp applies f to every value; a value that is not there does no harm.
func mapOp(f func(float64) float64) op {
	return op{floats: func(r *row, _ Grid) {
		for k, v := range r.v {
			r.v[k] = f(v)
		}
	}}
}

func negate() op {
	o := mapOp(func(v float64) float64 { return -v })
	o.histogram = func(h *histogram.FloatHistogram, _ int64) *histogram.FloatHistogram { return h.Copy().Mul(-1) }
	return o
}

// floatFuncs are the functions of one float that Prometheus takes from package
// math.
var floatFuncs = map[string]func(float64) float64{
	"abs": math.Abs, "ceil": math.Ceil, "floor": math.Floor, "exp": math.Exp, "sqrt": math.Sqrt,
	"ln": math.Log, "log2": math.Log2, "log10": math.Log10,
	"sin": math.Sin, "cos": math.Cos, "tan": math.Tan, "asin": math.Asin, "acos": math.Acos, "atan": math.Atan,
	"sinh": math.Sinh, "cosh": math.Cosh, "tanh": math.Tanh, "asinh": math.Asinh, "acosh": math.Acosh, "atanh": math.Atanh,
	"rad": func(v float64) float64 { return v * (math.Pi / 180) },
	"deg": func(v float64) float64 { return v * (180 / math.Pi) },
	"sgn": func(v float64) float64 {
		switch {
		case v < 0:
			return -1
		case v > 0:
			return 1
		default:
			return v
		}
	},
}

// instantOp returns the operation of a function over instant vectors; args are
// its scalar arguments.
func instantOp(name string, args []scalar) (op, bool) {
	if f, ok := floatFuncs[name]; ok {
		return mapOp(f), true
	}
	switch name {
	case "round":
		nearest := scalar(func(int64) float64 { return 1 })
		if len(args) > 0 {
			nearest = args[0]
		}
		return op{floats: func(r *row, g Grid) {
			for k, v := range r.v {
				inverse := 1.0 / nearest(g.At(k))
				r.v[k] = math.Floor(v*inverse+0.5) / inverse
			}
		}}, true
	case "clamp":
		return clampOp(args[0], args[1]), true
	case "clamp_min":
		return clampOp(args[0], func(int64) float64 { return math.Inf(1) }), true
	case "clamp_max":
		return clampOp(func(int64) float64 { return math.Inf(-1) }, args[0]), true
	default:
		return op{}, false
	}
}

// clampOp has no result where the bounds are the wrong way round.
func clampOp(lower, upper scalar) op {
	return op{floats: func(r *row, g Grid) {
		for k, v := range r.v {
			lo, hi := lower(g.At(k)), upper(g.At(k))
			if hi < lo {
				r.spread()
				r.ok[k] = false
				continue
			}
			r.v[k] = math.Max(lo, math.Min(hi, v))
		}
	}}
}

// scalarOp returns the operation of vector op scalar, or with swap that of
// scalar op vector.
func scalarOp(b *parser.BinaryExpr, s scalar, swap bool) (op, bool) {
	left, right := "histogram", "float"
	if swap {
		left, right = right, left
	}
	o := op{info: annotations.NewIncompatibleTypesInBinOpInfo(left, parser.ItemTypeStr[b.Op], right, b.PositionRange())}
	if keep, ok := comparisonOf(b.Op); ok {
		if !b.ReturnBool {
			o.floats = filter(keep, s, swap)
			return o, true
		}
	} else if b.ReturnBool {
		return op{}, false
	}
	f, ok := binaryOf(b.Op)
	if !ok {
		return op{}, false
	}
	switch {
	case b.Op == parser.MUL:
		o.histogram = func(h *histogram.FloatHistogram, ts int64) *histogram.FloatHistogram {
			return h.Copy().Mul(s(ts)).Compact(0)
		}
	case b.Op == parser.DIV && !swap:
		o.histogram = func(h *histogram.FloatHistogram, ts int64) *histogram.FloatHistogram {
			return h.Copy().Div(s(ts)).Compact(0)
		}
	}
	o.floats = func(r *row, g Grid) {
		for k, v := range r.v {
			c := s(g.At(k))
			if swap {
				r.v[k] = f(c, v)
			} else {
				r.v[k] = f(v, c)
			}
		}
	}
	return o, true
}

// filter keeps the values for which the comparison holds.
func filter(keep func(a, b float64) bool, s scalar, swap bool) func(r *row, g Grid) {
	return func(r *row, g Grid) {
		r.spread()
		for k, v := range r.v {
			a, b := v, s(g.At(k))
			if swap {
				a, b = b, a
			}
			if r.ok[k] && !keep(a, b) {
				r.ok[k] = false
			}
		}
	}
}
