package model

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// Tombstone deletes the samples of the matched series in [MinT, MaxT] (ms,
// inclusive) whose version is below Version, whenever they arrive (V3).
type Tombstone struct {
	Version  Version
	MinT     int64
	MaxT     int64
	Matchers []*labels.Matcher
}

// Equal says whether two tombstones delete the same, in the same words.
func (t *Tombstone) Equal(o *Tombstone) bool {
	return t.Version == o.Version && t.MinT == o.MinT && t.MaxT == o.MaxT &&
		slices.EqualFunc(t.Matchers, o.Matchers, func(a, b *labels.Matcher) bool {
			return a.Type == b.Type && a.Name == b.Name && a.Value == b.Value
		})
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
