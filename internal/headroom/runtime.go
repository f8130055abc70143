package headroom

import "runtime/metrics"

// reader asks the runtime. Not safe for concurrent use.
type reader struct{ samples []metrics.Sample }

func newReader() *reader {
	r := &reader{}
	for _, name := range []string{
		"/gc/heap/live:bytes", "/memory/classes/total:bytes", "/memory/classes/heap/released:bytes", "/gc/cycles/total:gc-cycles",
	} {
		r.samples = append(r.samples, metrics.Sample{Name: name})
	}
	return r
}

func (r *reader) read() Usage {
	metrics.Read(r.samples)
	at := func(i int) uint64 {
		if r.samples[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a runtime that does not know the name
		}
		return r.samples[i].Value.Uint64()
	}
	return Usage{Live: at(0), Total: at(1) - at(2), Collections: at(3)}
}
