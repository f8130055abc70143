package wal

import "github.com/count-db/count/internal/vfs"

// Check is the log's part of the fsck: it reads everything from the position
// the manifest names as Replay does, and decodes every record. It checks frames,
// order and records; not whether the series of a sample are defined, which only
// the registry knows. It returns what Replay returns, and an error for the first
// record that cannot be decoded.
func Check(fs vfs.FS, dir string, from Position) (ReplayReport, error) {
	var b DecodedBatch
	return Replay(fs, dir, from, func(rec []byte) error {
		return DecodeBatch(rec, &b)
	})
}
