package column

import (
	"github.com/prometheus/prometheus/model/histogram"

	"github.com/count-db/count/internal/model"
)

// DeriveHints sets the counter reset hints of the histograms of one series as
// they follow each other after a merge, as Prometheus' histogram chunks give
// them: gauges stay; one that is sure to follow without a reset says so; all
// others are unknown, resets too, given ones as well as found ones, because
// what they are relative to may be gone. A histogram whose hint changes is
// replaced by a shallow copy, since others may share it.
func DeriveHints(hs []model.HistogramPoint) {
	var prev, cur histogram.FloatHistogram
	known := false // prev can be compared with
	for i := range hs {
		p := &hs[i]
		hint := hintOf(p)
		stale := isStale(p)
		if stale || hint == histogram.GaugeType {
			known = false
			if stale {
				setHint(p, histogram.UnknownCounterReset)
			}
			continue
		}
		toFloat(p, &cur)
		if known && hint != histogram.CounterReset && follows(&prev, &cur) {
			setHint(p, histogram.NotCounterReset)
		} else {
			setHint(p, histogram.UnknownCounterReset)
		}
		prev, cur = cur, prev
		known = true
	}
}

// follows says whether cur is sure to come behind prev without a reset.
func follows(prev, cur *histogram.FloatHistogram) bool {
	return cur.Schema == prev.Schema && sameBits(cur.ZeroThreshold, prev.ZeroThreshold) && !cur.DetectReset(prev)
}

// toFloat fills f with the histogram's numbers, without its hint.
func toFloat(p *model.HistogramPoint, f *histogram.FloatHistogram) {
	if p.FH != nil {
		p.FH.CopyTo(f)
	} else {
		p.H.ToFloat(f)
	}
	f.CounterResetHint = histogram.UnknownCounterReset
}

func hintOf(p *model.HistogramPoint) histogram.CounterResetHint {
	if p.FH != nil {
		return p.FH.CounterResetHint
	}
	return p.H.CounterResetHint
}

func setHint(p *model.HistogramPoint, hint histogram.CounterResetHint) {
	if hintOf(p) == hint {
		return
	}
	if p.FH != nil {
		h := *p.FH
		h.CounterResetHint = hint
		p.FH = &h
		return
	}
	h := *p.H
	h.CounterResetHint = hint
	p.H = &h
}
