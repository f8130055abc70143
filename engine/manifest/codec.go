package manifest

import (
	"fmt"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

const (
	magic  = "CTmf"
	format = 1
)

// The sections of the payload. A reader skips an odd tag that it does not know
// and refuses an even one: what must not be ignored gets an even number.
const (
	tagFiles    = 2
	tagNextID   = 4
	tagLog      = 6
	tagMark     = 8
	tagRegistry = 10
)

// encode returns the content of the manifest's file.
func encode(s *State) []byte {
	var p, section []byte
	add := func(tag uint64, body []byte) {
		p = wire.AppendBytes(wire.AppendUvarint(p, tag), body)
		section = body[:0]
	}
	section = wire.AppendUvarint(section, uint64(len(s.Files)))
	for i := range s.Files {
		section = appendFile(section, &s.Files[i])
	}
	add(tagFiles, section)
	add(tagNextID, wire.AppendUvarint(section, s.NextID))
	add(tagLog, wire.AppendUvarint(section, s.LogFrom))
	add(tagMark, wire.AppendUint64(section, uint64(s.Mark)))
	if s.Registry != "" {
		add(tagRegistry, append(section, s.Registry...))
	}
	out := append([]byte(magic), format)
	return wire.AppendFrame(out, p, wire.Checksum(out))
}

func appendFile(dst []byte, f *File) []byte {
	dst = wire.AppendUvarint(dst, f.ID)
	dst = append(dst, byte(f.Kind))
	dst = wire.AppendUvarint(dst, f.Arrival)
	dst = wire.AppendVarint(dst, f.Born)
	dst = wire.AppendUvarint(dst, uint64(f.Bytes))
	dst = wire.AppendUvarint(dst, uint64(f.Samples))
	dst = wire.AppendVarint(dst, f.MinT)
	dst = wire.AppendVarint(dst, f.MaxT)
	dst = wire.AppendUvarint(dst, uint64(f.MinVersion))
	dst = wire.AppendUvarint(dst, uint64(f.MaxVersion))
	dst = wire.AppendUvarint(dst, uint64(len(f.SealedOut)))
	for _, r := range f.SealedOut {
		dst = wire.AppendVarint(dst, r.First)
		dst = wire.AppendVarint(dst, r.Last)
	}
	return dst
}

// decode reads the content of the manifest's file. The error wraps
// wire.ErrCorrupt, or names a format that this build does not know.
func decode(data []byte) (*State, error) {
	s := &State{}
	err := wire.DecodeSections(data, "manifest", magic, format, func(tag uint64, body *wire.Decoder) error { return decodeSection(s, tag, body) })
	if err != nil {
		return nil, err
	}
	if err := s.validate(); err != nil {
		return nil, wire.Corruptf("%v", err)
	}
	return s, nil
}

func decodeSection(s *State, tag uint64, d *wire.Decoder) error {
	switch tag {
	case tagFiles:
		for range d.Count(11) {
			f := decodeFile(d)
			if d.Err() != nil {
				break
			}
			s.Files = append(s.Files, f)
		}
	case tagNextID:
		s.NextID = d.Uvarint()
	case tagLog:
		s.LogFrom = d.Uvarint()
	case tagMark:
		s.Mark = model.Version(d.Uint64())
	case tagRegistry:
		s.Registry = string(d.Rest())
	default:
		if tag%2 == 0 {
			return fmt.Errorf("manifest section %d is not supported: written by a newer build", tag)
		}
		d.Rest()
	}
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind section %d", d.Len(), tag)
	}
	return d.Err()
}

func decodeFile(d *wire.Decoder) File {
	f := File{
		ID: d.Uvarint(), Kind: Kind(d.Byte()), Arrival: d.Uvarint(), Born: d.Varint(), Bytes: int64(d.Uvarint()),
		Samples: int64(d.Uvarint()), MinT: d.Varint(), MaxT: d.Varint(),
		MinVersion: model.Version(d.Uvarint()), MaxVersion: model.Version(d.Uvarint()),
	}
	for range d.Count(2) {
		f.SealedOut = append(f.SealedOut, Range{First: d.Varint(), Last: d.Varint()})
	}
	return f
}
