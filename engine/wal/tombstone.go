package wal

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

const tombstoneFormat = 1

// EncodeTombstone appends a delete as one log record.
func EncodeTombstone(dst []byte, t *model.Tombstone) []byte {
	dst = append(dst, RecordTombstone, tombstoneFormat)
	dst = wire.AppendUint64(dst, uint64(t.Version))
	dst = wire.AppendVarint(wire.AppendVarint(dst, t.MinT), t.MaxT)
	dst = wire.AppendUvarint(dst, uint64(len(t.Matchers)))
	for _, m := range t.Matchers {
		dst = wire.AppendString(wire.AppendString(append(dst, byte(m.Type)), m.Name), m.Value)
	}
	return dst
}

// DecodeTombstone reads a record that EncodeTombstone wrote.
func DecodeTombstone(rec []byte) (model.Tombstone, error) {
	d := wire.NewDecoder(rec)
	kind, format := d.Byte(), d.Byte()
	if d.Err() == nil && (kind != RecordTombstone || format != tombstoneFormat) {
		return model.Tombstone{}, fmt.Errorf("log record of kind %d, format %d is not supported here (a tombstone is %d, %d)", kind, format, RecordTombstone, tombstoneFormat)
	}
	t := model.Tombstone{Version: model.Version(d.Uint64()), MinT: d.Varint(), MaxT: d.Varint()}
	for range d.Count(3) {
		m, err := decodeMatcher(&d)
		if err != nil {
			return model.Tombstone{}, fmt.Errorf("tombstone record: %w", err)
		}
		t.Matchers = append(t.Matchers, m)
	}
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the tombstone", d.Len())
	}
	if d.Err() != nil {
		return model.Tombstone{}, fmt.Errorf("tombstone record: %w", d.Err())
	}
	return t, nil
}

func decodeMatcher(d *wire.Decoder) (*labels.Matcher, error) {
	kind, name, value := labels.MatchType(d.Byte()), d.String(), d.String()
	if d.Err() != nil {
		return nil, d.Err()
	}
	if kind < labels.MatchEqual || kind > labels.MatchNotRegexp {
		return nil, wire.Corruptf("matcher of type %d", kind)
	}
	m, err := labels.NewMatcher(kind, name, value)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", wire.ErrCorrupt, err)
	}
	return m, nil
}
