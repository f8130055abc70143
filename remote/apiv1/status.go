package apiv1

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/prometheus/prometheus/util/notifications"
	api "github.com/prometheus/prometheus/web/api/v1"
)

// PrometheusVersion is the version of Prometheus whose API is served. Clients
// such as Grafana choose their requests by it.
const PrometheusVersion = "3.16.0"

// StatusReader tells about the node. All methods are safe for concurrent use.
type StatusReader interface {
	// Flags are the settings in force by their names on the command line,
	// secrets masked.
	Flags() map[string]string
	// ConfigYAML are the settings in force as a configuration file, secrets
	// masked.
	ConfigYAML() string
	// Runtime tells about the process.
	Runtime() Runtime
	// Cardinality tells what the series in memory are made of; each list has at
	// most limit entries, the largest first.
	Cardinality(limit int) (Cardinality, error)
	// Churn tells how many series of the newest two-hour windows are new, the
	// newest window first.
	Churn(windows, limit int) []Churn
}

// Runtime is what /status/runtimeinfo and /status/buildinfo show of the node.
type Runtime struct {
	StartTime        time.Time
	Hostname         string
	WorkingDirectory string
	Retention        string
	Corruptions      int64
	Revision         string
	BuildDate        string
	GOGC, GODEBUG    string // from the environment
}

// Cardinality is what /status/tsdb shows.
type Cardinality struct {
	Series           int
	LabelPairs       int
	MinTime, MaxTime int64 // ms
	SeriesByMetric   []Count
	ValuesByLabel    []Count
	BytesByLabel     []Count
	SeriesByPair     []Count // name=value
}

// Churn is a window of time and the series that begin in it.
type Churn struct {
	Start, End  int64 // ms
	Series      int   // that have samples in the window
	New         int   // of these, in the window before they have none
	NewByMetric []Count
}

// Count is a name with a number.
type Count struct {
	Name  string
	Count uint64
}

func runtimeInfo(s StatusReader) api.RuntimeInfo {
	r := s.Runtime()
	return api.RuntimeInfo{
		StartTime:           r.StartTime,
		CWD:                 r.WorkingDirectory,
		Hostname:            r.Hostname,
		ServerTime:          time.Now().UTC(),
		ReloadConfigSuccess: true,
		LastConfigTime:      r.StartTime,
		CorruptionCount:     r.Corruptions,
		GoroutineCount:      runtime.NumGoroutine(),
		GOMAXPROCS:          runtime.GOMAXPROCS(0),
		GOMEMLIMIT:          debug.SetMemoryLimit(-1),
		GOGC:                r.GOGC,
		GODEBUG:             r.GODEBUG,
		StorageRetention:    r.Retention,
	}
}

func buildInfo(s StatusReader) *api.PrometheusVersion {
	r := s.Runtime()
	return &api.PrometheusVersion{Version: PrometheusVersion, Revision: r.Revision, Branch: "count", BuildDate: r.BuildDate, GoVersion: runtime.Version()}
}

// configHandler answers /status/config with Count's settings.
func configHandler(s StatusReader) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		success(w, map[string]string{"yaml": s.ConfigYAML()})
	})
}

// externalURL is where users reach the node.
func externalURL(external, listen string) *url.URL {
	if u, err := url.Parse(external); err == nil && u.Host != "" {
		return u
	}
	return &url.URL{Scheme: "http", Host: listen}
}

func tsdbStats(s StatusReader, limit int) (*tsdb.Stats, error) {
	c, err := s.Cardinality(limit)
	if err != nil {
		return nil, err
	}
	stats := func(counts []Count) []index.Stat {
		out := make([]index.Stat, 0, len(counts))
		for _, n := range counts {
			out = append(out, index.Stat{Name: n.Name, Count: n.Count})
		}
		return out
	}
	return &tsdb.Stats{
		NumSeries: uint64(c.Series), MinTime: c.MinTime, MaxTime: c.MaxTime,
		IndexPostingStats: &index.PostingsStats{
			CardinalityMetricsStats: stats(c.SeriesByMetric),
			CardinalityLabelStats:   stats(c.ValuesByLabel),
			LabelValueStats:         stats(c.BytesByLabel),
			LabelValuePairsStats:    stats(c.SeriesByPair),
			NumLabelPairs:           c.LabelPairs,
		},
	}, nil
}

// withHeadChunks adds the one metric that /status/tsdb reads from the registry:
// the open chunks, of which each series in memory has one.
type withHeadChunks struct {
	prometheus.Gatherer
	status StatusReader
}

// Gather implements prometheus.Gatherer.
func (g withHeadChunks) Gather() ([]*dto.MetricFamily, error) {
	families, err := g.Gatherer.Gather()
	c, countErr := g.status.Cardinality(0)
	if countErr != nil {
		return families, errors.Join(err, countErr)
	}
	name, kind, series := "prometheus_tsdb_head_chunks", dto.MetricType_GAUGE, float64(c.Series)
	return append(families, &dto.MetricFamily{Name: &name, Type: &kind, Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &series}}}}), err
}

// nothing stands for what a Prometheus has and Count has not: scraping, rules
// and alerts. The answers are empty and well-formed.
type nothing struct{}

func (n nothing) scrapePools(context.Context) api.ScrapePoolsRetriever    { return n }
func (n nothing) targets(context.Context) api.TargetRetriever             { return n }
func (n nothing) alertmanagers(context.Context) api.AlertmanagerRetriever { return n }
func (n nothing) rules(context.Context) api.RulesRetriever                { return n }

func (nothing) notifications() []notifications.Notification { return []notifications.Notification{} }

func (nothing) subscribe() (<-chan notifications.Notification, func(), bool) {
	return nil, func() {}, false
}

// ScrapePools implements api.ScrapePoolsRetriever.
func (nothing) ScrapePools() []string { return []string{} }

// ScrapePoolConfig implements api.TargetRetriever.
func (nothing) ScrapePoolConfig(pool string) (*config.ScrapeConfig, error) {
	return nil, unknownPoolError(pool)
}

// TargetsActive implements api.TargetRetriever.
func (nothing) TargetsActive() map[string][]*scrape.Target { return map[string][]*scrape.Target{} }

// TargetsDropped implements api.TargetRetriever.
func (nothing) TargetsDropped() map[string][]*scrape.Target { return map[string][]*scrape.Target{} }

// TargetsDroppedCounts implements api.TargetRetriever.
func (nothing) TargetsDroppedCounts() map[string]int { return map[string]int{} }

// Alertmanagers implements api.AlertmanagerRetriever.
func (nothing) Alertmanagers() []*url.URL { return []*url.URL{} }

// DroppedAlertmanagers implements api.AlertmanagerRetriever.
func (nothing) DroppedAlertmanagers() []*url.URL { return []*url.URL{} }

// RuleGroups implements api.RulesRetriever.
func (nothing) RuleGroups() []*rules.Group { return []*rules.Group{} }

// AlertingRules implements api.RulesRetriever.
func (nothing) AlertingRules() []*rules.AlertingRule { return []*rules.AlertingRule{} }

type unknownPoolError string

func (e unknownPoolError) Error() string { return "scrape pool " + string(e) + " does not exist" }
