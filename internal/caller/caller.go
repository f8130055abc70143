// Package caller tells a request whose client waits for the answer from one that
// the client has given up.
//
// A process that was stopped for a while (a frozen machine, a long pause) finds
// requests in its connections whose clients went away long ago and have written
// something newer through another node since. Stamped now, such a write would be
// the later one. The end of the connection lies behind the request in the same
// socket, and the kernel knows of it before a line of the request is read.
package caller

import (
	"context"
	"net"
	"syscall"
	"time"
)

// Some clients close the half of the connection that they send on right behind a
// request, and read the answer from the other half. They count as waiting, unless
// that took them longer, or the answer takes longer.
const (
	halfCloseWithin = 20 * time.Millisecond // from the last byte of the request on
	halfClosedWait  = 200 * time.Millisecond
)

type key struct{}

// With returns a context whose requests come from a connection: for
// http.Server.ConnContext.
func With(ctx context.Context, nc net.Conn) context.Context {
	for {
		inner, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		nc = inner.NetConn() // TLS lies around it
	}
	c, ok := nc.(syscall.Conn)
	if !ok {
		return ctx
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return ctx // it is closed
	}
	return context.WithValue(ctx, key{}, raw)
}

// GaveUp says whether nobody waits for the answer to a request any more: its
// context has ended, or its client has closed the connection. A client may have
// given it up without a sign of it: one behind a proxy, or of a connection that it
// shares with its other requests. Whoever stamps a write asks after the stamp, so
// that a pause between the two leaves the write with the earlier one.
func GaveUp(ctx context.Context) bool {
	if ctx.Err() != nil {
		return true
	}
	raw, ok := ctx.Value(key{}).(syscall.RawConn)
	return ok && closedByPeer(raw)
}
