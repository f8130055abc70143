package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/count-db/count/internal/backup"
	"github.com/count-db/count/internal/transfer"
	"github.com/count-db/count/internal/vfs"
)

func restoreVerb() verb {
	return verb{
		name:    "restore",
		summary: "put a backup back into a node or cluster of any size",
		usage: `Usage:
  count restore PLACE [--id ID] [--server URL] [--overwrite] [--scratch DIR] [--rate N]
  count restore PLACE [--id ID] --into DIR --node N

Writes what a backup holds through a running node or cluster, whatever its size
and its number of copies: every file is fetched and compared with its checksum,
then the snapshots of all nodes are merged and written. It can be repeated after
any failure; with --scratch it goes on where it was.

Only what is absent is written: what the cluster has stays as it is, and so does
what was deleted since, as long as the cluster remembers the delete. With
--overwrite everything is written: it replaces what is there, and comes back
though it was deleted.

With --into the files of one node's snapshot are put into an empty directory
instead, as DATA_DIR of a node that does not run; after a failure the same command
goes on. In a cluster that node refills
what it lacks from the others. This is the fast way for a node alone.

The nodes want CLUSTER_SECRET (or CLUSTER_SECRET_FILE; here from the
environment, too), or ADMIN_API=true. Keys of S3: count backup --help.

Examples:
  count restore /mnt/backups
  count restore s3://backups/count --id 20260102T150405Z-1a2b3c4d --server count-1:8080
  count restore /mnt/backups --into /var/lib/count --node 1

  --server URL   a node; default COUNT_SERVER, or ` + defaultServer + `
  --id ID        which backup; default: the newest
  --overwrite    replace what is there
  --scratch DIR  where the snapshots are put meanwhile: a disk with room for the
                 backup. When the restore fails or is killed, the same command goes
                 on there. Default: the system's directory for temporary files, from
                 which it goes in any case
  --rate N       samples a second at most
  --fast         do not rest between the requests, and make them larger: for a
                 cluster that nobody uses yet
  --batch N      samples of one request; default 5000, with --fast 50000
  --patience D   how long the cluster may be busy or away; default 10m
  --into DIR     put files there instead of writing through a cluster
  --node N       whose files
`,
		run:  runRestore,
		more: reachHelp,
	}
}

func runRestore(ctx context.Context, c call) error {
	fs, at := newFlags(c, "restore")
	id, into, scratch := fs.String("id", "", ""), fs.String("into", "", ""), fs.String("scratch", "", "")
	node, overwrite := fs.Uint64("node", 0, ""), fs.Bool("overwrite", false, "")
	rate, batch := fs.Int64("rate", 0, ""), fs.Int("batch", 0, "")
	fast := fs.Bool("fast", false, "")
	patience := fs.String("patience", transfer.DefaultPatience.String(), "")
	args, err := parse(fs, c.args)
	if err != nil {
		return err
	}
	if *batch < 0 || *batch > backup.FastBatch || *rate < 0 {
		return &usageError{fmt.Errorf("--batch is %d at most, and --rate a number of samples", backup.FastBatch)}
	}
	if len(args) != 1 {
		return &usageError{errors.New("say where the backup is: a directory, or s3://bucket/prefix")}
	}
	if (*into == "") != (*node == 0) {
		return &usageError{errors.New("--into and --node go together")}
	}
	bucket, err := backup.OpenBucket(args[0], c.environ)
	if err != nil {
		return &usageError{err}
	}
	at.forNodes = true
	to, err := transferNode(at, *patience, 4)
	if err != nil {
		return err
	}
	m, err := backup.Find(ctx, bucket, *id)
	if err != nil {
		return err
	}
	if *into != "" {
		return restoreInto(ctx, c, bucket, m, *node, *into)
	}
	o := backup.RestoreOptions{FS: vfs.OS(), Overwrite: *overwrite, Secret: at.secret, Rate: *rate, Batch: *batch, Fast: *fast}
	if *scratch == "" {
		if o.Scratch, err = os.MkdirTemp("", "count-restore-*"); err != nil {
			return err
		}
		err = restoreThrough(ctx, c, bucket, m, to, o)
		return errors.Join(err, os.RemoveAll(o.Scratch))
	}
	o.Scratch = filepath.Join(*scratch, "count-restore-"+m.ID)
	if err = restoreThrough(ctx, c, bucket, m, to, o); err != nil {
		fmt.Fprintf(c.stderr, "note: %s keeps what was fetched: the same command goes on from there\n", o.Scratch)
		return err
	}
	return os.RemoveAll(o.Scratch)
}

// restoreThrough writes a backup through a running cluster.
func restoreThrough(ctx context.Context, c call, bucket backup.Bucket, m *backup.Manifest, to *transfer.Node, o backup.RestoreOptions) error {
	p := &backup.Progress{}
	began := time.Now()
	line := newBar(c.stderr, func() (float64, string) {
		if all := p.AllWindow.Load(); all > 0 {
			n := p.Samples.Load()
			return float64(p.Windows.Load()) / float64(all), fmt.Sprintf("%s samples, %s", humanCount(float64(n)), perSecond(uint64(n), time.Since(began)))
		}
		return bytesDone(p, began)
	})
	to.Notice, p.Notice = line.note, line.note
	err := backup.Restore(ctx, bucket, m, to, o, p)
	line.end()
	if err != nil {
		return fmt.Errorf("restore %s: %w", m.ID, err)
	}
	n, kept, took := p.Samples.Load(), p.Kept.Load(), time.Since(began)
	_, err = fmt.Fprintf(c.stdout, "restored %s of %d nodes: %d samples written, %d were there, %v (%s)\n", m.ID, len(m.Nodes), n, kept, took.Round(time.Millisecond), perSecond(uint64(n+kept), took))
	return err
}

// restoreInto puts the files of a snapshot in place.
func restoreInto(ctx context.Context, c call, bucket backup.Bucket, m *backup.Manifest, node uint64, dir string) error {
	n := m.Node(node)
	if n == nil {
		return fmt.Errorf("backup %s has no node %d", m.ID, node)
	}
	p := &backup.Progress{}
	for _, f := range n.Files {
		p.Total.Add(f.Bytes)
	}
	began := time.Now()
	line := newBar(c.stderr, func() (float64, string) { return bytesDone(p, began) })
	p.Notice = line.note
	err := backup.Fetch(ctx, bucket, m.ID, n, vfs.OS(), dir, p)
	line.end()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "%s: node %d of backup %s, %d files with %s\n", dir, node, m.ID, len(n.Files), humanBytes(p.Bytes.Load()))
	return err
}
