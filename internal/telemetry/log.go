package telemetry

import (
	"fmt"
	"io"
	"slices"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// Levels lists the levels from the least to the most severe.
func Levels() []string { return []string{"trace", "debug", "info", "warn", "error"} }

// NewLogger returns a logger that writes lines of the least level given and
// above to w. Format is "json" or "logfmt". It is safe for concurrent use.
func NewLogger(w io.Writer, least, format string) (log.Logger, error) {
	rank := slices.Index(Levels(), least)
	if rank < 0 {
		return nil, fmt.Errorf("unknown log level %q", least)
	}
	var out log.Logger
	switch format {
	case "json":
		out = log.NewJSONLogger(log.NewSyncWriter(w))
	case "logfmt":
		out = log.NewLogfmtLogger(log.NewSyncWriter(w))
	default:
		return nil, fmt.Errorf("unknown log format %q", format)
	}
	out = log.With(out, "ts", log.DefaultTimestampUTC)
	return &filter{next: out, least: rank}, nil
}

// Trace returns a logger whose lines have the level trace, below debug.
func Trace(l log.Logger) log.Logger {
	return log.WithPrefix(l, level.Key(), traceLevel{})
}

type traceLevel struct{}

// String returns the name of the level.
func (traceLevel) String() string { return "trace" }

// filter drops lines below a level. Lines without a level pass: nobody who
// writes one wants it lost.
type filter struct {
	next  log.Logger
	least int
}

// Log implements log.Logger.
func (f *filter) Log(keyvals ...any) error {
	for i := 1; i < len(keyvals); i += 2 {
		if keyvals[i-1] != level.Key() {
			continue
		}
		if s, ok := keyvals[i].(fmt.Stringer); ok && rankOf(s.String()) < f.least {
			return nil
		}
		break
	}
	return f.next.Log(keyvals...)
}

func rankOf(name string) int {
	if i := slices.Index(Levels(), name); i >= 0 {
		return i
	}
	return len(Levels())
}
