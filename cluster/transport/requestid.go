package transport

import (
	"context"

	"github.com/count-db/count/internal/wire"
)

// RequestIDs says how a context carries the correlation id of a client's request,
// which goes with what is asked of other nodes for it. The zero value carries
// none.
type RequestIDs struct {
	Of   func(ctx context.Context) string // "" = none
	With func(ctx context.Context, id string) context.Context
}

func (r RequestIDs) of(ctx context.Context) string {
	if r.Of == nil {
		return ""
	}
	return r.Of(ctx)
}

func (r RequestIDs) with(ctx context.Context, id string) context.Context {
	if r.With == nil || id == "" {
		return ctx
	}
	return r.With(ctx, id)
}

const (
	// maxRequestID is the longest id that is sent, in bytes; none in place of longer
	// ones.
	maxRequestID = 128
	// opIdentified marks the operation of a call with an id.
	opIdentified = 0x80
	// Flags of an append.
	appendFresh      = 1
	appendIdentified = 2
)

func appendRequestID(dst []byte, id string) []byte { return wire.AppendBytes(dst, []byte(id)) }

func decodeRequestID(d *wire.Decoder) string {
	id := d.Bytes()
	if len(id) > maxRequestID {
		d.Fail("request id of %d bytes", len(id))
		return ""
	}
	return string(id)
}
