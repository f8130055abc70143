//go:build !linux

package caller

import "syscall"

// closedByPeer cannot be told without reading.
func closedByPeer(syscall.RawConn) bool { return false }
