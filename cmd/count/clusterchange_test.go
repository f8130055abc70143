package main

import (
	"math"
	"testing"
)

func TestRepairRange(t *testing.T) {
	for _, c := range []struct {
		text       string
		start, end int64
		ok         bool
	}{
		{"1000,2000", 1000, 2000, true},
		{"1000..2000", 1000, 2000, true},
		{"2026-01-01T00:00:00Z,2026-01-02T00:00:00Z", 1767225600000, 1767312000000, true},
		{"2026-01-01T00:00:00Z..", 1767225600000, math.MaxInt64, true},
		{",2000", 0, 2000, true},
		{"2000,1000", 0, 0, false},
		{"-5,1000", 0, 0, false},
		{"1000", 0, 0, false},
		{"yesterday,today", 0, 0, false},
	} {
		f := repairFlags{end: math.MaxInt64}
		if err := f.setRange(c.text); (err == nil) != c.ok || c.ok && (f.start != c.start || f.end != c.end) {
			t.Errorf("%q: %d to %d, %v", c.text, f.start, f.end, err)
		}
	}
}
