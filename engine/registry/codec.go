package registry

import (
	"encoding/binary"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// fileMagic begins the file; the last byte is the format's version.
const fileMagic = "CNTREGS\x01"

// The kinds of frames.
const (
	kindHead   = 1 // the next reference and the version floor
	kindSeries = 2 // definitions
	kindGone   = 3 // references whose series were evicted
)

// frameSeries is the number of definitions that share a frame, and its table
// of strings.
const frameSeries = 1024

// frame is one decoded frame; what its kind does not have is zero.
type frame struct {
	next   model.Ref
	floor  model.Version
	series []seriesDef
	gone   []model.Ref
}

type seriesDef struct {
	ref    model.Ref
	labels labels.Labels
}

// fileEncoder builds a part of the file. A frame's checksum is seeded with its
// offset in the file.
type fileEncoder struct {
	out     []byte
	offset  int64 // of out in the file
	symbols map[string]uint64
	names   []string
	body    []byte
}

func (e *fileEncoder) begin() { e.out = append(e.out, fileMagic...) }

func (e *fileEncoder) frame(payload func(dst []byte) []byte) {
	start := len(e.out)
	e.out = payload(wire.BeginFrame(e.out))
	e.out = wire.EndFrame(e.out, start, uint32(e.offset)+uint32(start))
}

func (e *fileEncoder) head(next model.Ref, floor model.Version) {
	e.frame(func(dst []byte) []byte {
		dst = append(dst, kindHead)
		dst = binary.AppendUvarint(dst, uint64(next))
		return binary.AppendUvarint(dst, uint64(floor))
	})
}

func (e *fileEncoder) goneFrame(refs []model.Ref) {
	if len(refs) == 0 {
		return
	}
	e.frame(func(dst []byte) []byte {
		dst = append(dst, kindGone)
		dst = binary.AppendUvarint(dst, uint64(len(refs)))
		for _, ref := range refs {
			dst = binary.AppendUvarint(dst, uint64(ref))
		}
		return dst
	})
}

// seriesFrames appends the definitions of refs, without those that name no
// series any more, and returns how many it wrote.
func (e *fileEncoder) seriesFrames(r *Registry, refs []model.Ref) int {
	written := 0
	for len(refs) > 0 {
		n := min(len(refs), frameSeries)
		written += e.seriesFrame(r, refs[:n])
		refs = refs[n:]
	}
	return written
}

func (e *fileEncoder) seriesFrame(r *Registry, refs []model.Ref) int {
	e.symbols, e.names, e.body = map[string]uint64{}, e.names[:0], e.body[:0]
	count := 0
	last := model.Ref(0)
	for _, ref := range refs {
		entry := r.entry(ref)
		if entry == nil {
			continue
		}
		count++
		e.body = binary.AppendVarint(e.body, int64(ref)-int64(last))
		last = ref
		e.body = binary.AppendUvarint(e.body, uint64(entry.labels.Len()))
		entry.labels.Range(func(l labels.Label) {
			e.body = binary.AppendUvarint(e.body, e.symbol(l.Name))
			e.body = binary.AppendUvarint(e.body, e.symbol(l.Value))
		})
	}
	if count == 0 {
		return 0
	}
	e.frame(func(dst []byte) []byte {
		dst = append(dst, kindSeries)
		dst = binary.AppendUvarint(dst, uint64(len(e.names)))
		for _, name := range e.names {
			dst = wire.AppendString(dst, name)
		}
		dst = binary.AppendUvarint(dst, uint64(count))
		return append(dst, e.body...)
	})
	return count
}

func (e *fileEncoder) symbol(s string) uint64 {
	at, ok := e.symbols[s]
	if !ok {
		at = uint64(len(e.names))
		e.symbols[s] = at
		e.names = append(e.names, s)
	}
	return at
}

// fileDecoder walks a file.
type fileDecoder struct {
	apply func(frame) error

	good    int // bytes up to the end of the last frame that is whole
	damaged int // frames skipped before it
	symbols []string
	builder labels.ScratchBuilder
}

// run applies all whole frames. What is behind the last whole one is the torn
// end; a frame that fails its check before it is damage. The error is of a file
// that is none of ours, or of what the frames say.
func (d *fileDecoder) run(data []byte) error {
	if len(data) < len(fileMagic) {
		return nil // torn while it was made
	}
	version := len(fileMagic) - 1
	switch magic := string(data[:len(fileMagic)]); {
	case magic == fileMagic:
		d.good = len(fileMagic)
	case magic[:version] == fileMagic[:version]:
		return wire.Corruptf("file begins with %q, want %q: a newer build wrote it, or it is damaged", magic, fileMagic)
	default:
		d.damaged++ // what is behind it may be whole
	}
	skipped := 0
	for at := len(fileMagic); at < len(data); {
		in := wire.NewDecoder(data[at:])
		payload := in.Frame(uint32(at))
		if in.Err() != nil {
			next := skipFrame(data, at)
			if next == 0 {
				break
			}
			skipped++
			at = next
			continue
		}
		fr, err := d.decode(payload)
		if err != nil {
			return err
		}
		if err := d.apply(fr); err != nil {
			return err
		}
		at += in.Offset()
		d.good = at
		d.damaged += skipped
		skipped = 0
	}
	return nil
}

// skipFrame returns the offset behind a frame that fails its check, by its
// length, or 0 when that leads nowhere.
func skipFrame(data []byte, at int) int {
	in := wire.NewDecoder(data[at:])
	length := in.Uint32()
	in.Take(wire.FrameOverhead - 4)
	in.Take(int(length))
	if in.Err() != nil || length == 0 {
		return 0
	}
	return at + in.Offset()
}

// decode reads the payload of one frame.
func (d *fileDecoder) decode(payload []byte) (frame, error) {
	in := wire.NewDecoder(payload)
	var fr frame
	switch kind := in.Byte(); kind {
	case kindHead:
		fr.next, fr.floor = model.Ref(in.Uint32Varint()), model.Version(in.Uvarint())
	case kindSeries:
		d.decodeSeries(&in, &fr)
	case kindGone:
		fr.gone = make([]model.Ref, in.Count(1))
		for i := range fr.gone {
			fr.gone[i] = model.Ref(in.Uint32Varint())
		}
	default:
		in.Fail("frame of unknown kind %d", kind)
	}
	if in.Err() == nil && in.Len() > 0 {
		in.Fail("%d bytes behind the end of a frame's content", in.Len())
	}
	return fr, in.Err()
}

func (d *fileDecoder) decodeSeries(in *wire.Decoder, fr *frame) {
	d.symbols = d.symbols[:0]
	for range in.Count(1) {
		d.symbols = append(d.symbols, in.String())
	}
	fr.series = make([]seriesDef, 0, in.Count(2))
	symbol := func() string {
		at := in.Uvarint()
		if at >= uint64(len(d.symbols)) {
			in.Fail("string %d of %d", at, len(d.symbols))
			return ""
		}
		return d.symbols[at]
	}
	last := int64(0)
	for range cap(fr.series) {
		last += in.Varint()
		if last <= 0 || last >= int64(^model.Ref(0)) {
			in.Fail("reference %d is out of range", last)
		}
		d.builder.Reset()
		previous := ""
		for range in.Count(2) {
			name, value := symbol(), symbol()
			if name <= previous || value == "" {
				in.Fail("label %q=%q behind %q", name, value, previous)
			}
			previous = name
			d.builder.Add(name, value)
		}
		if in.Err() != nil {
			return
		}
		fr.series = append(fr.series, seriesDef{model.Ref(last), d.builder.Labels()})
	}
}
