package bench

import (
	"fmt"
	"math"
)

// Shape says what a data set looks like, so that two of them can be compared.
type Shape struct {
	LabelsMin, LabelsMax int
	// Repeats is the share of samples with the value of the one before.
	Repeats float64
	// EntropyBytes is the entropy of a value, in bytes, when a series' values
	// are told as differences or as differences of differences, whichever is
	// less: what a compressor of values could hope for.
	EntropyBytes float64
}

func (s Shape) String() string {
	return fmt.Sprintf("%d-%d labels a series, %.0f %% of the values repeat the one before, %.2f B of entropy a value",
		s.LabelsMin, s.LabelsMax, 100*s.Repeats, s.EntropyBytes)
}

// Describe looks at the data set's first targets.
func (d DataSet) Describe() Shape {
	shape := Shape{LabelsMin: math.MaxInt}
	repeats, samples, bits := 0, 0, 0.0
	for i := range min(d.Targets, 8) {
		t := d.newTarget(i)
		values := make([][]float64, len(t.series))
		for range d.Rounds() {
			for j := range t.series {
				values[j] = append(values[j], t.series[j].value.next(t.rng))
			}
		}
		for j, vs := range values {
			shape.LabelsMin = min(shape.LabelsMin, len(t.series[j].labels))
			shape.LabelsMax = max(shape.LabelsMax, len(t.series[j].labels))
			for k := 1; k < len(vs); k++ {
				if vs[k] == vs[k-1] {
					repeats++
				}
			}
			samples += len(vs) - 1
			first := differences(vs)
			bits += math.Min(entropy(first), entropy(differences(first))) * float64(len(vs)-1)
		}
	}
	shape.Repeats = float64(repeats) / float64(samples)
	shape.EntropyBytes = bits / 8 / float64(samples)
	return shape
}

// differences are told in thousandths, so that equal ones are equal.
func differences(vs []float64) []float64 {
	out := make([]float64, 0, len(vs))
	for i := 1; i < len(vs); i++ {
		out = append(out, math.Round((vs[i]-vs[i-1])*1000)/1000)
	}
	return out
}

// entropy returns the bits a value, by their frequencies.
func entropy(vs []float64) float64 {
	counts := map[float64]int{}
	for _, v := range vs {
		counts[v]++
	}
	bits := 0.0
	for _, n := range counts {
		p := float64(n) / float64(len(vs))
		bits -= p * math.Log2(p)
	}
	return bits
}
