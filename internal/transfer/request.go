package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/count-db/count/internal/pause"
)

const (
	firstWait   = 200 * time.Millisecond
	longestWait = 30 * time.Second
	answerText  = 2048 // bytes of a refusal that are shown
)

// DefaultPatience is how long a node may refuse or be away before a transfer is
// given up.
const DefaultPatience = 10 * time.Minute

// Node is where samples are sent to or read from.
type Node struct {
	URL         string // without a slash at the end
	Client      *http.Client
	Consistency string        // of reads; empty: the node's default
	Patience    time.Duration // 0 = DefaultPatience
	// Notice is told why the transfer waits; may be nil. Safe for concurrent use.
	Notice func(text string)
}

// RefusedError says that a node will not take a request, now or later.
type RefusedError struct {
	Code int
	Text string
	// Written is how many samples of the request it stored all the same; -1 = it
	// did not say.
	Written int
}

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("the node answered %d: %s", e.Code, e.Text) }

// Do sends a request until it is taken: it waits while the node asks for
// patience (429), cannot be reached or is in trouble (5xx). The caller closes
// the answer's body.
func (n *Node) Do(ctx context.Context, make func() (*http.Request, error)) (*http.Response, error) {
	patience := n.Patience
	if patience == 0 {
		patience = DefaultPatience
	}
	var since time.Time
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		req, err := make()
		if err != nil {
			return nil, fmt.Errorf("make the request: %w", err)
		}
		resp, err := n.Client.Do(req.WithContext(ctx))
		if ctx.Err() != nil {
			if err == nil {
				err = resp.Body.Close()
			}
			return nil, errors.Join(context.Cause(ctx), err)
		}
		asked := time.Duration(0)
		if err == nil {
			if resp.StatusCode/100 == 2 {
				return resp, nil
			}
			asked, err = refusal(resp)
			var refused *RefusedError
			if errors.As(err, &refused) && refused.Code/100 != 5 && refused.Code != http.StatusTooManyRequests {
				return nil, err
			}
		}
		if since.IsZero() {
			since = time.Now()
			n.notice("waiting: " + err.Error())
		}
		if time.Since(since) > patience {
			return nil, fmt.Errorf("given up after %v: %w", patience, err)
		}
		if err := pause.For(ctx, max(wait, asked)); err != nil {
			return nil, err
		}
	}
}

func (n *Node) notice(text string) {
	if n.Notice != nil {
		n.Notice(text)
	}
}

// refusal reads an answer that is no success, and how long to wait.
func refusal(resp *http.Response) (wait time.Duration, err error) {
	text, readErr := io.ReadAll(io.LimitReader(resp.Body, answerText))
	if err := errors.Join(readErr, resp.Body.Close()); err != nil {
		return 0, fmt.Errorf("read the answer: %w", err)
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		wait = min(time.Duration(s)*time.Second, longestWait)
	}
	e := &RefusedError{Code: resp.StatusCode, Text: strings.TrimSpace(string(text)), Written: -1}
	if samples, err := strconv.Atoi(resp.Header.Get("X-Prometheus-Remote-Write-Samples-Written")); err == nil {
		e.Written = samples
		if hists, err := strconv.Atoi(resp.Header.Get("X-Prometheus-Remote-Write-Histograms-Written")); err == nil {
			e.Written += hists
		}
	}
	return wait, e
}
