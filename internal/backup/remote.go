package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// RoutePath is where a node offers its snapshots: POST takes one and answers with
// a Snapshot, GET ?snapshot=ID&file=NAME sends a file of it, GET ?snapshot=ID
// keeps it for longer, DELETE ?snapshot=ID lets go of it.
const RoutePath = "/cluster/backup"

// Snapshot is what a node offers.
type Snapshot struct {
	ID        string         `json:"snapshot"`
	Node      uint64         `json:"node_id"`
	Disk      string         `json:"disk_id"` // hexadecimal
	Versioned bool           `json:"versioned"`
	Taken     int64          `json:"taken"`          // ms
	Version   uint64         `json:"version,string"` // above all in it
	Files     []SnapshotFile `json:"files"`
	// Before and After are what was in force when it was begun and when it was done.
	Before Standing `json:"before"`
	After  Standing `json:"after"`
	// Refilling says why the node's own data is not complete, or what of it is lost;
	// empty: it is.
	Refilling string `json:"refilling,omitempty"`
}

// Standing is what a node's part in the cluster depends on. Snapshots of several
// nodes belong together only where all had the same: a ring that has changed
// meanwhile moves data from one to the other, and a floor that has risen makes
// some forget what others still show.
type Standing struct {
	Ring  uint64 `json:"ring"` // number; 0: unknown
	Floor uint64 `json:"floor,string"`
}

// SnapshotFile is a file of a snapshot.
type SnapshotFile struct {
	Name        string `json:"name"` // in the data directory, with slashes
	Bytes       int64  `json:"bytes"`
	Fingerprint string `json:"fingerprint"` // of its end and length: tells it from another of that name
}

const (
	maxSnapshotAnswer = 64 << 20 // bytes
	answerText        = 2048     // bytes of a refusal that are shown
)

// Remote is a node to take a snapshot of.
type Remote struct {
	URL    string // without a slash at the end
	Node   uint64 // its id, as the ring has it; 0: not known
	Secret string // of the cluster; empty: none
	Client *http.Client
}

func (r *Remote) do(ctx context.Context, method string, params url.Values) (*http.Response, error) {
	at := r.URL + RoutePath
	if len(params) > 0 {
		at += "?" + params.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, at, nil)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if r.Secret != "" {
		req.Header.Set("Authorization", "Bearer "+r.Secret)
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no answer from %s: %w", r.URL, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerText))
	return nil, errors.Join(&statusError{r.URL, resp.Status, resp.StatusCode, strings.TrimSpace(string(text))}, err, resp.Body.Close())
}

// Begin has the node take a snapshot; End lets go of it.
func (r *Remote) Begin(ctx context.Context) (*Snapshot, error) {
	resp, err := r.do(ctx, http.MethodPost, nil)
	if err != nil {
		return nil, fmt.Errorf("take a snapshot: %w", err)
	}
	var s Snapshot
	err = json.NewDecoder(io.LimitReader(resp.Body, maxSnapshotAnswer)).Decode(&s)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("take a snapshot: read the answer of %s: %w", r.URL, err)
	}
	for _, f := range s.Files {
		if err := errors.Join(checkName(f.Name), checkName(f.Fingerprint)); err != nil {
			return nil, fmt.Errorf("snapshot of %s: %w", r.URL, err)
		}
	}
	return &s, nil
}

// Open opens a file of a snapshot.
func (r *Remote) Open(ctx context.Context, s *Snapshot, file string) (io.ReadCloser, error) {
	resp, err := r.do(ctx, http.MethodGet, url.Values{"snapshot": {s.ID}, "file": {file}})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return resp.Body, nil
}

// Touch keeps a snapshot for longer.
func (r *Remote) Touch(ctx context.Context, s *Snapshot) error {
	resp, err := r.do(ctx, http.MethodGet, url.Values{"snapshot": {s.ID}})
	if err != nil {
		return fmt.Errorf("keep a snapshot: %w", err)
	}
	return resp.Body.Close()
}

// End lets go of a snapshot.
func (r *Remote) End(ctx context.Context, s *Snapshot) error {
	resp, err := r.do(ctx, http.MethodDelete, url.Values{"snapshot": {s.ID}})
	if err != nil {
		return fmt.Errorf("let go of a snapshot: %w", err)
	}
	return resp.Body.Close()
}
