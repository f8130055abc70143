package promql_test

import (
	"fmt"
	"math/rand/v2"
)

// generator writes random queries over the series of generateStore.
type generator struct{ rng *rand.Rand }

func (g *generator) pick(list ...string) string { return list[g.rng.IntN(len(list))] }

// selector returns an instant selector.
func (g *generator) selector() string {
	name := g.pick("c_total", "c_total", "g", "g", "b_bucket", "odd", "h", "h", "custom", "mixed", "nothing")
	s := name + g.pick("", "", `{mode="idle"}`, `{mode!="idle"}`, `{instance=~"h0[01].*"}`, `{le="1"}`, `{mode=~"user|io",instance!="h03"}`)
	if g.rng.IntN(20) == 0 {
		s = g.pick(`{__name__=~"c_.*|g"}`, `{instance="h00"}`, `{__name__!=""}`)
	}
	return s
}

// modifiers returns offsets and fixed times.
func (g *generator) modifiers() string {
	switch g.rng.IntN(12) {
	case 0:
		return fmt.Sprintf(" offset %ds", g.rng.IntN(600))
	case 1:
		return fmt.Sprintf(" offset -%ds", g.rng.IntN(600))
	case 2:
		return fmt.Sprintf(" @ %d", g.rng.IntN(5000))
	case 3:
		return g.pick(" @ start()", " @ end()", " @ end() offset 1m")
	default:
		return ""
	}
}

func (g *generator) duration() string {
	return g.pick("1s", "30s", "1m", "2m", "5m", "5m", "17m", "1h", "61s", "1500ms")
}

// overRange returns a function over a range.
func (g *generator) overRange() string {
	sel := g.selector() + "[" + g.duration() + "]" + g.modifiers()
	if g.rng.IntN(12) == 0 {
		sel = g.perSeries(1) + "[" + g.pick("5m:1m", "10m:30s", "2m:", "7m:13s") + "]" + g.pick(g.modifiers(), g.modifiers(), " @ end()", " @ 2000")
	}
	switch g.rng.IntN(15) {
	case 2:
		return fmt.Sprintf("double_exponential_smoothing(%s, %s, 0.3)", sel, g.pick("0.5", "0.1", "5"))
	case 0:
		return fmt.Sprintf("quantile_over_time(%s, %s)", g.pick("0.5", "0.99", "1.5", "0"), sel)
	case 1:
		return fmt.Sprintf("predict_linear(%s, %s)", sel, g.pick("60", "3600"))
	default:
		return g.pick("rate", "rate", "rate", "increase", "delta", "irate", "idelta", "sum_over_time", "avg_over_time", "min_over_time",
			"max_over_time", "count_over_time", "present_over_time", "last_over_time", "first_over_time", "stddev_over_time",
			"stdvar_over_time", "changes", "resets", "deriv", "mad_over_time", "ts_of_last_over_time", "ts_of_max_over_time",
			"absent_over_time") + "(" + sel + ")"
	}
}

// perSeries returns an expression that treats each series alone.
func (g *generator) perSeries(depth int) string {
	if depth == 0 {
		if g.rng.IntN(2) == 0 {
			return g.selector() + g.modifiers()
		}
		return g.overRange()
	}
	inner := g.perSeries(depth - 1)
	switch g.rng.IntN(12) {
	case 0:
		return "-" + inner
	case 1:
		return "(" + inner + ")"
	case 2:
		return g.pick("abs", "ceil", "floor", "sqrt", "exp", "ln", "sgn", "round") + "(" + inner + ")"
	case 3:
		return fmt.Sprintf("clamp(%s, %s, %s)", inner, g.pick("0", "-10", "100"), g.pick("50", "1000", "time()"))
	case 4:
		return fmt.Sprintf("clamp_min(%s, %s)", inner, g.scalar())
	case 5:
		return fmt.Sprintf("%s %s %s", inner, g.pick("+", "-", "*", "/", "%", "^", ">", "<", ">=", "!=", "== bool", "> bool"), g.scalar())
	case 6:
		return fmt.Sprintf("%s %s %s", g.scalar(), g.pick("+", "-", "*", "/", ">", "<", "<= bool", "== bool"), inner)
	case 7:
		return fmt.Sprintf("round(%s, %s)", inner, g.pick("0.1", "5"))
	default:
		return inner
	}
}

func (g *generator) scalar() string {
	return g.pick("0", "1", "2.5", "100", "-3", "time()", "(1 + 2)", "pi()", "time() / 1000", "1e300", "NaN", "Inf")
}

// aggregate returns an aggregation.
func (g *generator) aggregate(depth int) string {
	by := g.pick("", "", " by (instance)", " by (mode)", " by (instance, mode)", " without (instance)", " without (mode, le)", " by (nothing)", " by (__name__)")
	inner := g.perSeries(g.rng.IntN(depth + 1))
	switch g.rng.IntN(15) {
	case 12:
		return fmt.Sprintf("limit_ratio%s (%s, %s)", by, g.pick("0.5", "-0.3", "1", "0", "1.5"), inner)
	case 13:
		return fmt.Sprintf(`count_values%s ("%s", %s)`, by, g.pick("value", "value", "mode", "__name__"), inner)
	case 0:
		return fmt.Sprintf("%s%s (%s, %s)", g.pick("topk", "bottomk"), by, g.pick("1", "2", "5", "100"), inner)
	case 1:
		return fmt.Sprintf("limitk%s (%s, %s)", by, g.pick("1", "3"), inner)
	case 2:
		return fmt.Sprintf("quantile%s (%s, %s)", by, g.pick("0.5", "0.9", "0", "1", "2"), inner)
	case 4:
		return fmt.Sprintf("%s%s%s (%s(%s[%s])))", g.pick("histogram_quantile(0.9, ", "histogram_count(", "histogram_sum(", "(", "histogram_avg("), g.pick("sum", "sum", "avg"), by, g.pick("rate", "increase", "last_over_time", "avg_over_time"), g.pick("h", "h", "custom"), g.duration())
	case 3:
		return fmt.Sprintf("histogram_quantile(%s, sum by (%s) (rate(b_bucket[5m])))", g.pick("0.5", "0.99"), g.pick("le", "le, instance"))
	default:
		return g.pick("sum", "sum", "sum", "avg", "avg", "min", "max", "count", "group", "stddev", "stdvar") + by + " (" + inner + ")"
	}
}

// vector returns any expression of a vector.
func (g *generator) vector(depth int) string {
	if depth == 0 {
		return g.perSeries(1)
	}
	switch g.rng.IntN(13) {
	case 10, 11, 12:
		return g.join(depth)
	case 0:
		return fmt.Sprintf("%s / on (instance) %s", g.aggregate(1)+"", "sum by (instance) ("+g.perSeries(1)+")")
	case 1:
		return fmt.Sprintf("%s %s %s", g.vector(depth-1), g.pick("and", "or", "unless", "+", "> bool"), g.vector(depth-1))
	case 2:
		return g.pick("absent", "timestamp", "sort", "vector(1) - scalar", "-") + "(" + g.vector(depth-1) + ")"
	case 3:
		return fmt.Sprintf(`label_replace(%s, "x", "$1", "instance", "h(.*)")`, g.vector(depth-1))
	case 4, 5:
		return g.perSeries(2)
	case 6:
		return fmt.Sprintf("%s((%s)[%s]%s)", g.pick("max_over_time", "avg_over_time", "sum_over_time", "rate", "last_over_time", "deriv", "count_over_time", "changes"),
			g.vector(depth-1), g.pick("5m:1m", "2m:20s", "10m:"), g.modifiers())
	default:
		return g.aggregate(2)
	}
}

// join returns an operator between vectors, sometimes with something above it.
func (g *generator) join(depth int) string {
	operand := func() string {
		switch g.rng.IntN(5) {
		case 0:
			return "(" + g.vector(depth-1) + ")"
		case 1:
			return g.aggregate(1)
		default:
			return g.perSeries(g.rng.IntN(2))
		}
	}
	op := g.pick("+", "-", "*", "/", "%", "^", "atan2", ">", "<=", "== bool", "!= bool")
	op += g.pick("", " on (instance, mode)", " on (instance)", " ignoring (mode)", " ignoring (le)", " on (instance, mode) group_left", " ignoring (mode) group_left",
		" on (instance) group_left (mode)", " on (instance) group_right ()", " on (mode) group_right (le)", " on (instance, mode) group_left (le)", " on ()")
	if g.rng.IntN(3) == 0 {
		op = g.pick("and", "or", "unless") + g.pick("", " on (instance)", " ignoring (mode)", " on (instance, mode)", " on ()")
	}
	e := operand() + " " + op + " " + operand()
	switch g.rng.IntN(8) {
	case 0:
		return "-(" + e + ")"
	case 1:
		return g.pick("abs", "ceil", "sqrt") + "(" + e + ")"
	case 2:
		return fmt.Sprintf("(%s) %s %s", e, g.pick("+", "*", ">", "< bool"), g.scalar())
	case 3:
		return g.pick("sum", "max", "count", "avg") + g.pick("", " by (instance)", " without (mode)", " by (__name__)") + " (" + e + ")"
	case 4:
		return "1 - (" + e + ")"
	default:
		return e
	}
}
