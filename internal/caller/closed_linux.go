package caller

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// States of a connection in the kernel's words (tcp_states.h).
const (
	tcpClose     = 7 // was reset, or is closed here
	tcpCloseWait = 8 // the other side sends no more
)

// closedByPeer says whether the other side has closed the connection. It reads
// nothing, so it may be called beside a reader.
func closedByPeer(raw syscall.RawConn) bool {
	var info *unix.TCPInfo
	var err error
	if ended := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); ended != nil {
		return true // it is closed here: the answer goes nowhere
	}
	if err != nil {
		return false // no TCP
	}
	switch info.State {
	case tcpClose:
		return true
	case tcpCloseWait:
		// The end came with the last acknowledgement, or before it.
		data, end := millis(info.Last_data_recv), millis(info.Last_ack_recv)
		return data-end >= halfCloseWithin || data >= halfClosedWait
	}
	return false
}

func millis(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }
