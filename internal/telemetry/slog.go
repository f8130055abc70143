package telemetry

import (
	"context"
	"log/slog"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// Slog returns a slog.Logger whose lines go to l, for the libraries that want
// one. Lines below least are dropped before their attributes are resolved.
func Slog(l log.Logger, least string) *slog.Logger {
	floor := slog.LevelError
	switch least {
	case "trace", "debug":
		floor = slog.LevelDebug
	case "info":
		floor = slog.LevelInfo
	case "warn":
		floor = slog.LevelWarn
	}
	return slog.New(&bridge{next: l, least: floor})
}

// bridge is a slog.Handler over a go-kit logger.
type bridge struct {
	next   log.Logger
	least  slog.Level
	prefix string // of the open groups: "a.b."
}

// Enabled implements slog.Handler.
func (b *bridge) Enabled(_ context.Context, l slog.Level) bool { return l >= b.least }

// Handle implements slog.Handler.
func (b *bridge) Handle(ctx context.Context, r slog.Record) error {
	keyvals := make([]any, 0, 4+2*r.NumAttrs())
	keyvals = append(keyvals, "msg", r.Message)
	if id := RequestID(ctx); id != "" {
		keyvals = append(keyvals, "request_id", id)
	}
	r.Attrs(func(a slog.Attr) bool {
		keyvals = appendAttr(keyvals, b.prefix, a)
		return true
	})
	return severity(b.next, r.Level).Log(keyvals...)
}

func severity(l log.Logger, at slog.Level) log.Logger {
	switch {
	case at >= slog.LevelError:
		return level.Error(l)
	case at >= slog.LevelWarn:
		return level.Warn(l)
	case at >= slog.LevelInfo:
		return level.Info(l)
	case at >= slog.LevelDebug:
		return level.Debug(l)
	}
	return Trace(l)
}

// WithAttrs implements slog.Handler.
func (b *bridge) WithAttrs(attrs []slog.Attr) slog.Handler {
	var keyvals []any
	for _, a := range attrs {
		keyvals = appendAttr(keyvals, b.prefix, a)
	}
	return &bridge{next: log.With(b.next, keyvals...), least: b.least, prefix: b.prefix}
}

// WithGroup implements slog.Handler.
func (b *bridge) WithGroup(name string) slog.Handler {
	if name == "" {
		return b
	}
	return &bridge{next: b.next, least: b.least, prefix: b.prefix + name + "."}
}

// appendAttr flattens an attribute and the groups in it.
func appendAttr(dst []any, prefix string, a slog.Attr) []any {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range v.Group() {
			dst = appendAttr(dst, prefix, inner)
		}
		return dst
	}
	if a.Key == "" {
		return dst
	}
	return append(dst, prefix+a.Key, v.Any())
}
