package config

import "time"

// Config is a node's complete, validated configuration. The table in
// fields.go says what each setting means and what is allowed.
type Config struct {
	// Node and cluster.
	NodeID            uint64
	BindAddress       string // host:port; port 0 = any
	AdvertiseAddress  string // empty = derived from the bound address
	ClusterNodes      []string
	ClusterEnabled    bool
	Standalone        bool // CLUSTER_ENABLED=false was said: the node takes no joins
	ClusterName       string
	ClusterSecret     string
	ClusterSecretFile string // empty = ClusterSecret is all there is
	ClusterTLS        string // TLSAuto, TLSOff, TLSPrefer or TLSRequire
	ClusterTLSCA      string // file; empty = the system's CAs
	ClusterTLSCert    string // file; empty = that of the web config file
	ClusterTLSKey     string // file; empty = that of the web config file
	ClusterTLSName    string // empty = the host of each node's address
	Zone              string
	ReplicationFactor int
	CopyRate          int64 // bytes a second
	BackupRate        int64 // bytes a second; 0 = no limit
	CopyCPUPercent    int
	RepairRate        int64 // bytes a second
	RepairCPUPercent  int
	HeartbeatInterval time.Duration
	FailureTimeout    time.Duration

	// Storage.
	DataDir         string
	MemoryBuffer    BufferSize
	FlushInterval   time.Duration
	WALSync         string // SyncAlways, SyncInterval or SyncNever
	WALSyncInterval time.Duration
	Retention       time.Duration // 0 = everything is kept
	RetentionSize   int64         // bytes; 0 = no limit
	DiskReserve     int64         // bytes; 0 = left to the storage
	MaxSeries       int           // series in the registry; 0 = no limit
	MaxExemplars    int           // exemplars kept; 0 = none

	// Writes.
	MaxFuture           time.Duration
	WriteDeadline       time.Duration
	MaxBodySize         int64 // bytes, compressed and decoded alike
	MaxLabelsPerSeries  int
	MaxLabelNameLength  int // bytes
	MaxLabelValueLength int // bytes

	// Queries.
	QueryTimeout          time.Duration
	QueryMaxSamples       int
	QueryMaxLength        int64
	QueryConcurrency      int
	QuerySlowKept         int
	LookbackDelta         time.Duration
	QueryCacheSize        int64 // bytes; 0 = none, negative = left to the node
	RemoteReadSampleLimit int
	RemoteReadConcurrency int

	// HTTP.
	ExternalURL     string
	RoutePrefix     string // "" or "/prefix" without a slash at its end
	WebConfigFile   string
	CORSOrigin      string
	AdminAPI        bool
	ShutdownTimeout time.Duration

	// Process.
	LogLevel    string
	LogFormat   string
	MemoryLimit int64 // bytes; 0 = from the cgroup or the machine
	CPULimit    int   // threads running Go code; 0 = from the cgroup or the machine
}

// The policies of WAL_SYNC.
const (
	SyncAlways   = "always"
	SyncInterval = "interval"
	SyncNever    = "never"
)

// The ways of CLUSTER_TLS.
const (
	TLSAuto    = "auto" // require where WEB_CONFIG_FILE has TLS, else off
	TLSOff     = "off"
	TLSPrefer  = "prefer"
	TLSRequire = "require"
)

// BufferSize bounds the memory buffer: by samples, by bytes, or, when both are
// zero, by a share of the memory the process may use.
type BufferSize struct {
	Samples int64
	Bytes   int64
}

// Auto reports whether the size is left to the node.
func (b BufferSize) Auto() bool { return b == BufferSize{} }
