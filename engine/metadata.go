package engine

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	prommodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

var metadataFile = smallFile{name: "metadata", magic: "CTmd", version: 1}

// metadataStore holds the last metadata given for each metric family. It is
// logged with the batch that brings it, and written whole at a flush.
type metadataStore struct {
	mu       sync.RWMutex
	limit    int
	families map[string]metadata.Metadata
	changed  bool // since it was written
}

func newMetadataStore(limit int) *metadataStore {
	return &metadataStore{limit: limit, families: map[string]metadata.Metadata{}}
}

// fresh returns those of ms that say something new: only they need be logged.
// It does not allocate when there are none.
func (s *metadataStore) fresh(ms []model.Metadata) []model.Metadata {
	if len(ms) == 0 {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []model.Metadata
	for _, m := range ms {
		old, ok := s.families[m.Family]
		if (ok && old == m.Metadata) || (!ok && len(s.families)+len(out) >= s.limit) {
			continue
		}
		out = append(out, m)
	}
	return out
}

func (s *metadataStore) add(ms []model.Metadata) {
	if len(ms) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range ms {
		old, ok := s.families[m.Family]
		if (ok && old == m.Metadata) || (!ok && len(s.families) >= s.limit) {
			continue
		}
		s.families[m.Family] = m.Metadata
		s.changed = true
	}
}

func (s *metadataStore) list(family string, limit int) []model.Metadata {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if family != "" {
		if m, ok := s.families[family]; ok {
			return []model.Metadata{{Family: family, Metadata: m}}
		}
		return nil
	}
	names := slices.Sorted(maps.Keys(s.families))
	if limit > 0 && len(names) > limit {
		names = names[:limit]
	}
	out := make([]model.Metadata, len(names))
	for i, name := range names {
		out[i] = model.Metadata{Family: name, Metadata: s.families[name]}
	}
	return out
}

// persist writes the file if something changed.
func (s *metadataStore) persist(fsys vfs.FS, dir string) error {
	s.mu.Lock()
	if !s.changed {
		s.mu.Unlock()
		return nil
	}
	s.changed = false
	payload := s.encodeLocked()
	s.mu.Unlock()
	if err := metadataFile.write(fsys, dir, payload); err != nil {
		s.mu.Lock()
		s.changed = true
		s.mu.Unlock()
		return err
	}
	return nil
}

func (s *metadataStore) encodeLocked() []byte {
	names := slices.Sorted(maps.Keys(s.families))
	dst := wire.AppendUvarint(nil, uint64(len(names)))
	for _, name := range names {
		m := s.families[name]
		for _, text := range []string{name, string(m.Type), m.Unit, m.Help} {
			dst = wire.AppendString(dst, text)
		}
	}
	return dst
}

func decodeMetadata(payload []byte) ([]model.Metadata, error) {
	d := wire.NewDecoder(payload)
	out := make([]model.Metadata, 0, d.Count(4))
	for range cap(out) {
		var m model.Metadata
		m.Family = d.String()
		m.Type = prommodel.MetricType(d.String())
		m.Unit, m.Help = d.String(), d.String()
		out = append(out, m)
	}
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the metadata", d.Len())
	}
	return out, d.Err()
}

func (s *metadataStore) load(fsys vfs.FS, dir string) error {
	payload, ok, err := metadataFile.read(fsys, dir)
	if err != nil || !ok {
		return err
	}
	ms, err := decodeMetadata(payload)
	if err != nil {
		return fmt.Errorf("read %s: %w", metadataFile.name, err)
	}
	s.add(ms)
	s.changed = false
	return nil
}

// Metadata returns the metadata of a metric family, or of all families by name
// when family is empty; limit 0 = all.
func (db *DB) Metadata(family string, limit int) []model.Metadata {
	return db.metadata.list(family, limit)
}
