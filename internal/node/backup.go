package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/backup"
	"github.com/count-db/count/internal/server"
	"github.com/count-db/count/internal/telemetry"
	"github.com/count-db/count/internal/vfs"
)

const (
	// backupDir is where snapshots for backups lie, in the data directory: hard
	// links want the same file system.
	backupDir = "backup"
	// mostSnapshots is how many are held at once: each keeps files that are merged
	// or dropped meanwhile on the disk.
	mostSnapshots = 2
	// snapshotLife is how long one is held that nobody reads from or asks for.
	snapshotLife = 10 * time.Minute
	// fingerprintBytes of the end of a file tell it from another of its name: a data
	// file's tail says what it holds, under a checksum.
	fingerprintBytes = 4 << 10
)

// backups serves backup.RoutePath: snapshots of this node for backups.
type backups struct {
	db      *engine.DB
	fs      vfs.FS
	dir     string
	node    uint64
	pace    *backup.Pace
	cluster clusterSight
	logger  log.Logger

	mu     sync.Mutex
	held   map[string]*heldSnapshot // guarded by mu
	closed bool                     // guarded by mu
}

// clusterSight tells what a snapshot of this node is worth.
type clusterSight interface {
	RingRecord() *membership.RingRecord
	Health() cluster.Health
}

// heldSnapshot is one that a client reads.
type heldSnapshot struct {
	files   map[string]int64 // bytes by name
	readers int              // guarded by backups.mu
	expires *time.Timer
}

// newBackups removes what an earlier process left. rate bounds the bytes that
// backups read in a second; 0 = it does not.
func newBackups(db *engine.DB, fsys vfs.FS, dataDir string, node uint64, sight clusterSight, rate int64, logger log.Logger) (*backups, error) {
	b := &backups{
		db: db, fs: fsys, dir: filepath.Join(dataDir, backupDir), node: node, cluster: sight, pace: backup.NewPace(rate),
		logger: logger, held: map[string]*heldSnapshot{},
	}
	if err := vfs.RemoveAll(fsys, b.dir); err != nil {
		return nil, fmt.Errorf("remove snapshots of an earlier start: %w", err)
	}
	return b, nil
}

// close lets go of all snapshots.
func (b *backups) close() error {
	b.mu.Lock()
	b.closed = true
	for id, s := range b.held {
		s.expires.Stop()
		delete(b.held, id)
	}
	b.mu.Unlock()
	return vfs.RemoveAll(b.fs, b.dir)
}

// ServeHTTP implements http.Handler.
func (b *backups) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.FormValue("snapshot")
	switch r.Method {
	case http.MethodPost:
		b.take(w, r)
	case http.MethodDelete:
		found, err := b.drop(id)
		switch {
		case err != nil:
			server.WriteError(w, http.StatusInternalServerError, err.Error())
		case !found:
			server.WriteError(w, http.StatusNotFound, "no such snapshot")
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	default:
		b.send(w, r, id, r.FormValue("file"))
	}
}

// take makes a snapshot and answers with what is in it.
func (b *backups) take(w http.ResponseWriter, r *http.Request) {
	s, err := b.snapshot(r.Context())
	outcome := "done"
	if err != nil {
		outcome = err.Error()
	}
	level.Info(telemetry.Logger(r.Context(), b.logger)).Log("msg", "audit", "action", "backup", "outcome", outcome)
	switch {
	case errors.Is(err, errTooManySnapshots):
		w.Header().Set("Retry-After", "10")
		server.WriteError(w, http.StatusTooManyRequests, err.Error())
	case err != nil:
		server.WriteError(w, http.StatusInternalServerError, err.Error())
	default:
		server.WriteJSON(w, http.StatusOK, s)
	}
}

var errTooManySnapshots = fmt.Errorf("%d backups of this node are under way already", mostSnapshots)

func (b *backups) snapshot(ctx context.Context) (*backup.Snapshot, error) {
	var tail [8]byte
	if _, err := rand.Read(tail[:]); err != nil {
		return nil, fmt.Errorf("name a snapshot: %w", err)
	}
	id := hex.EncodeToString(tail[:])
	if err := b.reserve(id); err != nil {
		return nil, err
	}
	identity := b.db.Identity()
	out := &backup.Snapshot{
		ID: id, Node: b.node, Disk: hex.EncodeToString(identity.DiskID[:]), Versioned: b.db.Versioned(),
		Before: b.standing(), Refilling: b.cluster.Health().Refill,
	}
	dir := filepath.Join(b.dir, id)
	err := b.fs.MkdirAll(b.dir)
	if err == nil {
		err = b.db.Snapshot(ctx, dir)
	}
	if err == nil {
		out.After = b.standing()
		if lost := b.db.Lost(); out.Refilling == "" && lost.Number > 0 {
			out.Refilling = "samples " + lost.String() + " are lost"
		}
		out.Taken, out.Version = time.Now().UnixMilli(), uint64(b.db.Clock().Now())
		out.Files, err = b.describe(dir)
	}
	if err != nil {
		_, dropErr := b.drop(id)
		return nil, errors.Join(fmt.Errorf("take a snapshot: %w", err), dropErr)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.held[id]; s != nil {
		for _, f := range out.Files {
			s.files[f.Name] = f.Bytes
		}
	}
	return out, nil
}

// standing returns what this node's part in the cluster depends on.
func (b *backups) standing() backup.Standing {
	s := backup.Standing{Floor: uint64(b.db.Floor())}
	if r := b.cluster.RingRecord(); r != nil {
		s.Ring = r.Number
	}
	return s
}

// reserve makes room for a snapshot.
func (b *backups) reserve(id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return engine.ErrClosed
	}
	if len(b.held) >= mostSnapshots {
		return errTooManySnapshots
	}
	b.held[id] = &heldSnapshot{files: map[string]int64{}, expires: time.AfterFunc(snapshotLife, func() { b.expire(id) })}
	return nil
}

// expire lets go of a snapshot that nobody wants any more.
func (b *backups) expire(id string) {
	b.mu.Lock()
	s := b.held[id]
	used := s != nil && s.readers > 0
	if used {
		s.expires.Reset(snapshotLife)
	}
	b.mu.Unlock()
	if s == nil || used {
		return
	}
	level.Warn(b.logger).Log("msg", "a snapshot for a backup is removed: nobody read from it any more", "snapshot", id)
	if _, err := b.drop(id); err != nil {
		level.Warn(b.logger).Log("msg", "a snapshot could not be removed", "err", err)
	}
}

// describe lists the files of a snapshot.
func (b *backups) describe(dir string) ([]backup.SnapshotFile, error) {
	var out []backup.SnapshotFile
	for _, sub := range []string{"", "files"} {
		names, err := b.fs.List(filepath.Join(dir, sub))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if sub == "" && name == "files" {
				continue
			}
			f := backup.SnapshotFile{Name: filepath.ToSlash(filepath.Join(sub, name))}
			if f.Bytes, f.Fingerprint, err = fingerprint(b.fs, filepath.Join(dir, sub, name)); err != nil {
				return nil, fmt.Errorf("read %s: %w", f.Name, err)
			}
			out = append(out, f)
		}
	}
	return out, nil
}

// fingerprint returns the length of a file and a hash of it and of its end.
func fingerprint(fsys vfs.FS, name string) (size int64, print string, err error) {
	f, err := fsys.OpenRead(name)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if size, err = f.Size(); err != nil {
		return 0, "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d ", size)
	n := min(size, fingerprintBytes)
	if _, err := io.Copy(h, io.NewSectionReader(f, size-n, n)); err != nil {
		return 0, "", err
	}
	return size, hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// drop lets go of a snapshot.
func (b *backups) drop(id string) (found bool, err error) {
	b.mu.Lock()
	s := b.held[id]
	delete(b.held, id)
	b.mu.Unlock()
	if s == nil {
		return false, nil
	}
	s.expires.Stop()
	return true, vfs.RemoveAll(b.fs, filepath.Join(b.dir, id))
}

// use holds on to a snapshot and returns the length of a file of it. The caller
// calls done when it is through with it.
func (b *backups) use(id, name string) (size int64, found, held bool, done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.held[id]
	if s == nil {
		return 0, false, false, nil
	}
	size, found = s.files[name]
	s.expires.Reset(snapshotLife)
	s.readers++
	return size, found, true, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		s.readers--
		if b.held[id] == s {
			s.expires.Reset(snapshotLife)
		}
	}
}

// send answers with a file of a snapshot; without a name it only keeps it.
func (b *backups) send(w http.ResponseWriter, r *http.Request, id, name string) {
	size, found, held, done := b.use(id, name)
	if held {
		defer done()
	}
	switch {
	case held && name == "":
		w.WriteHeader(http.StatusNoContent)
		return
	case !found:
		server.WriteError(w, http.StatusNotFound, "no such snapshot, or no such file in it")
		return
	}
	f, err := b.fs.OpenRead(filepath.Join(b.dir, id, filepath.FromSlash(name)))
	if err != nil {
		server.WriteError(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	// A client that has gone, or a file that cannot be read to its end, cuts the
	// answer: its length tells the client.
	_, err = io.Copy(w, b.pace.Reader(r.Context(), f))
	if err := errors.Join(err, f.Close()); err != nil {
		level.Debug(telemetry.Logger(r.Context(), b.logger)).Log("msg", "a file of a backup was not sent whole", "file", name, "err", err)
	}
}

// administrative lets those through who may change things: who knows the
// cluster's secret or, where there is none, everybody if ADMIN_API is on.
func (n *Node) administrative(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.security.secrets == nil && !n.opts.Config.AdminAPI {
			server.WriteError(w, http.StatusForbidden, "backups and restores want CLUSTER_SECRET, or ADMIN_API=true")
			return
		}
		n.guarded(next).ServeHTTP(w, r)
	})
}
