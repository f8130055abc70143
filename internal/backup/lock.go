package backup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// Work on a bucket that others must know of. A backup uses files of earlier
// backups, which a prune takes away: each notes itself first and then looks for
// the other, so that never both go on. Backups may run beside one another.
const (
	takingWork  = "take"
	pruningWork = "prune"
)

// lockAge is how old a note may be before its process counts as dead.
const lockAge = 24 * time.Hour

// ErrBusy says that other work on the bucket is under way.
var ErrBusy = errors.New("the place of the backups is in use")

// lock notes that a kind of work begins; it fails when work that cannot run
// beside it is under way. The caller calls unlock.
func lock(ctx context.Context, b Bucket, kind, id string, now time.Time, excludes ...string) (unlock func() error, err error) {
	mine := kind + "-" + id
	object := path.Join(locksDir, mine)
	if err := b.Upload(ctx, object, strings.NewReader(mine), int64(len(mine))); err != nil {
		return nil, fmt.Errorf("note that work begins: %w", err)
	}
	unlock = func() error { return b.Delete(context.WithoutCancel(ctx), object) }
	others, err := b.List(ctx, locksDir)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	for _, other := range others {
		kind, id, _ := strings.Cut(other, "-")
		for _, x := range excludes {
			if kind == x && other != mine && now.Sub(timeOf(id)) < lockAge {
				return nil, errors.Join(fmt.Errorf("%w: %s since %s; when that process is dead, remove %s", ErrBusy, kind, timeOf(id).Format(time.RFC3339), path.Join(b.String(), locksDir, other)), unlock())
			}
		}
	}
	return unlock, nil
}

const idTime = "20060102T150405Z"

// timeOf returns when an id was made.
func timeOf(id string) time.Time {
	text, _, _ := strings.Cut(id, "-")
	t, err := time.Parse(idTime, text)
	if err != nil {
		return time.Time{}
	}
	return t
}
