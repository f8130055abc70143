package model

import (
	"slices"
	"testing"
)

func TestKeep(t *testing.T) {
	for _, sts := range [][]int64{nil, {1, 2, 3}} {
		c := Columns{
			T: []int64{10, 20, 30}, V: []float64{1, 2, 3}, ST: sts, Ver: []Version{7, 8, 9},
			Hist: []HistogramPoint{{T: 5, Ver: 8}, {T: 25, Ver: 9}}, TKey: 4,
		}
		c.Keep(func(int64, Version) bool { return true })
		if c.Len() != 5 || c.TKey != 4 {
			t.Fatalf("all is to stay: %+v", c)
		}
		c.Keep(func(at int64, v Version) bool { return at != 10 && v != 8 })
		if !slices.Equal(c.T, []int64{30}) || !slices.Equal(c.V, []float64{3}) || !slices.Equal(c.Ver, []Version{9}) || len(c.Hist) != 1 || c.Hist[0].T != 25 {
			t.Fatalf("left is %+v", c)
		}
		if sts != nil && !slices.Equal(c.ST, []int64{3}) || sts == nil && c.ST != nil {
			t.Errorf("start timestamps %v", c.ST)
		}
		if c.TKey != 0 {
			t.Error("fewer timestamps are still known by the key of all")
		}
	}
}
