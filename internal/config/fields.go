package config

import (
	"strings"
	"time"
)

// field is one row of the table: a setting.
type field struct {
	key     string   // in the configuration file; the flag is --key-with-dashes, the environment KEY
	aliases []string // other accepted keys
	group   string   // heading in the documentation
	kind    kind     // parses a text into the Config and says what is allowed
	def     string   // the default, as one would write it; "" = unset
	shown   string   // how the documentation puts the default; "" = def
	secret  bool     // the value is never shown
	help    string
}

// env returns the name of the setting in the environment.
func (f *field) env() string { return strings.ToUpper(f.key) }

// flag returns the name of the setting on the command line, without dashes in
// front.
func (f *field) flag() string { return strings.ReplaceAll(f.key, "_", "-") }

// keys returns the key and its aliases; where one source gives several, the
// first wins.
func (f *field) keys() []string { return append([]string{f.key}, f.aliases...) }

const (
	groupNode    = "Node and cluster"
	groupStorage = "Storage"
	groupWrites  = "Writes"
	groupQueries = "Queries"
	groupHTTP    = "HTTP"
	groupProcess = "Process"
)

// fields returns THE table of settings. A new setting is a row here, a member
// of Config, and `make docs`.
func fields() []field {
	var all []field
	all = append(all, nodeFields()...)
	all = append(all, storageFields()...)
	all = append(all, edgeFields()...)
	return append(all, processFields()...)
}

func nodeFields() []field {
	return []field{
		{key: "node_id", group: groupNode, def: "1", kind: uintKind(1, 1<<63-1, func(c *Config) *uint64 { return &c.NodeID }), help: "positive integer, unique in the cluster; the node's positions on the ring follow from it"},
		{key: "bind_address", group: groupNode, def: "127.0.0.1:8080", kind: addressKind(true, func(c *Config) *string { return &c.BindAddress }), help: "host:port of the one HTTP port; port 0 takes any free one and prints it in the log"},
		{key: "advertise_address", group: groupNode, shown: "BIND_ADDRESS, or hostname:port where that names no one host", kind: addressKind(false, func(c *Config) *string { return &c.AdvertiseAddress }), help: "host:port at which the other nodes reach this one"},
		{key: "cluster_nodes", group: groupNode, shown: "empty: a single node", kind: addressesKind(func(c *Config) *[]string { return &c.ClusterNodes }), help: "comma-separated host:port (a list in the file): the founders, this node among them, or the nodes to join through; only seeds once there is a ring"},
		{key: "cluster_enabled", group: groupNode, shown: "true when CLUSTER_NODES is set", kind: boolKind(func(c *Config) *bool { return &c.ClusterEnabled }), help: "whether the node takes part in a cluster, to be explicit; a node alone takes joins unless it says false"},
		{key: "cluster_name", group: groupNode, def: "count", kind: textKind(true, func(c *Config) *string { return &c.ClusterName }), help: "keeps clusters apart: nodes of another name are not talked to"},
		{key: "cluster_secret", group: groupNode, secret: true, shown: "empty: none", kind: textKind(false, func(c *Config) *string { return &c.ClusterSecret }), help: "shared by the nodes of a cluster, asked of every node-to-node request, and enough for those without a password of WEB_CONFIG_FILE; whoever knows it can join and read everything: at least 128 random bits, and TLS where others see the network"},
		{key: "cluster_secret_file", group: groupNode, shown: "empty: CLUSTER_SECRET", kind: textKind(false, func(c *Config) *string { return &c.ClusterSecretFile }), help: "file of the cluster's secret instead of CLUSTER_SECRET, so that it can change while the nodes run: one secret a line, the first is shown to other nodes and all are taken from them; read again for each connection"},
		{key: "cluster_tls", group: groupNode, def: TLSAuto, shown: "auto: require where WEB_CONFIG_FILE has TLS, else off", kind: choiceKind(func(c *Config) *string { return &c.ClusterTLS }, TLSAuto, TLSOff, TLSPrefer, TLSRequire), help: "whether this node encrypts its connections to others; prefer, for changing over only, goes without where the other side speaks no TLS, and takes plain HTTP beside TLS at its own port"},
		{key: "cluster_tls_ca_file", group: groupNode, shown: "empty: the system's", kind: textKind(false, func(c *Config) *string { return &c.ClusterTLSCA }), help: "PEM file of the CAs that the certificates of other nodes must come from; this and the next two are read again for each connection"},
		{key: "cluster_tls_cert_file", group: groupNode, shown: "empty: that of WEB_CONFIG_FILE", kind: textKind(false, func(c *Config) *string { return &c.ClusterTLSCert }), help: "PEM file of the certificate that is shown to nodes that ask for one"},
		{key: "cluster_tls_key_file", group: groupNode, shown: "empty: that of WEB_CONFIG_FILE", kind: textKind(false, func(c *Config) *string { return &c.ClusterTLSKey }), help: "PEM file of the key to CLUSTER_TLS_CERT_FILE"},
		{key: "cluster_tls_server_name", group: groupNode, shown: "empty: each node's host", kind: textKind(false, func(c *Config) *string { return &c.ClusterTLSName }), help: "the name that the certificates of all nodes must be for, instead of the host of each one's address"},
		{key: "zone", group: groupNode, shown: "empty", kind: textKind(false, func(c *Config) *string { return &c.Zone }), help: "copies are spread over distinct zones where it is set; started with another one, the node has the ring changed"},
		{key: "replication_factor", group: groupNode, def: "3", kind: intKind(1, 32, func(c *Config) *int { return &c.ReplicationFactor }), help: "copies of each sample, capped at the cluster's size: what a cluster is founded with; `count cluster set-replication-factor` changes it later"},
		{key: "copy_rate", group: groupNode, def: "64MiB", kind: sizeKind(1<<10, func(c *Config) *int64 { return &c.CopyRate }), help: "bytes a second (16 a sample) that this node copies from others at most when the ring changes or when it refills"},
		{key: "copy_cpu_percent", group: groupNode, def: "25", kind: intKind(1, 100, func(c *Config) *int { return &c.CopyCPUPercent }), help: "share of the processors that copying for a change of the ring takes at most; a refill takes twice that"},
		{key: "repair_rate", group: groupNode, def: "128MiB", kind: sizeKind(1<<10, func(c *Config) *int64 { return &c.RepairRate }), help: "bytes a second (16 a sample) that comparing this node with the others and repairing read from the storage, or send, at most"},
		{key: "repair_cpu_percent", group: groupNode, def: "50", kind: intKind(1, 100, func(c *Config) *int { return &c.RepairCPUPercent }), help: "share of one processor that comparing with the others and repairing take at most while they go on; the cycle that verifies what is settled takes one percent by itself"},
		{key: "backup_rate", group: groupNode, def: "64MiB", kind: sizeKind(0, func(c *Config) *int64 { return &c.BackupRate }), help: "bytes a second that this node sends to backups at most; 0 = no limit"},
		{key: "heartbeat_interval", group: groupNode, def: "5s", shown: "5s, or a quarter of a shorter FAILURE_TIMEOUT", kind: durationKind(10*time.Millisecond, func(c *Config) *time.Duration { return &c.HeartbeatInterval }), help: "gossip probe interval"},
		{key: "failure_timeout", group: groupNode, def: "30s", kind: durationKind(10*time.Millisecond, func(c *Config) *time.Duration { return &c.FailureTimeout }), help: "time after which a silent node counts as failed"},
	}
}

func storageFields() []field {
	return []field{
		{key: "data_dir", group: groupStorage, def: "./count_data", kind: textKind(true, func(c *Config) *string { return &c.DataDir }), help: "data directory; created if missing, locked against a second process"},
		{key: "memory_buffer_size", group: groupStorage, def: "auto", shown: "auto (a share of the memory)", kind: bufferKind(func(c *Config) *BufferSize { return &c.MemoryBuffer }), help: "plain integer = samples, with a unit = bytes; reaching it flushes"},
		{key: "flush_interval", aliases: []string{"flush_interval_seconds"}, group: groupStorage, def: "300s", kind: durationKind(10*time.Millisecond, func(c *Config) *time.Duration { return &c.FlushInterval }), help: "time after which the buffer is flushed to a file"},
		{key: "wal_sync", group: groupStorage, def: SyncAlways, kind: choiceKind(func(c *Config) *string { return &c.WALSync }, SyncAlways, SyncInterval, SyncNever), help: "when the log is synced: before every acknowledgement, every WAL_SYNC_INTERVAL, or when the system pleases; only the first loses nothing in a power cut"},
		{key: "wal_sync_interval", group: groupStorage, def: "1s", kind: durationKind(10*time.Millisecond, func(c *Config) *time.Duration { return &c.WALSyncInterval }), help: "time between syncs of the log with WAL_SYNC=interval"},
		{key: "retention", group: groupStorage, def: "0", kind: durationKind(0, func(c *Config) *time.Duration { return &c.Retention }), help: "how long samples are kept; older ones are refused; 0 = for ever"},
		{key: "retention_size", group: groupStorage, def: "0", kind: sizeKind(0, func(c *Config) *int64 { return &c.RetentionSize }), help: "how much is kept on disk, the oldest days going first; 0 = no limit"},
		{key: "disk_reserve", group: groupStorage, def: "auto", shown: "auto (5 % of the disk, at most 128MiB)", kind: autoKind(sizeKind(1, func(c *Config) *int64 { return &c.DiskReserve })), help: "how much stays free on the disk of DATA_DIR: with less, writes are answered with 503 until there is room again"},
		{key: "max_series", group: groupStorage, def: "0", kind: intKind(0, 1<<31-1, func(c *Config) *int { return &c.MaxSeries }), help: "series in memory at once; samples of further new series are refused, known ones are still taken; 0 = no limit"},
		{key: "max_exemplars", group: groupStorage, def: "100000", kind: intKind(0, 1<<31-1, func(c *Config) *int { return &c.MaxExemplars }), help: "exemplars kept, the oldest going first; 0 = none"},
	}
}

func edgeFields() []field {
	return []field{
		{key: "max_future", group: groupWrites, def: "10m", kind: durationKind(0, func(c *Config) *time.Duration { return &c.MaxFuture }), help: "how far ahead of now a sample may lie"},
		{key: "write_deadline", group: groupWrites, def: "5s", kind: durationKind(10*time.Millisecond, func(c *Config) *time.Duration { return &c.WriteDeadline }), help: "how long a write waits for its copies before it is answered with 503"},
		{key: "max_body_size", group: groupWrites, def: "32MiB", kind: sizeKind(1024, func(c *Config) *int64 { return &c.MaxBodySize }), help: "largest request body, compressed and decoded alike; larger ones are answered with 413"},
		{key: "max_labels_per_series", group: groupWrites, def: "256", kind: intKind(1, 65535, func(c *Config) *int { return &c.MaxLabelsPerSeries }), help: "labels of a series, the metric name among them; series with more are refused"},
		{key: "max_label_name_length", group: groupWrites, def: "1024", kind: intKind(1, 1<<20, func(c *Config) *int { return &c.MaxLabelNameLength }), help: "bytes of a label name"},
		{key: "max_label_value_length", group: groupWrites, def: "16384", kind: intKind(1, 1<<20, func(c *Config) *int { return &c.MaxLabelValueLength }), help: "bytes of a label value"},

		{key: "query_timeout", group: groupQueries, def: "2m", kind: durationKind(time.Millisecond, func(c *Config) *time.Duration { return &c.QueryTimeout }), help: "time after which a query is given up"},
		{key: "query_max_samples", group: groupQueries, def: "50000000", kind: intKind(1, 1<<62, func(c *Config) *int { return &c.QueryMaxSamples }), help: "samples that one query may hold in memory"},
		{key: "query_max_length", group: groupQueries, def: "1MiB", kind: sizeKind(1024, func(c *Config) *int64 { return &c.QueryMaxLength }), help: "bytes of one query, and of the selectors of one request together; longer ones are refused"},
		{key: "query_concurrency", group: groupQueries, def: "20", kind: intKind(1, 100000, func(c *Config) *int { return &c.QueryConcurrency }), help: "queries that run at once; others wait, up to 50 for each that runs and 30 s, and are then answered with 503"},
		{key: "query_cache_size", group: groupQueries, def: "auto", shown: "auto (1/32 of the memory, at most 128MiB)", kind: autoSizeKind(func(c *Config) *int64 { return &c.QueryCacheSize }), help: "memory of the partial results that are kept for queries over the same steps, and used while nothing changed in the ranges of time that they are from; 0 = none; a request with nocache=1 computes all"},
		{key: "query_slow_kept", group: groupQueries, def: "50", kind: intKind(0, 10000, func(c *Config) *int { return &c.QuerySlowKept }), help: "how many of the slowest queries of the last hour a node shows; 0 = none"},
		{key: "lookback_delta", group: groupQueries, def: "5m", kind: durationKind(time.Millisecond, func(c *Config) *time.Duration { return &c.LookbackDelta }), help: "how far back an instant selector looks for a sample"},
		{key: "remote_read_sample_limit", group: groupQueries, def: "50000000", kind: intKind(0, 1<<62, func(c *Config) *int { return &c.RemoteReadSampleLimit }), help: "samples that one remote read in the sampled form may return; 0 = no limit"},
		{key: "remote_read_concurrency", group: groupQueries, def: "10", kind: intKind(0, 100000, func(c *Config) *int { return &c.RemoteReadConcurrency }), help: "remote reads that run at once; 0 = no limit"},

		{key: "external_url", group: groupHTTP, shown: "empty", kind: urlKind(func(c *Config) *string { return &c.ExternalURL }), help: "URL at which users reach the node, through a proxy perhaps"},
		{key: "route_prefix", group: groupHTTP, shown: "the path of EXTERNAL_URL", kind: prefixKind(func(c *Config) *string { return &c.RoutePrefix }), help: "path that stands before every route; the routes also answer without it"},
		{key: "web_config_file", group: groupHTTP, shown: "empty", kind: textKind(false, func(c *Config) *string { return &c.WebConfigFile }), help: "file with TLS and basic-auth settings in the format of Prometheus's exporter-toolkit; a cluster needs CLUSTER_SECRET beside passwords, and mostly CLUSTER_TLS_CA_FILE beside TLS"},
		{key: "cors_origin", group: groupHTTP, def: ".*", kind: regexpKind(func(c *Config) *string { return &c.CORSOrigin }), help: "regular expression (anchored) of the origins that browsers may query from"},
		{key: "admin_api", group: groupHTTP, def: "false", kind: boolKind(func(c *Config) *bool { return &c.AdminAPI }), help: "opens the administrative endpoints, pprof among them"},
		{key: "shutdown_timeout", group: groupHTTP, def: "30s", kind: durationKind(0, func(c *Config) *time.Duration { return &c.ShutdownTimeout }), help: "how long running requests may take to end after SIGTERM"},
	}
}

func processFields() []field {
	return []field{
		{key: "log_level", group: groupProcess, def: "info", kind: choiceKind(func(c *Config) *string { return &c.LogLevel }, "error", "warn", "info", "debug", "trace"), help: "least severe level that is logged"},
		{key: "log_format", group: groupProcess, def: "json", kind: choiceKind(func(c *Config) *string { return &c.LogFormat }, "json", "logfmt"), help: "form of the log lines"},
		{key: "memory_limit", group: groupProcess, def: "auto", shown: "auto (90 % of what the cgroup or the machine has)", kind: autoKind(sizeKind(16<<20, func(c *Config) *int64 { return &c.MemoryLimit })), help: "soft limit of the Go heap; GOMEMLIMIT in the environment goes before it"},
		{key: "cpu_limit", group: groupProcess, def: "auto", shown: "auto (what the cgroup or the machine has)", kind: autoKind(intKind(1, 4096, func(c *Config) *int { return &c.CPULimit })), help: "threads that run Go code at once; GOMAXPROCS in the environment goes before it"},
	}
}
