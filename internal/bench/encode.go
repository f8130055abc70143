package bench

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/golang/snappy"
)

// Protocol is a version of remote write.
type Protocol int

// The protocols.
const (
	V1 Protocol = 1
	V2 Protocol = 2
)

// maxRequestSamples is what one request carries at most.
const maxRequestSamples = 2000

// request is an encoded request.
type request struct {
	body    []byte
	samples int
	round   int // of the scrapes
}

// Load is a data set encoded for a number of senders.
type Load struct {
	Set      DataSet
	Protocol Protocol
	Bytes    int64 // of all requests
	senders  [][]request
}

// point is a sample of a series.
type point struct {
	s *series
	t int64
	v float64
}

// Encode makes all requests. Each sender has targets of its own, so that the
// samples of a series are sent in order.
func Encode(set DataSet, protocol Protocol, senders int) *Load {
	load := &Load{Set: set, Protocol: protocol, senders: make([][]request, min(senders, set.Targets))}
	var wg sync.WaitGroup
	for i := range load.senders {
		wg.Go(func() {
			var targets []*target
			for t := i; t < set.Targets; t += len(load.senders) {
				targets = append(targets, set.newTarget(t))
			}
			load.senders[i] = encodeSender(targets, set.Rounds(), protocol)
		})
	}
	wg.Wait()
	for _, s := range load.senders {
		for _, r := range s {
			load.Bytes += int64(len(r.body))
		}
	}
	return load
}

// encodeSender makes the requests of one sender: each round is cut into requests
// of about equal size.
func encodeSender(targets []*target, rounds int, protocol Protocol) []request {
	total := len(targets) * seriesPerTarget
	pieces := (total + maxRequestSamples - 1) / maxRequestSamples
	size := (total + pieces - 1) / pieces
	encode := newEncoder(protocol)
	all := make([]request, 0, rounds*pieces)
	points := make([]point, 0, total)
	for round := range rounds {
		points = points[:0]
		for _, t := range targets {
			at := t.scrape(round)
			for i := range t.series {
				s := &t.series[i]
				points = append(points, point{s, at, s.value.next(t.rng)})
			}
		}
		for from := 0; from < total; from += size {
			part := points[from:min(from+size, total)]
			all = append(all, request{body: encode(part), samples: len(part), round: round})
		}
	}
	return all
}

// newEncoder returns a function that encodes and compresses a request.
func newEncoder(protocol Protocol) func([]point) []byte {
	var message, scratch []byte
	symbols := &symbolTable{}
	return func(points []point) []byte {
		message = message[:0]
		if protocol == V2 {
			message = symbols.encode(message, points)
		} else {
			for _, p := range points {
				scratch = append(scratch[:0], p.s.wire...)
				scratch = appendSample(scratch, p.t, p.v)
				message = appendBytes(message, 1, scratch)
			}
		}
		return append([]byte(nil), snappy.Encode(nil, message)...)
	}
}

// appendSample appends a Sample as field 2; a value of 0 is left out, as the
// generated code does.
func appendSample(dst []byte, t int64, v float64) []byte {
	var sample [24]byte
	b := sample[:0]
	if math.Float64bits(v) != 0 {
		b = append(b, 1<<3|1)
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	b = append(b, 2<<3)
	b = binary.AppendUvarint(b, uint64(t))
	return appendBytes(dst, 2, b)
}

// symbolTable encodes requests of version 2.0, each with a table of its own, in
// order of first use, as Prometheus makes it.
type symbolTable struct {
	numbers map[string]uint32
	order   []string
	series  []byte
}

func (st *symbolTable) number(s string) uint64 {
	n, ok := st.numbers[s]
	if !ok {
		n = uint32(len(st.order))
		st.numbers[s] = n
		st.order = append(st.order, s)
	}
	return uint64(n)
}

func (st *symbolTable) encode(dst []byte, points []point) []byte {
	st.numbers, st.order, st.series = map[string]uint32{"": 0}, append(st.order[:0], ""), st.series[:0]
	var refs, one []byte
	for _, p := range points {
		refs = refs[:0]
		for _, l := range p.s.labels {
			refs = binary.AppendUvarint(refs, st.number(l.name))
			refs = binary.AppendUvarint(refs, st.number(l.value))
		}
		one = appendBytes(one[:0], 1, refs)
		one = appendSample(one, p.t, p.v)
		st.series = appendBytes(st.series, 5, one)
	}
	for _, s := range st.order {
		dst = appendBytes(dst, 4, []byte(s))
	}
	return append(dst, st.series...)
}
