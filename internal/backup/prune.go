package backup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Pruned is what a prune took away.
type Pruned struct {
	Backups []string
	Objects int
	Kept    int // backups
	// BrokenOff are uploads that never ended.
	BrokenOff int
}

// Prune removes all but the newest keep backups, what is left of those that were
// never finished, and every object that no backup needs any more. No backup may
// be under way.
func Prune(ctx context.Context, b Bucket, keep int, p *Progress) (out *Pruned, err error) {
	if keep < 1 {
		return nil, errors.New("at least one backup is kept")
	}
	id, err := newID(time.Now())
	if err != nil {
		return nil, err
	}
	caller := ctx
	ctx, held, err := lock(ctx, b, p, pruningWork, id, takingWork, pruningWork)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, held.unlock(caller)) }()
	all, damaged, err := List(ctx, b)
	if err != nil {
		return nil, err
	}
	if len(damaged) > 0 {
		return nil, fmt.Errorf("what it needs is not known; nothing is removed before %s is: %w", path.Join(b.String(), backupsDir, damaged[0].ID), damaged[0])
	}
	out = &Pruned{}
	old := all[:max(len(all)-keep, 0)]
	for _, m := range old {
		// From here on it is no backup; its objects go with those of the unfinished.
		if err := b.Delete(ctx, manifestObject(m.ID)); err != nil {
			return out, fmt.Errorf("remove backup %s: %w", m.ID, err)
		}
		out.Backups = append(out.Backups, m.ID)
	}
	needed := map[string]bool{}
	kept := all[len(old):]
	for _, m := range kept {
		needed[manifestObject(m.ID)] = true
		for i := range m.Nodes {
			for _, f := range m.Nodes[i].Files {
				needed[f.Object] = true
			}
		}
	}
	out.Kept = len(kept)
	for _, dir := range []string{backupsDir, dataDir} {
		n, err := removeOthers(ctx, b, dir, needed)
		out.Objects += n
		if err != nil {
			return out, err
		}
		n, err = b.Sweep(ctx, dir)
		out.BrokenOff += n
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// removeOthers removes the objects below a directory that are not needed.
func removeOthers(ctx context.Context, b Bucket, dir string, needed map[string]bool) (removed int, err error) {
	names, err := b.List(ctx, dir)
	if err != nil {
		return 0, err
	}
	slices.Sort(names)
	for _, name := range names {
		full := path.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			n, err := removeOthers(ctx, b, full, needed)
			removed += n
			if err != nil {
				return removed, err
			}
			continue
		}
		if needed[full] {
			continue
		}
		if err := b.Delete(ctx, full); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}
