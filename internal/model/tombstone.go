package model

import "github.com/prometheus/prometheus/model/labels"

// Tombstone deletes the samples of the matched series in [MinT, MaxT] (ms,
// inclusive) whose version is below Version, whenever they arrive (V3).
type Tombstone struct {
	Version  Version
	MinT     int64
	MaxT     int64
	Matchers []*labels.Matcher
}

// Matches says whether the tombstone names the series.
func (t *Tombstone) Matches(ls labels.Labels) bool {
	for _, m := range t.Matchers {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}
