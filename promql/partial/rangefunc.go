package partial

// rangeFunc computes one value per window of a range selector.
type rangeFunc struct {
	name string
	// kernel fills the row from the samples of one series, without stale markers.
	kernel func(w *evaluator)
	// args is the number of scalar arguments.
	args int
	// rangeArg is the place of the range among the arguments.
	rangeArg int
	// keepsName: the result keeps the metric name.
	keepsName bool
	// counter: the function expects a counter and says so where the name does not.
	counter bool
	// startTimes: the function looks at start timestamps if the query does.
	startTimes bool
	// condense says how runs of samples may be read by their description alone; nil:
	// not at all.
	condense *condensing
}

// rangeFuncs are the functions that the runner knows. Those without a kernel of
// their own are computed by Prometheus's code, window by window. Functions that
// look at more than one series are not here.
func rangeFuncs() map[string]*rangeFunc {
	list := []*rangeFunc{
		{name: "rate", kernel: rateKernel, condense: condenseRising(), counter: true, startTimes: true},
		{name: "increase", kernel: increaseKernel, condense: condenseRising(), counter: true, startTimes: true},
		{name: "delta", kernel: deltaKernel, condense: condenseEnds()},
		{name: "irate", kernel: irateKernel, startTimes: true},
		{name: "idelta", kernel: ideltaKernel},
		{name: "sum_over_time", kernel: sumKernel, condense: condenseSums()},
		{name: "avg_over_time", kernel: avgKernel, condense: condenseSums()},
		{name: "min_over_time", kernel: minKernel, condense: condenseMin()},
		{name: "max_over_time", kernel: maxKernel, condense: condenseMax()},
		{name: "count_over_time", kernel: countKernel, condense: condenseCount()},
		{name: "present_over_time", kernel: presentKernel, condense: condenseCount()},
		{name: "last_over_time", kernel: lastKernel, condense: condenseLast(), keepsName: true},
		{name: "first_over_time", kernel: firstKernel, keepsName: true},
		{name: "stddev_over_time", kernel: stddevKernel},
		{name: "stdvar_over_time", kernel: stdvarKernel},
		{name: "changes", kernel: changesKernel},
		{name: "resets", kernel: resetsKernel, startTimes: true},
		{name: "deriv", kernel: genericKernel},
		{name: "mad_over_time", kernel: genericKernel},
		{name: "predict_linear", kernel: genericKernel, args: 1},
		{name: "quantile_over_time", kernel: genericKernel, args: 1, rangeArg: 1},
		{name: "double_exponential_smoothing", kernel: genericKernel, args: 2},
		{name: "ts_of_first_over_time", kernel: genericKernel},
		{name: "ts_of_last_over_time", kernel: genericKernel},
		{name: "ts_of_max_over_time", kernel: genericKernel},
		{name: "ts_of_min_over_time", kernel: genericKernel},
	}
	m := make(map[string]*rangeFunc, len(list))
	for _, f := range list {
		m[f.name] = f
	}
	return m
}
