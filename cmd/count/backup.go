package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/count-db/count/internal/backup"
)

func backupVerb() verb {
	return verb{
		name:    "backup",
		summary: "back up a node or cluster into a directory or S3",
		usage: `Usage:
  count backup PLACE [--server URL] [--skip-unreachable] [--nodes HOST:PORT,...]
  count backup list PLACE
  count backup prune PLACE --keep N

PLACE is a directory, or s3://bucket/prefix with the keys, region and endpoint
that AWS's own tools read: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
AWS_ENDPOINT_URL (for MinIO and others).

A backup asks the node for the members of the ring, has each take a snapshot at
the same moment, and copies what no earlier backup in PLACE has. Nothing stops
meanwhile. The nodes want CLUSTER_SECRET (from the environment, here too), or
ADMIN_API=true.

list prints the backups; "count check backup PLACE" reads them and compares them
with their checksums. prune removes all but the newest N. Put back: count restore.

Examples:
  count backup /mnt/backups
  AWS_ENDPOINT_URL=http://minio:9000 count backup s3://backups/count --server count-1:8080
  count backup list /mnt/backups
  count backup prune /mnt/backups --keep 14

  --server URL        a node; default COUNT_SERVER, or ` + defaultServer + `
  --nodes HOST:PORT,...  back up these nodes, not those that the ring names
  --skip-unreachable  leave out members that do not answer; without as many as
                      acknowledge a write the backup may lack samples, and says so
  --keep N            how many backups a prune keeps
`,
		words: []string{"list", "prune"},
		run:   runBackup,
	}
}

func runBackup(ctx context.Context, c call) error {
	fs, server := newFlags(c, "backup")
	skip, nodes := fs.Bool("skip-unreachable", false, ""), fs.String("nodes", "", "")
	keep := fs.Int("keep", 0, "")
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
		if *keep < 1 {
			return &usageError{errors.New("say how many are kept: --keep N")}
		}
		out, err := backup.Prune(ctx, bucket, *keep, time.Now())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.stdout, "%d backups removed, %d kept; %d objects removed\n", len(out.Backups), out.Kept, out.Objects)
		return err
	}
	b := &backupCall{call: c, skip: *skip}
	if b.node, err = newClient(*server); err != nil {
		return err
	}
	b.node.secret = secretOf(c)
	if *nodes != "" {
		b.nodes = strings.Split(*nodes, ",")
	}
	return b.take(ctx, bucket)
}

// backupCall is a parsed call that takes a backup.
type backupCall struct {
	call
	node  *client
	nodes []string // addresses; nil: of the ring
	skip  bool
}

func (b *backupCall) take(ctx context.Context, bucket backup.Bucket) error {
	about, remotes, err := b.members(ctx)
	if err != nil {
		return err
	}
	p := &backup.Progress{}
	began := time.Now()
	line := newBar(b.stderr, func() (float64, string) { return bytesDone(p, began) })
	taken, err := backup.Take(ctx, bucket, remotes, about, began, p)
	line.end()
	if err != nil {
		return err
	}
	m := taken.Manifest
	fmt.Fprintf(b.stdout, "backup %s of %d nodes: %d files with %s uploaded, %d files with %s were there, %v\n",
		m.ID, len(m.Nodes), taken.Uploaded, humanBytes(taken.UploadBytes), taken.Reused, humanBytes(taken.ReusedBytes), time.Since(began).Round(time.Millisecond))
	if n := uint64(len(m.Missing)); n > 0 {
		fmt.Fprintf(b.stderr, "note: nodes %v are not in it\n", m.Missing)
		if n >= m.Quorum {
			fmt.Fprintf(b.stderr, "note: writes are acknowledged by %d copies, so acknowledged samples may be missing\n", m.Quorum)
		}
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

// members returns what the backup says of the cluster, and the nodes to take.
func (b *backupCall) members(ctx context.Context) (about backup.Manifest, remotes []*backup.Remote, err error) {
	about, members, err := b.ring(ctx)
	if err != nil {
		return about, nil, err
	}
	httpClient := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute}}
	add := func(address string) error {
		c, err := newClient(address)
		if err == nil {
			remotes = append(remotes, &backup.Remote{URL: c.base, Secret: b.node.secret, Client: httpClient})
		}
		return err
	}
	if b.nodes != nil {
		for _, address := range b.nodes {
			if err := add(address); err != nil {
				return about, nil, err
			}
		}
		return about, remotes, nil
	}
	if len(members) == 1 {
		// It is the node that was asked: it may be known by another address here.
		return about, remotes, add(b.node.base)
	}
	for _, m := range members {
		if !m.InSight {
			if !b.skip {
				return about, nil, fmt.Errorf("node %d (%s) cannot be reached: without it the backup needs --skip-unreachable", m.ID, m.Address)
			}
			about.Missing = append(about.Missing, m.ID)
			continue
		}
		if err := add(m.Address); err != nil {
			return about, nil, err
		}
	}
	return about, remotes, nil
}

// ringMember is a member as GET /cluster/ring tells it.
type ringMember struct {
	ID      uint64 `json:"id"`
	Address string `json:"address"`
	InSight bool   `json:"in_sight"`
}

func (b *backupCall) ring(ctx context.Context) (about backup.Manifest, members []ringMember, err error) {
	var status clusterStatus
	var ring struct {
		Members []ringMember `json:"members"`
	}
	for path, to := range map[string]any{"/cluster/status": &status, "/cluster/ring": &ring} {
		answer, err := b.node.do(ctx, "GET", path, "", nil)
		if err != nil {
			return about, nil, err
		}
		if err := json.Unmarshal(answer, to); err != nil {
			return about, nil, fmt.Errorf("%w: %w", errAnswer, err)
		}
	}
	about = backup.Manifest{Cluster: status.Cluster, Ring: status.Ring, Copies: uint64(max(status.ReplicationFactor, 0)), Quorum: uint64(max(status.WriteQuorum, 0))}
	slices.SortFunc(ring.Members, func(a, b ringMember) int { return int(min(max(int64(a.ID)-int64(b.ID), -1), 1)) })
	return about, ring.Members, nil
}

func listBackups(ctx context.Context, c call, bucket backup.Bucket) error {
	all, err := backup.List(ctx, bucket)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "BACKUP\tTAKEN\tCLUSTER\tNODES\tMISSING\tFILES\tBYTES\tNEW BYTES")
	seen := map[string]bool{}
	for _, m := range all {
		files, fresh := 0, int64(0)
		ids := []uint64{}
		for i := range m.Nodes {
			ids = append(ids, m.Nodes[i].ID)
			for _, f := range m.Nodes[i].Files {
				files++
				if !seen[f.Object] {
					seen[f.Object] = true
					fresh += f.Bytes
				}
			}
		}
		missing := "-"
		if len(m.Missing) > 0 {
			missing = fmt.Sprint(m.Missing)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%v\t%s\t%d\t%d\t%d\n", m.ID, when(m.Created.UnixMilli()), m.Cluster, ids, missing, files, m.Bytes(), fresh)
	}
	return table.Flush()
}

// checkBackup reads backups and compares them with their checksums.
func checkBackup(ctx context.Context, c call) error {
	fs, _ := newFlags(c, "check backup")
	id := fs.String("id", "", "")
	args, err := parse(fs, c.args)
	if err != nil {
		return err
	}
	if len(args) != 1 {
		return &usageError{errors.New("say where the backups are")}
	}
	bucket, err := backup.OpenBucket(args[0], c.environ)
	if err != nil {
		return &usageError{err}
	}
	all, err := backup.List(ctx, bucket)
	if err == nil && *id != "" {
		var m *backup.Manifest
		m, err = backup.Find(ctx, bucket, *id)
		all = []*backup.Manifest{m}
	}
	if err != nil {
		return err
	}
	p := &backup.Progress{}
	began := time.Now()
	line := newBar(c.stderr, func() (float64, string) { return bytesDone(p, began) })
	faults, err := backup.Verify(ctx, bucket, all, p)
	line.end()
	if err != nil {
		return err
	}
	for _, fault := range faults {
		fmt.Fprintln(c.stdout, "fault:", fault)
	}
	if len(faults) > 0 {
		return fmt.Errorf("%d objects are damaged or missing", len(faults))
	}
	_, err = fmt.Fprintf(c.stdout, "%d backups, %s read: all is whole\n", len(all), humanBytes(p.Bytes.Load()))
	return err
}
