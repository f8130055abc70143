package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/count-db/count/internal/backup"
	"github.com/count-db/count/internal/config"
)

func backupVerb() verb {
	return verb{
		name:    "backup",
		summary: "back up a node or cluster into a directory or S3",
		usage: `Usage:
  count backup PLACE [--server URL] [--skip-unreachable] [--rate SIZE]
  count backup list PLACE
  count backup prune PLACE --keep N

PLACE is a directory, or s3://bucket/prefix with the keys, region and endpoint
that AWS's own tools read: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
AWS_ENDPOINT_URL (for MinIO and others).

A backup asks the node for the members of the ring, has each take a snapshot at
the same moment, and copies what no earlier backup in PLACE has. Nothing stops
meanwhile. The nodes want CLUSTER_SECRET (or CLUSTER_SECRET_FILE; here from the
environment, too), or ADMIN_API=true.

list prints the backups; "count check backup PLACE" reads them and compares them
with their checksums. prune removes all but the newest N, and what backups that
were broken off left. Put back: count restore.

It exits with 0 when there is a new backup, 1 when there is none, 2 when it was
called wrongly, and 3 when there is one that may lack acknowledged samples
because too many members are not in it.

Examples:
  count backup /mnt/backups
  AWS_ENDPOINT_URL=http://minio:9000 count backup s3://backups/count --server count-1:8080
  count backup list /mnt/backups
  count backup prune /mnt/backups --keep 14

  --server URL        a node; default COUNT_SERVER, or ` + defaultServer + `
  --nodes HOST:PORT,...  back up these nodes, not those that the ring names
  --skip-unreachable  leave out members that do not answer, or stop to; without as
                      many as acknowledge a write the backup may lack samples, and
                      says so
  --rate SIZE         bytes a second at most, such as 20MiB; each node has a limit of
                      its own (BACKUP_RATE)
  --patience D        how long a node or S3 may be away or busy; default 2m
  --keep N            how many backups a prune keeps
`,
		words: []string{"list", "prune"},
		run:   runBackup,
		more:  reachHelp,
	}
}

func runBackup(ctx context.Context, c call) error {
	fs, at := newFlags(c, "backup")
	skip, nodes := fs.Bool("skip-unreachable", false, ""), fs.String("nodes", "", "")
	keep, rate := fs.Int("keep", 0, ""), fs.String("rate", "0", "")
	patience := fs.String("patience", backup.DefaultPatience.String(), "")
	args, err := parse(fs, c.args)
	if err != nil {
		return err
	}
	what := ""
	if len(args) == 2 && (args[0] == "list" || args[0] == "prune") {
		what, args = args[0], args[1:]
	}
	if len(args) != 1 {
		return &usageError{errors.New(`say where: a directory, or s3://bucket/prefix`)}
	}
	bucket, err := backup.OpenBucket(args[0], c.environ)
	if err != nil {
		return &usageError{err}
	}
	switch what {
	case "list":
		return listBackups(ctx, c, bucket)
	case "prune":
		return pruneBackups(ctx, c, bucket, *keep)
	}
	b := &backupCall{call: c}
	b.opts.SkipUnreachable = *skip
	if b.opts.Rate, err = config.ParseSize(*rate); err != nil {
		return &usageError{fmt.Errorf("--rate: %w", err)}
	}
	if b.opts.Patience, err = config.ParseDuration(*patience); err != nil {
		return &usageError{fmt.Errorf("--patience: %w", err)}
	}
	at.forNodes, at.idleConns, b.at = true, 8, at
	if b.node, err = at.client(); err != nil {
		return err
	}
	if *nodes != "" {
		b.nodes = strings.Split(*nodes, ",")
	}
	return b.take(ctx, bucket)
}

// backupCall is a parsed call that takes a backup.
type backupCall struct {
	call
	at    *reach
	node  *client
	nodes []string // addresses; nil: of the ring
	opts  backup.TakeOptions
}

func (b *backupCall) take(ctx context.Context, bucket backup.Bucket) error {
	p := &backup.Progress{}
	began := time.Now()
	line := newBar(b.stderr, func() (float64, string) { return bytesDone(p, began) })
	p.Notice = line.note
	taken, err := backup.Take(ctx, bucket, b.members, b.opts, p)
	line.end()
	if err != nil {
		return err
	}
	m := taken.Manifest
	fmt.Fprintf(b.stdout, "backup %s of %d nodes: %d files with %s uploaded, %d files with %s were there, %v\n",
		m.ID, len(m.Nodes), taken.Uploaded, humanBytes(taken.UploadBytes), taken.Reused, humanBytes(taken.ReusedBytes), time.Since(began).Round(time.Millisecond))
	if len(m.Missing) > 0 {
		fmt.Fprintf(b.stderr, "note: nodes %v are not in it\n", m.Missing)
	}
	if len(m.Incomplete) > 0 {
		fmt.Fprintf(b.stderr, "note: nodes %v have lost samples that are not merged back yet, or nowhere else: what is in it of them is not all that they own\n", m.Incomplete)
	}
	if n := uint64(m.Lacking()); n > 0 && n >= m.Quorum {
		return &partialError{fmt.Errorf("backup %s may lack acknowledged samples: writes are acknowledged by %d copies, and %d nodes are not wholly in it", m.ID, m.Quorum, n)}
	}
	return nil
}

// bytesDone describes a copy.
func bytesDone(p *backup.Progress, began time.Time) (float64, string) {
	n, total := p.Bytes.Load(), p.Total.Load()
	part := -1.0
	if total > 0 {
		part = float64(n) / float64(total)
	}
	return part, fmt.Sprintf("%s of %s, %s/s", humanBytes(n), humanBytes(total), humanBytes(int64(float64(n)/time.Since(began).Seconds())))
}
