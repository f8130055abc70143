package node

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/config"
	"github.com/count-db/count/internal/telemetry"
	"github.com/count-db/count/remote/apiv1"
)

// status tells the HTTP API about the node.
type status struct {
	cfg     *config.Config
	build   telemetry.Build
	place   Place
	db      *engine.DB
	started time.Time
}

// Flags implements apiv1.StatusReader.
func (s *status) Flags() map[string]string {
	out := map[string]string{}
	for _, setting := range s.cfg.Settings() {
		out[setting.Flag] = setting.Value
	}
	return out
}

// ConfigYAML implements apiv1.StatusReader.
func (s *status) ConfigYAML() string { return s.cfg.YAML() }

// Runtime implements apiv1.StatusReader.
func (s *status) Runtime() apiv1.Runtime {
	return apiv1.Runtime{
		StartTime: s.started, Hostname: s.place.Hostname, WorkingDirectory: s.place.WorkingDirectory,
		GOGC: s.place.GOGC, GODEBUG: s.place.GODEBUG,
		Retention:   model.Duration(s.cfg.Retention).String(),
		Corruptions: int64(s.db.Stats().QuarantinedFile),
		Revision:    s.build.Revision, BuildDate: s.build.Date,
	}
}

// Cardinality implements apiv1.StatusReader. It walks the series that have
// samples in the last two windows.
func (s *status) Cardinality(limit int) (apiv1.Cardinality, error) {
	stats := s.db.Stats()
	out := apiv1.Cardinality{Series: stats.Series, MinTime: stats.MinTime, MaxTime: stats.MaxTime}
	since := time.UnixMilli(stats.MaxTime).Add(-engine.Window).UnixMilli()
	every := labels.MustNewMatcher(labels.MatchNotEqual, labels.MetricName, "")
	sel, err := s.db.Select(context.Background(), since, math.MaxInt64, every)
	if err != nil {
		return out, err
	}
	defer sel.Close()
	metrics, pairs, bytes := map[string]uint64{}, map[labels.Label]uint64{}, map[string]uint64{}
	for i := range sel.Len() {
		sel.Labels(i).Range(func(l labels.Label) {
			if l.Name == labels.MetricName {
				metrics[l.Value]++
			}
			pairs[l]++
			bytes[l.Name] += uint64(len(l.Name) + len(l.Value))
		})
	}
	values, named := map[string]uint64{}, make(map[string]uint64, len(pairs))
	for pair, n := range pairs {
		values[pair.Name]++
		named[pair.Name+"="+pair.Value] = n
	}
	out.LabelPairs = len(pairs)
	out.SeriesByMetric, out.ValuesByLabel = largest(metrics, limit), largest(values, limit)
	out.BytesByLabel, out.SeriesByPair = largest(bytes, limit), largest(named, limit)
	return out, nil
}

// largest returns the entries with the highest counts, those first.
func largest(counts map[string]uint64, limit int) []apiv1.Count {
	out := make([]apiv1.Count, 0, len(counts))
	for name, n := range counts {
		out = append(out, apiv1.Count{Name: name, Count: n})
	}
	slices.SortFunc(out, func(a, b apiv1.Count) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name))
	})
	return out[:min(limit, len(out))]
}
