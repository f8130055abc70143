package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/count-db/count/internal/pause"
)

// DefaultPatience is how long moving a file is tried again where another try may
// do better: the connection to a node or to S3 broke, or the other side asked for
// patience.
const DefaultPatience = 2 * time.Minute

const (
	firstMoveWait   = 200 * time.Millisecond // doubled with each try
	longestMoveWait = 15 * time.Second
)

// statusError is what a node answered instead of what was asked for.
type statusError struct {
	url    string
	status string
	code   int
	text   string
}

// Error implements error.
func (e *statusError) Error() string {
	return fmt.Sprintf("%s answered %s: %s", e.url, e.status, e.text)
}

// transient says whether another try may do better.
func transient(err error) bool {
	var status *statusError
	var s3 minio.ErrorResponse
	var network *net.OpError
	var request *url.Error
	switch {
	case errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &status):
		return later(status.code)
	case errors.As(err, &s3):
		return later(s3.StatusCode)
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) || errors.As(err, &request)
}

// later says whether a status asks to come again.
func later(code int) bool {
	return code/100 == 5 && code != http.StatusNotImplemented || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout
}

// patiently calls move until it works, fails for good, or has been in trouble for
// too long.
func patiently(ctx context.Context, p *Progress, patience time.Duration, what string, move func() error) error {
	var since time.Time
	for wait := firstMoveWait; ; wait = min(2*wait, longestMoveWait) {
		began := time.Now()
		err := move()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return errors.Join(context.Cause(ctx), err)
		case !transient(err):
			return fmt.Errorf("%s: %w", what, err)
		}
		if since.IsZero() {
			since = began
			p.notice(fmt.Sprintf("%s: trying again: %v", what, err))
		}
		if time.Since(since)+wait > patience {
			return fmt.Errorf("%s: given up after %v: %w", what, time.Since(since).Round(time.Millisecond), err)
		}
		if err := pause.For(ctx, wait); err != nil {
			return err
		}
	}
}
