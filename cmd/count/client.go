package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	defaultServer = "http://127.0.0.1:8080"
	clientTimeout = 3 * time.Minute
	maxAnswer     = 1 << 30 // bytes
)

// client talks to a node.
type client struct {
	base   string
	http   *http.Client
	secret string // of the cluster, for other nodes; empty: none
	// forNodes says that the secret opens what is asked for.
	forNodes bool
}

// parse parses flags and arguments in any order and returns the arguments.
// Negative numbers are arguments.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for {
		if len(args) > 0 && isNumber(args[0]) {
			rest, args = append(rest, args[0]), args[1:]
			continue
		}
		if err := fs.Parse(args); err != nil {
			return nil, &usageError{err}
		}
		args = fs.Args()
		if len(args) == 0 {
			return rest, nil
		}
		rest, args = append(rest, args[0]), args[1:]
	}
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// do sends a request and returns the answer's body; an answer that is not 2xx
// is an error with what the node said.
func (c *client) do(ctx context.Context, method, path, contentType string, body io.Reader) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	return c.patiently(ctx, method, path, contentType, body)
}

// patiently is do without a time limit: for what takes as long as data needs to
// move.
func (c *client) patiently(ctx context.Context, method, path, contentType string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no answer from %s: %w", c.base, hint(err))
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	if resp.StatusCode/100 != 2 {
		refused := fmt.Errorf("%s answered %s: %s", c.base, resp.Status, reason(text))
		if resp.StatusCode == http.StatusForbidden && c.forNodes && c.secret == "" {
			refused = fmt.Errorf("%w (CLUSTER_SECRET is not set here)", refused)
		}
		return text, refused
	}
	return text, nil
}

// reason is what a node says of a request that it refuses, without its JSON.
func reason(body []byte) string {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &e) == nil && e.Error != "" {
		return e.Error
	}
	return strings.TrimSpace(string(body))
}
