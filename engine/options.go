package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-kit/log"

	"github.com/count-db/count/engine/plan"
)

// Window is the length of the windows that data is sealed in.
const Window = 2 * time.Hour

// SyncMode says what an acknowledged write has reached (setting WAL_SYNC).
type SyncMode uint8

// The sync modes.
const (
	SyncAlways   SyncMode = iota // on disk before Append returns
	SyncInterval                 // synced every Options.SyncInterval
	SyncNever                    // written, never synced but when a segment ends
)

// Options of a DB. The zero value of each field means the default named here.
type Options struct {
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Logger takes JSON-able key/value lines. Default: none.
	Logger log.Logger

	// Versions keeps the version of every sample (a node of a cluster). When
	// false the order of arrival is the version, unless the directory was opened
	// with versions before: DB.Versioned tells.
	Versions bool

	// Sync is the policy of the log. Default: SyncAlways.
	Sync SyncMode
	// SyncInterval is the time between syncs in mode SyncInterval. Default: 200ms.
	SyncInterval time.Duration

	// FlushInterval is the longest that a sample stays only in log and buffer.
	// Default: 5 minutes.
	FlushInterval time.Duration
	// BufferBytes flushes when the buffer holds as many bytes. Default: 64 MiB.
	BufferBytes int64
	// BufferSamples flushes when the buffer holds as many samples. Default: no
	// bound.
	BufferSamples int64
	// LogBytes flushes when the log is as long. Default: 256 MiB.
	LogBytes int64
	// AppendWait is how long Append waits while the buffer is full before it
	// fails with ErrOverloaded. Default: 2 seconds.
	AppendWait time.Duration

	// SealDelay is how far a window's end lies behind the clock when it is
	// sealed. Default: 10 minutes.
	SealDelay time.Duration

	// Retention is how long samples are kept. 0 = for ever.
	Retention time.Duration
	// RetentionBytes bounds the bytes of files on disk. 0 = no bound.
	RetentionBytes int64

	// DiskReserve is how many bytes stay free on the disk: with less, appends are
	// refused with ErrDiskFull and files are not merged or sealed where that needs
	// more room, so that log and manifest never meet a full disk. It ends by itself
	// when there is room again. Default: 5 % of the disk, at most 128 MiB; negative:
	// none.
	DiskReserve int64

	// MaxSeries bounds the series the registry holds. 0 = no bound.
	MaxSeries int
	// MaxExemplars bounds the exemplars kept. Default: 100,000; negative: none.
	MaxExemplars int
	// MaxMetadata bounds the metric families with metadata. Default: 100,000.
	MaxMetadata int

	// OnLost is called, from any goroutine, when Lost has changed since Open began:
	// samples are missing, or will be when what cannot be read of a damaged file is
	// given up, which waits for Refilled. Default: none, and nothing waits.
	OnLost func()

	// NoBackground leaves flushing, sealing and retention to explicit calls of
	// Flush and Maintain: tests stay deterministic.
	NoBackground bool

	// Limits of merging and sealing. Default: plan.Default(). Tests make them small,
	// to see much of it with little data.
	Limits *plan.Limits
}

const (
	defaultSyncInterval  = 200 * time.Millisecond
	defaultFlushInterval = 5 * time.Minute
	defaultBufferBytes   = 64 << 20
	defaultLogBytes      = 256 << 20
	defaultAppendWait    = 2 * time.Second
	defaultSealDelay     = 10 * time.Minute
	defaultMaxExemplars  = 100_000
	defaultMaxMetadata   = 100_000
)

// withDefaults validates the options, naming every fault at once, and fills
// in the defaults.
func (o Options) withDefaults() (Options, error) {
	var errs []error
	for _, f := range []struct {
		name string
		v    int64
	}{
		{"SyncInterval", int64(o.SyncInterval)},
		{"FlushInterval", int64(o.FlushInterval)},
		{"BufferBytes", o.BufferBytes},
		{"BufferSamples", o.BufferSamples},
		{"LogBytes", o.LogBytes},
		{"AppendWait", int64(o.AppendWait)},
		{"SealDelay", int64(o.SealDelay)},
		{"Retention", int64(o.Retention)},
		{"RetentionBytes", o.RetentionBytes},
		{"MaxSeries", int64(o.MaxSeries)},
		{"MaxMetadata", int64(o.MaxMetadata)},
	} {
		if f.v < 0 {
			errs = append(errs, fmt.Errorf("engine option %s is negative: %d", f.name, f.v))
		}
	}
	if o.Sync > SyncNever {
		errs = append(errs, fmt.Errorf("engine option Sync is unknown: %d", o.Sync))
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = log.NewNopLogger()
	}
	orDefault(&o.SyncInterval, defaultSyncInterval)
	orDefault(&o.FlushInterval, defaultFlushInterval)
	orDefault(&o.BufferBytes, defaultBufferBytes)
	orDefault(&o.LogBytes, defaultLogBytes)
	orDefault(&o.AppendWait, defaultAppendWait)
	orDefault(&o.SealDelay, defaultSealDelay)
	orDefault(&o.MaxExemplars, defaultMaxExemplars)
	orDefault(&o.MaxMetadata, defaultMaxMetadata)
	if o.Limits == nil {
		limits := plan.Default()
		o.Limits = &limits
	}
	return o, errors.Join(errs...)
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
