package transport

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/count-db/count/internal/wire"
)

// Version is the number of the protocol; nodes of different versions refuse
// each other.
const Version = 1

// MaxFrame bounds one frame, in bytes.
const MaxFrame = 64 << 20

// readAhead is how much room is made at once for a frame that is to come, in bytes.
const readAhead = 1 << 20

// frameSeed starts the checksum of every frame: bytes of another protocol do
// not pass for a frame.
const frameSeed = 0xc0047001

// kind says what a frame is.
type kind byte

const (
	kindCall   kind = 1 // operation, deadline, payload
	kindAppend kind = 2 // samples; decoded in the order of arrival
	kindChunk  kind = 3 // a part of an answer; more follow
	kindEnd    kind = 4 // the last part of an answer
	kindError  kind = 5 // code and text: ends the answer
	kindCredit kind = 6 // so many more chunks may be sent
	kindCancel kind = 7 // the caller has lost interest
	kindPing   kind = 8
	kindPong   kind = 9
)

// frameHead is the kind and the number of the call.
const frameHead = 5

func beginFrame(dst []byte, k kind, id uint32) []byte {
	dst = wire.BeginFrame(dst)
	dst = append(dst, byte(k))
	return wire.AppendUint32(dst, id)
}

func endFrame(dst []byte, start int) []byte { return wire.EndFrame(dst, start, frameSeed) }

func appendFrame(dst []byte, k kind, id uint32, payload []byte) []byte {
	start := len(dst)
	dst = append(beginFrame(dst, k, id), payload...)
	return endFrame(dst, start)
}

// readFrame reads and checks one frame into buf, which it grows as needed. The
// payload is valid until buf is used again.
func readFrame(in *bufio.Reader, buf *[]byte) (k kind, id uint32, payload []byte, err error) {
	var head [wire.FrameOverhead]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, 0, nil, err
	}
	length := binary.LittleEndian.Uint32(head[:4])
	if length < frameHead || length > MaxFrame {
		return 0, 0, nil, wire.Corruptf("frame of %d bytes", length)
	}
	b := (*buf)[:0]
	for len(b) < int(length) {
		from := len(b)
		// Room is made as the frame comes: anybody can announce a large one.
		if to := min(int(length), max(cap(b), 2*from, readAhead)); to > cap(b) {
			b = append(make([]byte, 0, to+to/4), b...)
		}
		b = b[:min(int(length), cap(b))]
		*buf = b
		if _, err := io.ReadFull(in, b[from:]); err != nil {
			return 0, 0, nil, fmt.Errorf("frame of %d bytes: %w", length, err)
		}
	}
	sum := wire.ChecksumFrom(wire.ChecksumFrom(frameSeed, head[:4]), b)
	if want := binary.LittleEndian.Uint32(head[4:]); sum != want {
		return 0, 0, nil, wire.Corruptf("frame of %d bytes: checksum %08x, want %08x", length, sum, want)
	}
	return kind(b[0]), binary.LittleEndian.Uint32(b[1:]), b[frameHead:], nil
}
