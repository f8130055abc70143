// Package column holds the codecs of Count's columns: timestamps, float
// values, start timestamps, arrivals (versions) and native histograms. They are
// pure functions on slices: they append to what the caller gives, keep nothing,
// allocate nothing when the destination has room, and are lossless to the bit
// (NaN payloads, stale markers, -0 and infinities included). Decoders check all
// bounds: bytes that were not written by this package give ErrCorrupt or wrong
// values, never a panic nor memory beyond the count that the caller asked for.
//
// The bytes are described in FORMAT.md. Checksums are the business of the files
// that hold the columns.
package column

import (
	"fmt"

	"github.com/count-db/count/internal/wire"
)

// ErrCorrupt marks bytes that no encoder of this package wrote. It wraps
// wire.ErrCorrupt.
var ErrCorrupt = fmt.Errorf("column: %w", wire.ErrCorrupt)
