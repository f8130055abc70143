// Package version is the merge rule V1 and what it stands on: the hybrid
// logical clock that versions are read from, the order of two samples of one
// (series, timestamp), and the canonical bytes of a native histogram that the
// order compares (FORMAT.md).
//
// V1: every write carries a version from its coordinator's clock, read at
// request start. For one (series, timestamp) the higher version wins; equal
// versions: the larger of (kind, value bytes, start timestamp). That is a total
// order of everything that can be seen, so applying anything twice or in any
// order gives the same state.
package version
