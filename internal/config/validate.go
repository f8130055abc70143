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
	for _, pair := range [][2]string{{"cluster_tls_cert_file", "cluster_tls_key_file"}, {"cluster_tls_key_file", "cluster_tls_cert_file"}} {
		given, other := l.find(pair[0]).kind.get(cfg), l.find(pair[1]).kind.get(cfg)
		if given != "" && other == "" {
			l.together(set, pair[0], given, "goes with "+strings.ToUpper(pair[1])+" only", "both, or none of them")
		}
	}
	if cfg.ClusterSecret != "" && cfg.ClusterSecretFile != "" {
		l.together(set, "cluster_secret_file", cfg.ClusterSecretFile, "is set and CLUSTER_SECRET too", "one of them: the secret may move into the file as it is")
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
