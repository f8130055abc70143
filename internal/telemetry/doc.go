// Package telemetry is how a node tells about itself: log lines with levels
// (log.go) and a bridge for libraries that want slog (slog.go), the
// correlation id of a request (requestid.go), and the metrics registry
// (metrics.go).
//
// Metrics are named count_<part>_<noun>_<unit>[_total] and are declared in the
// part they measure; nothing uses the global registry.
package telemetry
