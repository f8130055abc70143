package config

import (
	"net/url"
	"strings"
	"time"
)

// finish fills what follows from other settings and checks what only shows
// when they are seen together.
func (l *loader) finish(cfg *Config, set map[string]given) {
	_, explicit := set["cluster_enabled"]
	if !explicit {
		cfg.ClusterEnabled = len(cfg.ClusterNodes) > 0
	}
	cfg.Standalone = explicit && !cfg.ClusterEnabled
	if _, explicit := set["route_prefix"]; !explicit && cfg.ExternalURL != "" {
		if u, err := url.Parse(cfg.ExternalURL); err == nil {
			cfg.RoutePrefix = strings.TrimRight(u.Path, "/")
		}
	}
	if _, explicit := set["heartbeat_interval"]; !explicit {
		cfg.HeartbeatInterval = min(cfg.HeartbeatInterval, max(cfg.FailureTimeout/4, 10*time.Millisecond))
	}
	if cfg.ClusterEnabled && cfg.WebConfigFile != "" {
		l.together(set, "web_config_file", cfg.WebConfigFile, "does not go with a cluster: the nodes speak plain HTTP to one another at the same port and could not reach this one",
			"TLS and passwords in a proxy in front of the nodes, CLUSTER_SECRET between them, and this setting on a node alone (CLUSTER_ENABLED=false)")
	}
	if cfg.FailureTimeout < cfg.HeartbeatInterval {
		l.together(set, "failure_timeout", cfg.FailureTimeout.String(), "is shorter than HEARTBEAT_INTERVAL ("+cfg.HeartbeatInterval.String()+")", "at least HEARTBEAT_INTERVAL")
	}
}

// together records a fault of a setting in its relation to another one.
func (l *loader) together(set map[string]given, key, value, problem, allowed string) {
	g, ok := set[key]
	if !ok {
		g = given{key: strings.ToUpper(key), value: value, source: "default"}
	}
	l.faults = append(l.faults, Fault{Key: g.key, Source: g.source, Value: g.value, Problem: problem, Allowed: allowed})
}
