package server

import (
	"bytes"
	stdlog "log"
	"strings"
	"sync"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// errorLog takes what net/http says of bad connections. Mostly it is the clients'
// doing and of no interest. That this node cannot complete a TLS handshake,
// because its certificate cannot be read any more, say, is said once.
type errorLog struct {
	logger log.Logger

	mu   sync.Mutex
	said string // guarded by mu; the last fault of this node
}

func newErrorLog(l log.Logger) *stdlog.Logger {
	return stdlog.New(&errorLog{logger: log.With(l, "part", "http")}, "", 0)
}

// ownFaults are how the errors begin that the toolkit gives for files of this
// node.
var ownFaults = []string{"failed to ", "open ", "read ", "yaml: ", "missing one of ", "TLS config is not present", "invalid ClientAuth", "client CA's "}

// Write implements io.Writer.
func (e *errorLog) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	if cause := handshakeFault(text); cause != "" && e.isNews(cause) {
		_ = level.Warn(e.logger).Log("msg", "TLS connections are refused: WEB_CONFIG_FILE or what it names cannot be used", "err", cause)
	}
	_ = level.Debug(e.logger).Log("msg", text)
	return len(line), nil
}

func (e *errorLog) isNews(cause string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	news := cause != e.said
	e.said = cause
	return news
}

// handshakeFault returns why a TLS handshake failed, where it is this node's
// fault.
func handshakeFault(line string) string {
	rest, ok := strings.CutPrefix(line, "http: TLS handshake error from ")
	if !ok {
		return ""
	}
	_, cause, ok := strings.Cut(rest, ": ")
	if !ok || strings.HasPrefix(cause, "read tcp") {
		return ""
	}
	for _, begin := range ownFaults {
		if strings.HasPrefix(cause, begin) {
			return cause
		}
	}
	return ""
}
