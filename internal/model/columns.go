package model

import (
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
)

// HistogramPoint is one native histogram as read back; exactly one of H and FH
// is set. It may be shared: readers must not change it.
type HistogramPoint struct {
	T   int64 // ms
	ST  int64 // start timestamp, ms; 0 = none
	H   *histogram.Histogram
	FH  *histogram.FloatHistogram
	Ver Version
}

// Columns are the samples of one series in a time range, merged by V1, without
// deleted ones, ascending by timestamp and at most one a timestamp over floats
// and histograms together. Floats and histograms are kept apart because nearly
// every series has only the one or the other. Stale markers are floats with
// the bit pattern value.StaleNaN and are included.
type Columns struct {
	T []int64   // timestamps of the floats, ms
	V []float64 // as long as T
	// ST holds start timestamps (ms, 0 = none) of the floats: nil or empty when
	// none has one.
	ST []int64
	// Ver holds the versions of the floats: filled only when asked for.
	Ver []Version
	// Hist holds the native histograms, ascending.
	Hist []HistogramPoint
	// TKey is equal for two reads of one selection when their T columns are
	// equal (the series of one scrape share their timestamps); 0 = unknown. It
	// lets window bounds be computed once for many series.
	TKey uint64
}

// Reset empties the columns and keeps their memory for the next use.
func (c *Columns) Reset() {
	c.T, c.V, c.ST, c.Ver = c.T[:0], c.V[:0], c.ST[:0], c.Ver[:0]
	clear(c.Hist)
	c.Hist = c.Hist[:0]
	c.TKey = 0
}

// Len returns the number of samples, floats and histograms.
func (c *Columns) Len() int { return len(c.T) + len(c.Hist) }

// Keep removes the samples that are not to stay by their timestamp and version; Ver
// is filled.
func (c *Columns) Keep(stays func(at int64, v Version) bool) {
	n := 0
	for i, at := range c.T {
		if !stays(at, c.Ver[i]) {
			continue
		}
		c.T[n], c.V[n], c.Ver[n] = at, c.V[i], c.Ver[i]
		if len(c.ST) > 0 {
			c.ST[n] = c.ST[i]
		}
		n++
	}
	if n < len(c.T) {
		c.TKey = 0
	}
	c.T, c.V, c.Ver = c.T[:n], c.V[:n], c.Ver[:n]
	if len(c.ST) > 0 {
		c.ST = c.ST[:n]
	}
	c.Hist = slices.DeleteFunc(c.Hist, func(p HistogramPoint) bool { return !stays(p.T, p.Ver) })
}
