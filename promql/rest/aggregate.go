package rest

import (
	"math"

	"github.com/prometheus/prometheus/util/kahansum"
)

// aggregation is one of the functions over time.
type aggregation uint8

const (
	aggSum aggregation = iota
	aggMean
	aggMin
	aggMax
	aggCount
)

func parseAggregation(name string) (aggregation, error) {
	switch name {
	case "sum":
		return aggSum, nil
	case "mean", "avg":
		return aggMean, nil
	case "min":
		return aggMin, nil
	case "max":
		return aggMax, nil
	case "count":
		return aggCount, nil
	case "":
		return 0, badRequest("aggregation is missing: sum, mean, avg, min, max and count are allowed")
	default:
		return 0, badRequest("unknown aggregation %q: sum, mean, avg, min, max and count are allowed", name)
	}
}

// accumulator is the running value of one window. It computes exactly what
// sum_over_time, avg_over_time, min_over_time, max_over_time and count_over_time
// of PromQL do: sums are compensated, a mean whose sum overflows goes on
// incrementally, and NaN is a minimum or maximum only of nothing else.
type accumulator struct {
	n           int64
	value, comp float64
	incremental bool // the mean's sum has overflowed: value is the mean itself
}

// add takes the values of one aggregation in the order of time.
func (a *accumulator) add(agg aggregation, vs []float64) {
	switch agg {
	case aggCount:
		a.n += int64(len(vs))
	case aggSum:
		for _, v := range vs {
			a.value, a.comp = kahansum.Inc(v, a.value, a.comp)
		}
		a.n += int64(len(vs))
	case aggMean:
		for _, v := range vs {
			a.addMean(v)
		}
	case aggMin:
		for _, v := range vs {
			if a.n == 0 || v < a.value || math.IsNaN(a.value) {
				a.value = v
			}
			a.n++
		}
	case aggMax:
		for _, v := range vs {
			if a.n == 0 || v > a.value || math.IsNaN(a.value) {
				a.value = v
			}
			a.n++
		}
	}
}

func (a *accumulator) addMean(v float64) {
	a.n++
	if a.n == 1 {
		a.value = v
		return
	}
	count := float64(a.n)
	if !a.incremental {
		sum, comp := kahansum.Inc(v, a.value, a.comp)
		if !math.IsInf(sum, 0) {
			a.value, a.comp = sum, comp
			return
		}
		a.incremental = true
		a.value /= count - 1
		a.comp /= count - 1
	}
	q := (count - 1) / count
	a.value, a.comp = kahansum.Inc(v/count, q*a.value, q*a.comp)
}

// result returns the value; a.n says whether there is one.
func (a *accumulator) result(agg aggregation) float64 {
	switch agg {
	case aggCount:
		return float64(a.n)
	case aggSum:
		if math.IsInf(a.value, 0) {
			return a.value
		}
		return a.value + a.comp
	case aggMean:
		if a.incremental {
			return a.value + a.comp
		}
		return a.value/float64(a.n) + a.comp/float64(a.n)
	default:
		return a.value
	}
}

// windows cuts an ascending run of samples into the windows of a query and hands
// over each that has samples when it is complete. Window k is [start+k*step,
// start+(k+1)*step); the last one runs to the end of the range inclusive.
type windows struct {
	q    *query
	emit func(start int64, value float64) error
	acc  accumulator
	at   int64 // start of the current window
	till int64 // the last timestamp of the current window
}

func newWindows(q *query, emit func(int64, float64) error) *windows {
	w := &windows{q: q, emit: emit}
	w.moveTo(q.start)
	return w
}

// moveTo makes the window of t current.
func (w *windows) moveTo(t int64) {
	w.acc = accumulator{}
	w.at, w.till = w.q.start, w.q.end
	if w.q.step == 0 {
		return
	}
	step := uint64(w.q.step)
	k := (uint64(t) - uint64(w.q.start)) / step
	w.at = int64(uint64(w.q.start) + k*step)
	if uint64(w.q.end)-uint64(w.at) >= step {
		w.till = w.at + w.q.step - 1
	}
}

// add takes the next samples, without stale markers.
func (w *windows) add(ts []int64, vs []float64) error {
	for len(ts) > 0 {
		if ts[0] > w.till {
			if err := w.flush(); err != nil {
				return err
			}
			w.moveTo(ts[0])
		}
		n := len(ts)
		if ts[n-1] > w.till {
			n = 1
			for ts[n] <= w.till {
				n++
			}
		}
		w.acc.add(w.q.agg, vs[:n])
		ts, vs = ts[n:], vs[n:]
	}
	return nil
}

// flush hands over the current window if it has samples.
func (w *windows) flush() error {
	if w.acc.n == 0 {
		return nil
	}
	return w.emit(w.at, w.acc.result(w.q.agg))
}
