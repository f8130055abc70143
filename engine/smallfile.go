package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// smallFile is one of the engine's own files, written whole each time:
// identity, tombstones, exemplars, metadata. FORMAT.md describes them.
type smallFile struct {
	name    string
	magic   string // 4 bytes
	version byte
}

// write makes payload the durable content, atomically (E2).
func (s smallFile) write(fsys vfs.FS, dir string, payload []byte) error {
	data := make([]byte, 0, len(payload)+len(s.magic)+1+wire.FrameOverhead)
	data = append(append(data, s.magic...), s.version)
	data = wire.AppendFrame(data, payload, wire.Checksum(data))
	if err := vfs.WriteFile(fsys, filepath.Join(dir, s.name), data); err != nil {
		return fmt.Errorf("write %s: %w", s.name, err)
	}
	return nil
}

// read returns the payload; ok is false when there is no such file.
func (s smallFile) read(fsys vfs.FS, dir string) (payload []byte, ok bool, err error) {
	data, err := vfs.ReadFile(fsys, filepath.Join(dir, s.name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", s.name, err)
	}
	payload, err = s.decode(data)
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", s.name, err)
	}
	return payload, true, nil
}

func (s smallFile) decode(data []byte) ([]byte, error) {
	d := wire.NewDecoder(data)
	head := d.Take(len(s.magic) + 1)
	if d.Err() != nil {
		return nil, d.Err()
	}
	if string(head[:len(s.magic)]) != s.magic {
		return nil, wire.Corruptf("magic %q, want %q", head[:len(s.magic)], s.magic)
	}
	if v := head[len(s.magic)]; v != s.version {
		// Every version has its version byte under the frame's checksum: where that
		// fails it is a damaged byte, and no newer build wrote it.
		if d.Frame(wire.Checksum(head)); d.Err() != nil {
			return nil, d.Err()
		}
		return nil, fmt.Errorf("format version %d is not supported (this build reads %d)", v, s.version)
	}
	payload := d.Frame(wire.Checksum(head))
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the end", d.Len())
	}
	return payload, d.Err()
}
