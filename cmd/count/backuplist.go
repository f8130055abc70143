package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/count-db/count/internal/backup"
)

// pruneBackups removes all but the newest backups.
func pruneBackups(ctx context.Context, c call, bucket backup.Bucket, keep int) error {
	if keep < 1 {
		return &usageError{errors.New("say how many are kept: --keep N")}
	}
	p := &backup.Progress{Notice: func(text string) { fmt.Fprintln(c.stderr, text) }}
	out, err := backup.Prune(ctx, bucket, keep, p)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "%d backups removed, %d kept; %d objects removed, %d of them broken off\n", len(out.Backups), out.Kept, out.Objects+out.BrokenOff, out.BrokenOff)
	return err
}

func listBackups(ctx context.Context, c call, bucket backup.Bucket) error {
	all, damaged, err := backup.List(ctx, bucket)
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
	if err := table.Flush(); err != nil {
		return err
	}
	for _, d := range damaged {
		fmt.Fprintln(c.stderr, "note:", d)
	}
	return nil
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
	all, damaged, err := backup.List(ctx, bucket)
	if err == nil && *id != "" {
		var m *backup.Manifest
		m, err = backup.Find(ctx, bucket, *id)
		all, damaged = []*backup.Manifest{m}, nil
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
	for _, d := range damaged {
		faults = append(faults, d.Error())
	}
	for _, fault := range faults {
		fmt.Fprintln(c.stdout, "fault:", fault)
	}
	if len(faults) > 0 {
		return fmt.Errorf("%d faults: objects are damaged or missing", len(faults))
	}
	_, err = fmt.Fprintf(c.stdout, "%d backups, %s read: all is whole\n", len(all), humanBytes(p.Bytes.Load()))
	return err
}
