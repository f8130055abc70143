package write

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/count-db/count/internal/seriescache"
)

// stats are the metrics of remote write.
type stats struct {
	requests *prometheus.CounterVec // by version and code
	bytes    *prometheus.CounterVec // by version and whether compressed
}

func newStats(reg prometheus.Registerer, cache *seriescache.Cache) (*stats, error) {
	s := &stats{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "count_remote_write_requests_total",
			Help: "Remote write requests answered, by version of the protocol and status code.",
		}, []string{"version", "code"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "count_remote_write_received_bytes_total",
			Help: "Bytes of remote write requests, by version of the protocol, as sent and decompressed.",
		}, []string{"version", "form"}),
	}
	if reg == nil {
		return s, nil
	}
	collectors := append(cacheMetrics(cache), s.requests, s.bytes)
	for _, c := range collectors {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func cacheMetrics(cache *seriescache.Cache) []prometheus.Collector {
	counter := func(name, help string, get func(seriescache.Stats) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return get(cache.Stats()) })
	}
	gauge := func(name, help string, get func(seriescache.Stats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return get(cache.Stats()) })
	}
	return []prometheus.Collector{
		counter("count_series_cache_hits_total", "Series of write requests known by their label bytes.",
			func(s seriescache.Stats) float64 { return float64(s.Hits) }),
		counter("count_series_cache_misses_total", "Series of write requests whose labels had to be parsed.",
			func(s seriescache.Stats) float64 { return float64(s.Misses) }),
		counter("count_series_cache_evicted_total", "Series dropped from the cache of label bytes.",
			func(s seriescache.Stats) float64 { return float64(s.Evicted) }),
		gauge("count_series_cache_entries", "Series in the cache of label bytes.",
			func(s seriescache.Stats) float64 { return float64(s.Entries) }),
		gauge("count_series_cache_bytes", "Memory of the cache of label bytes.",
			func(s seriescache.Stats) float64 { return float64(s.Bytes) }),
	}
}

func (s *stats) answered(p protocol, code int) {
	s.requests.WithLabelValues(p.String(), strconv.Itoa(code)).Inc()
}

func (s *stats) received(p protocol, sent, plain int) {
	s.bytes.WithLabelValues(p.String(), "sent").Add(float64(sent))
	s.bytes.WithLabelValues(p.String(), "decompressed").Add(float64(plain))
}
