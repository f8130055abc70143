package engine

import (
	"crypto/rand"
	"fmt"

	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

var identityFile = smallFile{name: "identity", magic: "CTid", version: 1}

// openIdentity reads the identity of a data directory, makes one for a new
// directory, and counts this start.
func openIdentity(fsys vfs.FS, dir string) (Identity, error) {
	var id Identity
	payload, ok, err := identityFile.read(fsys, dir)
	switch {
	case err != nil:
		return id, err
	case ok:
		if id, err = decodeIdentity(payload); err != nil {
			return id, fmt.Errorf("read %s: %w", identityFile.name, err)
		}
	default:
		if _, err := rand.Read(id.DiskID[:]); err != nil {
			return id, fmt.Errorf("make a disk id: %w", err)
		}
	}
	id.Starts++
	return id, identityFile.write(fsys, dir, encodeIdentity(id))
}

func encodeIdentity(id Identity) []byte {
	return wire.AppendUvarint(append([]byte(nil), id.DiskID[:]...), id.Starts)
}

func decodeIdentity(payload []byte) (Identity, error) {
	var id Identity
	d := wire.NewDecoder(payload)
	copy(id.DiskID[:], d.Take(len(id.DiskID)))
	id.Starts = d.Uvarint()
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the identity", d.Len())
	}
	return id, d.Err()
}
