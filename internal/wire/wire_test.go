package wire

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestDecoderReadsWhatWasAppended(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u64 := rapid.Uint64().Draw(t, "u64")
		i64 := rapid.Int64().Draw(t, "i64")
		u32 := rapid.Uint32().Draw(t, "u32")
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		s := rapid.String().Draw(t, "string")
		var buf []byte
		buf = AppendUvarint(buf, u64)
		buf = AppendVarint(buf, i64)
		buf = AppendUint32(buf, u32)
		buf = AppendUint64(buf, u64)
		buf = AppendBytes(buf, b)
		buf = AppendString(buf, s)
		buf = AppendFrame(buf, b, u32)
		d := NewDecoder(buf)
		if d.Uvarint() != u64 || d.Varint() != i64 || d.Uint32() != u32 || d.Uint64() != u64 ||
			!bytes.Equal(d.Bytes(), b) || d.String() != s || !bytes.Equal(d.Frame(u32), b) {
			t.Fatal("read something else than was appended")
		}
		if d.Err() != nil || d.Len() != 0 {
			t.Fatalf("err %v, %d bytes left", d.Err(), d.Len())
		}
	})
}

func TestEveryCutIsAnError(t *testing.T) {
	buf := AppendFrame(nil, []byte("payload"), 7)
	for n := range buf {
		d := NewDecoder(buf[:n])
		if d.Frame(7) != nil || !errors.Is(d.Err(), ErrCorrupt) {
			t.Fatalf("frame cut to %d bytes was accepted", n)
		}
	}
	for i := range buf {
		bad := bytes.Clone(buf)
		bad[i] ^= 0x10
		d := NewDecoder(bad)
		if d.Frame(7) != nil {
			t.Fatalf("frame with byte %d changed was accepted", i)
		}
	}
	d := NewDecoder(buf)
	if d.Frame(8) != nil {
		t.Fatal("frame with another seed was accepted")
	}
}

func TestErrorsStay(t *testing.T) {
	d := NewDecoder([]byte{1, 2})
	d.Uint32()
	first := d.Err()
	if d.Byte() != 0 || d.Uvarint() != 0 || d.Bytes() != nil || d.Take(1) != nil || d.Err() != first {
		t.Fatal("a decoder with an error must return zeros and keep the first error")
	}
	d = NewDecoder(AppendUvarint(nil, 1<<40))
	if d.Count(1) != 0 || d.Err() == nil {
		t.Fatal("a count beyond the rest must be refused")
	}
	d = NewDecoder(AppendUvarint(nil, 1<<33))
	if d.Uint32Varint() != 0 || d.Err() == nil {
		t.Fatal("a value beyond 32 bits must be refused")
	}
}

// FuzzDecoder reads arbitrary bytes by an arbitrary program of reads: no panic,
// and never more bytes than there are.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8}, AppendFrame(nil, []byte("x"), 0))
	f.Fuzz(func(t *testing.T, program, data []byte) {
		d := NewDecoder(data)
		for _, op := range program {
			switch op % 10 {
			case 0:
				d.Byte()
			case 1:
				d.Uint32()
			case 2:
				d.Uint64()
			case 3:
				d.Uvarint()
			case 4:
				d.Varint()
			case 5:
				d.Bytes()
			case 6:
				d.Take(int(op))
			case 7:
				if n := d.Count(2); n*2 > len(data) {
					t.Fatalf("count %d of %d bytes", n, len(data))
				}
			case 8:
				d.Frame(0)
			case 9:
				d.Uint32Varint()
			}
		}
		if d.Err() == nil && d.Offset()+d.Len() != len(data) {
			t.Fatalf("offset %d + rest %d != %d", d.Offset(), d.Len(), len(data))
		}
	})
}
