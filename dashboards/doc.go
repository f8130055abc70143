// Package dashboards holds what Grafana and Prometheus load to watch Count:
// dashboards, their provisioning, alert and recording rules. The tests hold them against
// the metrics that a node has and against PromQL.
package dashboards

import "embed"

// Files are the dashboards (grafana/*.json) and the rules (rules/*.yaml).
//
//go:embed grafana/*.json rules/*.yaml
var Files embed.FS
