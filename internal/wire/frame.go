package wire

// A frame is a uint32 length of the payload, the CRC32C of length and payload
// (seeded), and the payload: the envelope of a block that stands alone, such as
// a file's table or a whole small file.
//
//	0        4        8
//	| length | crc32c | payload ... |

// FrameOverhead is the number of bytes a frame adds to its payload.
const FrameOverhead = 8

// BeginFrame appends room for a frame's head. The payload is appended behind
// it, then EndFrame is called with the same start (the length of dst before).
func BeginFrame(dst []byte) []byte { return append(dst, 0, 0, 0, 0, 0, 0, 0, 0) }

// EndFrame fills in the head of the frame that begins at start.
func EndFrame(dst []byte, start int, seed uint32) []byte {
	payload := dst[start+FrameOverhead:]
	AppendUint32(dst[start:start], uint32(len(payload)))
	AppendUint32(dst[start+4:start+4], frameSum(seed, dst[start:start+4], payload))
	return dst
}

// AppendFrame appends payload as a frame.
func AppendFrame(dst, payload []byte, seed uint32) []byte {
	start := len(dst)
	dst = append(BeginFrame(dst), payload...)
	return EndFrame(dst, start, seed)
}

func frameSum(seed uint32, length, payload []byte) uint32 {
	return ChecksumFrom(ChecksumFrom(seed, length), payload)
}

// Frame reads a frame and checks it; nil with the error set when it is not
// whole.
func (d *Decoder) Frame(seed uint32) []byte {
	at := d.Offset()
	head := d.Take(FrameOverhead)
	if head == nil {
		return nil
	}
	h := NewDecoder(head)
	length, sum := h.Uint32(), h.Uint32()
	if uint64(length) > uint64(len(d.rest)) {
		d.Fail("frame at offset %d of %d bytes reaches beyond the end", at, length)
		return nil
	}
	payload := d.Take(int(length))
	if got := frameSum(seed, head[:4], payload); got != sum {
		d.Fail("frame at offset %d: checksum %08x, found %08x", at, sum, got)
		return nil
	}
	return payload
}
