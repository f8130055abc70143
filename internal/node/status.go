package node

import (
	"time"

	"github.com/prometheus/common/model"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/engine/registry"
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

// Cardinality implements apiv1.StatusReader.
func (s *status) Cardinality(limit int) (apiv1.Cardinality, error) {
	stats, c := s.db.Stats(), s.db.Registry().Cardinality(limit)
	return apiv1.Cardinality{
		Series: c.Series, LabelPairs: c.LabelPairs, MinTime: stats.MinTime, MaxTime: stats.MaxTime,
		SeriesByMetric: counts(c.SeriesByMetric), ValuesByLabel: counts(c.ValuesByLabel),
		BytesByLabel: counts(c.BytesByLabel), SeriesByPair: counts(c.SeriesByPair),
	}, nil
}

// Churn implements apiv1.StatusReader.
func (s *status) Churn(windows, limit int) []apiv1.Churn {
	const window = int64(2 * time.Hour / time.Millisecond)
	var out []apiv1.Churn
	for _, c := range s.db.Registry().Churn(windows, limit) {
		out = append(out, apiv1.Churn{
			Start: c.Window * window, End: (c.Window + 1) * window, Series: c.Series, New: c.New, NewByMetric: counts(c.Metrics),
		})
	}
	return out
}

func counts(in []registry.Count) []apiv1.Count {
	out := make([]apiv1.Count, 0, len(in))
	for _, c := range in {
		out = append(out, apiv1.Count(c))
	}
	return out
}
