package partial

import (
	"math"

	"github.com/prometheus/prometheus/promql/parser"
)

// scalar is a scalar expression that needs no series: its value at a time, ms.
type scalar func(ts int64) float64

// compileScalar compiles numbers, time(), pi() and arithmetic on them.
func compileScalar(e parser.Expr) (scalar, bool) {
	switch n := e.(type) {
	case *parser.NumberLiteral:
		return func(int64) float64 { return n.Val }, true
	case *parser.ParenExpr:
		return compileScalar(n.Expr)
	case *parser.StepInvariantExpr:
		return compileScalar(n.Expr)
	case *parser.UnaryExpr:
		inner, ok := compileScalar(n.Expr)
		if !ok || n.Op != parser.SUB {
			return inner, ok
		}
		return func(ts int64) float64 { return -inner(ts) }, true
	case *parser.BinaryExpr:
		l, ok := compileScalar(n.LHS)
		if !ok {
			return nil, false
		}
		r, ok := compileScalar(n.RHS)
		if !ok {
			return nil, false
		}
		f, ok := binaryOf(n.Op)
		if !ok {
			return nil, false
		}
		return func(ts int64) float64 { return f(l(ts), r(ts)) }, true
	case *parser.Call:
		switch n.Func.Name {
		case "time":
			return func(ts int64) float64 { return float64(ts) / 1000 }, true
		case "pi":
			return func(int64) float64 { return math.Pi }, true
		}
	}
	return nil, false
}

// binaryOf returns an operator between two floats as Prometheus computes it; a
// comparison gives 1 or 0.
func binaryOf(op parser.ItemType) (func(a, b float64) float64, bool) {
	if keep, ok := comparisonOf(op); ok {
		return func(a, b float64) float64 {
			if keep(a, b) {
				return 1
			}
			return 0
		}, true
	}
	switch op {
	case parser.ADD:
		return func(a, b float64) float64 { return a + b }, true
	case parser.SUB:
		return func(a, b float64) float64 { return a - b }, true
	case parser.MUL:
		return func(a, b float64) float64 { return a * b }, true
	case parser.DIV:
		return func(a, b float64) float64 { return a / b }, true
	case parser.POW:
		return math.Pow, true
	case parser.MOD:
		return math.Mod, true
	case parser.ATAN2:
		return math.Atan2, true
	default:
		return nil, false
	}
}

func comparisonOf(op parser.ItemType) (func(a, b float64) bool, bool) {
	switch op {
	case parser.EQLC:
		return func(a, b float64) bool { return a == b }, true
	case parser.NEQ:
		return func(a, b float64) bool { return a != b }, true
	case parser.GTR:
		return func(a, b float64) bool { return a > b }, true
	case parser.LSS:
		return func(a, b float64) bool { return a < b }, true
	case parser.GTE:
		return func(a, b float64) bool { return a >= b }, true
	case parser.LTE:
		return func(a, b float64) bool { return a <= b }, true
	default:
		return nil, false
	}
}
