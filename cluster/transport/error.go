package transport

import (
	"errors"
	"fmt"

	"github.com/count-db/count/internal/wire"
)

// Code is the kind of an error that a node answered with.
type Code byte

// The codes that callers decide on.
const (
	CodeOther       Code = 1 // anything else
	CodeOldRing     Code = 2 // the request carries an older ring; Detail is the newer one
	CodeNewRing     Code = 3 // the request carries a ring that the node has not yet
	CodeUnavailable Code = 4 // the node is refilling, starting or stopping
	CodeOverloaded  Code = 5 // try again later
	CodeUnknown     Code = 6 // a series number was not defined: send the labels again
	CodeLimit       Code = 7 // a limit of the node was passed
	CodeSettled     Code = 9 // what a delete reaches is settled above it (V4)
	CodeRefused     Code = 8 // another cluster, another disk under the same id, ...
)

// RemoteError is an error that another node answered with.
type RemoteError struct {
	Code   Code
	Text   string
	Detail []byte
}

// Error returns the text.
func (e *RemoteError) Error() string { return e.Text }

// CodeOf returns the code of an error in the chain, CodeOther for all others.
func CodeOf(err error) Code {
	var remote *RemoteError
	if errors.As(err, &remote) {
		return remote.Code
	}
	return CodeOther
}

// Errorf returns an error that keeps its code on the way to the caller.
func Errorf(code Code, format string, args ...any) error {
	return &RemoteError{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Errors of this side.
var (
	// ErrUnreachable means that there is no connection and none can be made now.
	ErrUnreachable = errors.New("unreachable")
	// ErrLost means that the connection ended before the answer came: the
	// request may or may not have been carried out.
	ErrLost = errors.New("connection lost")
	// ErrBusy means that too much is waiting to be sent to the node.
	ErrBusy = errors.New("too much is waiting to be sent to it")
	// ErrClosed means that this side was closed.
	ErrClosed = errors.New("transport is closed")
)

func appendError(dst []byte, err error) []byte {
	var remote *RemoteError
	if !errors.As(err, &remote) {
		remote = &RemoteError{Code: CodeOther}
	}
	dst = append(dst, byte(remote.Code))
	dst = wire.AppendString(dst, err.Error())
	return wire.AppendBytes(dst, remote.Detail)
}

func decodeError(payload []byte) error {
	d := wire.NewDecoder(payload)
	e := &RemoteError{Code: Code(d.Byte()), Text: d.String(), Detail: append([]byte(nil), d.Bytes()...)}
	if d.Err() != nil {
		return fmt.Errorf("error of the other node: %w", d.Err())
	}
	return e
}
