package bench

import (
	"math"
	"math/rand/v2"
)

// valuer makes the values of a series, one a scrape.
type valuer interface{ next(r *rand.Rand) float64 }

// constant never changes: limits, versions, things that do not happen.
type constant float64

func (c constant) next(*rand.Rand) float64 { return float64(c) }

// counter grows by about mean units a scrape, by none in a share of them.
type counter struct {
	units, mean, spread float64
	idle                float64 // probability of no growth
	scale               float64 // a unit's worth: 0.01 for seconds of two decimals
}

func (c *counter) next(r *rand.Rand) float64 {
	if c.idle == 0 || r.Float64() >= c.idle {
		c.units += math.Max(0, math.Round(c.mean+c.spread*r.NormFloat64()))
	}
	return decimal(c.units, c.scale)
}

// gauge walks about its middle in steps of a unit.
type gauge struct {
	units, middle, spread float64
	idle                  float64 // probability of staying where it is
	scale                 float64
}

func (g *gauge) next(r *rand.Rand) float64 {
	if r.Float64() >= g.idle {
		back := (g.middle - g.units) / 64
		g.units = math.Max(0, math.Round(g.units+back+g.spread*r.NormFloat64()))
	}
	return decimal(g.units, g.scale)
}

// decimal returns units*scale as the nearest float64 of the short decimal, as an
// exporter that prints it would give it.
func decimal(units, scale float64) float64 {
	if scale < 1 {
		return units / math.Round(1/scale)
	}
	return units * scale
}

// histogram is a classic one: its buckets, sum and count move together. The
// first series of a scrape draws for all.
type histogram struct {
	mean   float64 // observations a scrape
	counts []float64
	sum    float64 // ms
}

// bucketShares says how many of the observations fall into each bucket, the last
// being above all bounds.
var bucketShares = []float64{0, 0, 0.02, 0.13, 0.35, 0.30, 0.15, 0.04, 0.01, 0, 0, 0}

func (h *histogram) draw(r *rand.Rand) {
	n := math.Max(0, math.Round(h.mean+math.Sqrt(h.mean)*r.NormFloat64()))
	left := n
	for i, share := range bucketShares {
		if left == 0 {
			break
		}
		here := math.Min(left, math.Max(0, math.Round(n*share+math.Sqrt(n*share)*0.5*r.NormFloat64())))
		h.counts[i] += here
		h.sum += math.Round(here * (10*math.Exp2(float64(i)) + r.Float64()))
		left -= here
	}
	h.counts[len(bucketShares)-6] += left
}

// bucketOf is one bucket's series, from below on; number 0 draws for the others.
type bucketOf struct {
	h      *histogram
	number int
}

func (b bucketOf) next(r *rand.Rand) float64 {
	if b.number == 0 && b.h.mean > 0 {
		b.h.draw(r)
	}
	n := 0.0
	for _, c := range b.h.counts[:b.number+1] {
		n += c
	}
	return n
}

type sumOf struct{ h *histogram }

func (s sumOf) next(*rand.Rand) float64 { return decimal(s.h.sum, 0.001) }

type countOf struct{ h *histogram }

func (c countOf) next(*rand.Rand) float64 {
	n := 0.0
	for _, v := range c.h.counts {
		n += v
	}
	return n
}
