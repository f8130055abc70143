package model

// Version orders writes of the same (series, timestamp), by invariant V1 of
// docs/architecture.md: 52 bits of microseconds since the epoch, 12 bits of
// counter, read from the coordinator's hybrid logical clock at request start.
type Version uint64

// versionCounterBits is the width of the counter below the microseconds.
const versionCounterBits = 12

// VersionAt returns the lowest version of a microsecond since the epoch.
func VersionAt(micros int64) Version { return Version(micros) << versionCounterBits }

// Micros returns the microseconds since the epoch that the version was read at.
func (v Version) Micros() int64 { return int64(v >> versionCounterBits) }
