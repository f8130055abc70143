package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/pause"
	"github.com/count-db/count/internal/transfer"
	"github.com/count-db/count/internal/vfs"
)

// Target is what GET RestorePath answers: where a restore writes to. A node that
// lost its disk has another disk id, so a restore does not count on what it wrote
// there.
type Target struct {
	Disk string `json:"disk_id"` // hexadecimal
}

// target names where samples go; empty where the node's build does not say.
func (r *restoring) target(ctx context.Context) (string, error) {
	resp, err := r.to.Do(ctx, func() (*http.Request, error) { return r.request(http.MethodGet, "", nil) })
	var refused *transfer.RefusedError
	if errors.As(err, &refused) && refused.Code == http.StatusMethodNotAllowed {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask where to restore to: %w", err)
	}
	var t Target
	err = json.NewDecoder(io.LimitReader(resp.Body, answerText)).Decode(&t)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", fmt.Errorf("ask where to restore to: %w", err)
	}
	return t.Disk, nil
}

func (r *restoring) request(method, query string, body []byte) (*http.Request, error) {
	req, err := http.NewRequest(method, r.to.URL+RestorePath+query, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	if r.opts.Secret != "" {
		req.Header.Set("Authorization", "Bearer "+r.opts.Secret)
	}
	return req, nil
}

// longestRest is the longest rest after a request.
const longestRest = 5 * time.Second

// post sends a body until the cluster took it.
func (r *restoring) post(ctx context.Context, c content) error {
	if err := r.pace.Wait(ctx, c.samples); err != nil {
		return err
	}
	query := ""
	if r.opts.Overwrite {
		query = "?overwrite=true"
	}
	began := time.Now()
	resp, err := r.to.Do(ctx, func() (*http.Request, error) { return r.request(http.MethodPost, query, c.body) })
	if err != nil {
		return fmt.Errorf("write %d samples: %w", c.samples, err)
	}
	var out Outcome
	err = json.NewDecoder(io.LimitReader(resp.Body, answerText)).Decode(&out)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("read the answer to %d samples: %w", c.samples, err)
	}
	r.progress.Samples.Add(int64(out.Written))
	r.progress.Kept.Add(int64(out.Kept))
	took := time.Since(began)
	if err := r.tracker.wrote(c.number, c.at, out); err != nil || r.opts.Fast {
		return err
	}
	// The slower the cluster is, the longer it is left to others.
	return pause.For(ctx, min(took, longestRest))
}

// The directories of a node in the scratch directory: what was fetched stays as it
// was, and what is opened is made of it anew.
func fetchedDir(scratch string, node uint64) string {
	return filepath.Join(scratch, fmt.Sprintf("node-%d", node))
}

func openedDir(scratch string, node uint64) string {
	return filepath.Join(scratch, fmt.Sprintf("open-%d", node))
}

// openSnapshot opens the snapshot of a node that was fetched.
func (r *restoring) openSnapshot(n *Node) error {
	from, to := fetchedDir(r.opts.Scratch, n.ID), openedDir(r.opts.Scratch, n.ID)
	fsys := r.opts.FS
	if err := vfs.RemoveAll(fsys, to); err != nil {
		return err
	}
	if err := fsys.MkdirAll(filepath.Join(to, "files")); err != nil {
		return err
	}
	for i := range n.Files {
		f := &n.Files[i]
		name := filepath.FromSlash(f.Name)
		place := linkFile
		if filepath.Dir(name) == "." {
			place = copyFile // these are written to
		}
		if err := place(fsys, filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return fmt.Errorf("place %s: %w", f.Name, err)
		}
	}
	db, err := engine.Open(fsys, to, engine.Options{Versions: n.Versioned, NoBackground: true, Sync: engine.SyncNever})
	if err != nil {
		return err
	}
	r.nodes = append(r.nodes, opened{db, n})
	return nil
}

// linkFile makes a file appear under another name too, or copies it where the
// file system knows no links.
func linkFile(fsys vfs.FS, from, to string) error {
	if err := fsys.Link(from, to); err == nil {
		return nil
	}
	return copyFile(fsys, from, to)
}

func copyFile(fsys vfs.FS, from, to string) (err error) {
	in, err := fsys.OpenRead(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := fsys.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
