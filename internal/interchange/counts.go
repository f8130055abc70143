package interchange

import (
	"fmt"
	"math"
	"strconv"
)

func integerCount(n uint64) jsonCount { return jsonCount(strconv.FormatUint(n, 10)) }

func floatCount(v float64) jsonCount { return jsonCount(appendValue(nil, v)) }

func floatCounts(vs []float64) []jsonCount {
	var out []jsonCount
	for _, v := range vs {
		out = append(out, floatCount(v))
	}
	return out
}

// absolute turns the deltas of integer buckets into counts.
func absolute(deltas []int64) []jsonCount {
	var out []jsonCount
	var n int64
	for _, d := range deltas {
		n += d
		out = append(out, jsonCount(strconv.FormatInt(n, 10)))
	}
	return out
}

// counts reads counts and keeps the first error.
type counts struct{ err error }

func (c *counts) integer(text jsonCount) uint64 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		if v, floatErr := strconv.ParseFloat(string(text), 64); floatErr == nil && wholeCount(v) {
			return uint64(v)
		}
		c.fail(text)
	}
	return n
}

func (c *counts) float(text jsonCount) float64 {
	if text == "" {
		return 0
	}
	v, err := parseValue(string(text))
	if err != nil {
		c.fail(text)
	}
	return v
}

func (c *counts) floats(texts []jsonCount) []float64 {
	var out []float64
	for _, t := range texts {
		out = append(out, c.float(t))
	}
	return out
}

func (c *counts) deltas(texts []jsonCount) []int64 {
	var out []int64
	var before int64
	for _, t := range texts {
		n := c.integer(t)
		if n > math.MaxInt64 {
			c.fail(t)
			return nil
		}
		out = append(out, int64(n)-before)
		before = int64(n)
	}
	return out
}

func (c *counts) fail(text jsonCount) {
	if c.err == nil {
		c.err = fmt.Errorf("count %q is not one that a histogram can have", string(text))
	}
}
