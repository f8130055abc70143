package write

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	commonmodel "github.com/prometheus/common/model"
)

// familyNote is the metadata that a version 2.0 request gives with a series:
// symbols. Senders give it with every series of every request.
type familyNote struct {
	kind       int32
	help, unit uint32
}

// given says whether there is any metadata.
func (n familyNote) given() bool { return n != familyNote{} }

func (n familyNote) within(symbols int) bool {
	return !n.given() || int64(max(n.help, n.unit)) < int64(symbols)
}

// read reads a Metadata message over what was read before: as everywhere in
// protobuf the last value of a field counts.
func (n *familyNote) read(b []byte) error {
	r := fieldReader{b: b}
	for r.more() {
		if !r.next() {
			return fmt.Errorf("metadata: %w", errMalformed)
		}
		switch r.num {
		case 1:
			n.kind = int32(r.value)
		case 3:
			n.help = uint32(r.value)
		case 4:
			n.unit = uint32(r.value)
		default:
			continue
		}
		if r.typ != wireVarint {
			return fmt.Errorf("metadata: %w", errMalformed)
		}
	}
	return nil
}

// noteFamily adds the metadata of a series to the batch unless this request
// gave it already or an earlier one did.
func (d *decoder) noteFamily(extras *extrasV2) error {
	note := extras.note
	if !note.given() || extras.family == noSymbol || d.told[extras.family] == note {
		return nil
	}
	d.told[extras.family] = note
	// An index of 0 may be no empty string with careless senders; it is what
	// they get where they gave no help.
	name, help, unit := d.symbols[extras.family], d.symbols[note.help], d.symbols[note.unit]
	hash := d.families.hash(name, note.kind, help, unit)
	if d.families.known(hash) {
		return nil
	}
	if err := d.charge(familyCost + len(name) + len(help) + len(unit)); err != nil {
		return err
	}
	m := metadataOf(string(name), note.kind, string(help), string(unit))
	m.Family = familyOf(m.Family, m.Type)
	if rejection := d.limits.CheckLength("", m.Family); rejection != nil || m.Family == "" {
		return nil // the series' own labels were checked; this one can't be stored with them
	}
	d.batch.Metadata = append(d.batch.Metadata, m)
	d.notes = append(d.notes, hash)
	return nil
}

// familyOf returns the name of the metric family that a series belongs to: the
// series of a classic histogram or summary have suffixes behind it.
func familyOf(name string, kind commonmodel.MetricType) string {
	var suffixes []string
	switch kind {
	case commonmodel.MetricTypeHistogram:
		suffixes = []string{"_bucket", "_count", "_sum"}
	case commonmodel.MetricTypeGaugeHistogram:
		suffixes = []string{"_bucket", "_gcount", "_gsum"}
	case commonmodel.MetricTypeSummary:
		suffixes = []string{"_count", "_sum"}
	}
	for _, suffix := range suffixes {
		if family, ok := strings.CutSuffix(name, suffix); ok {
			return family
		}
	}
	return name
}

const (
	// maxFamilies bounds what is remembered; then it is forgotten as a whole.
	maxFamilies = 1 << 16
	// familiesFor is how long: so that metadata lost otherwise comes again.
	familiesFor = 10 * time.Minute
)

// familyMemory remembers hashes of metadata that is stored, because version 2.0
// senders repeat all of it with every request. It is safe for concurrent use.
type familyMemory struct {
	seed maphash.Seed
	now  func() time.Time

	mu     sync.Mutex
	stored map[uint64]struct{}
	since  time.Time
}

func newFamilyMemory(now func() time.Time) *familyMemory {
	return &familyMemory{seed: maphash.MakeSeed(), now: now, stored: map[uint64]struct{}{}, since: now()}
}

func (f *familyMemory) hash(name []byte, kind int32, help, unit []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(f.seed)
	var frame [8]byte
	for _, part := range [][]byte{name, help, unit} {
		binary.LittleEndian.PutUint64(frame[:], uint64(len(part)))
		h.Write(frame[:])
		h.Write(part)
	}
	binary.LittleEndian.PutUint64(frame[:], uint64(kind))
	h.Write(frame[:])
	return h.Sum64()
}

func (f *familyMemory) known(hash uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.stored[hash]
	return ok
}

// remember marks metadata as stored.
func (f *familyMemory) remember(hashes []uint64) {
	if len(hashes) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); len(f.stored) >= maxFamilies || now.Sub(f.since) >= familiesFor {
		clear(f.stored)
		f.since = now
	}
	for _, h := range hashes {
		f.stored[h] = struct{}{}
	}
}
