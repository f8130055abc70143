package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/count-db/count/internal/pause"
)

// Work on a bucket that others must know of. A backup uses files of earlier
// backups, which a prune takes away: each notes itself first and then looks for
// the other, so that never both go on. Backups may run beside one another.
const (
	takingWork  = "take"
	pruningWork = "prune"
)

// A note is renewed while its process lives. One that nobody renews any more is
// removed by whoever it stands in the way of: he has watched it himself for long
// enough, so that no two clocks are compared.
const (
	renewEvery = 15 * time.Second
	watchEvery = 5 * time.Second
	// lostAfter is how long a process may fail to renew its note, or may have been
	// stopped, and still go on.
	lostAfter = 2 * time.Minute
	// deadAfter is how long a note must not have changed before it counts as left
	// behind: well above lostAfter.
	deadAfter = 3 * time.Minute
	// deafAge is the same for notes of builds that did not renew them, by their
	// names.
	deafAge = 24 * time.Hour
)

// maxNote bounds a note, in bytes.
const maxNote = 4 << 10

// ErrBusy says that other work on the bucket is under way.
var ErrBusy = errors.New("the place of the backups is in use")

// errLockLost says that a process was away for so long that another may have
// taken it for dead.
var errLockLost = errors.New("the note that this work goes on could not be renewed, and others may have gone on without it")

// lease is a note that work goes on.
type lease struct {
	bucket Bucket
	name   string // kind and id
	stop   func(error)
	done   sync.WaitGroup

	mu      sync.Mutex // one renewal at a time
	renewed time.Time  // guarded by mu; when the last renewal began
	count   int        // guarded by mu; of renewals
}

// lock notes that a kind of work begins; it fails when work that cannot run
// beside it is under way, and waits until what looks like it is known to be dead.
// The context that it returns ends when the note is lost. The caller calls unlock.
func lock(ctx context.Context, b Bucket, p *Progress, kind, id string, excludes ...string) (held context.Context, l *lease, err error) {
	held, stop := context.WithCancelCause(ctx)
	l = &lease{bucket: b, name: kind + "-" + id, stop: stop}
	if err := l.write(ctx); err != nil {
		stop(err)
		return nil, nil, fmt.Errorf("note that work begins: %w", err)
	}
	l.done.Go(func() { l.keep(held) })
	if err := l.alone(held, p, excludes); err != nil {
		return nil, nil, errors.Join(err, l.unlock(ctx))
	}
	return held, l, nil
}

// unlock takes the note away.
func (l *lease) unlock(ctx context.Context) error {
	l.stop(context.Canceled)
	l.done.Wait()
	if err := l.bucket.Delete(context.WithoutCancel(ctx), l.object()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("take away the note that work goes on: %w", err)
	}
	return nil
}

func (l *lease) object() string { return path.Join(locksDir, l.name) }

// write writes the note.
func (l *lease) write(ctx context.Context) error {
	began := time.Now()
	text := fmt.Sprintf("%s\nrenewed %d times, last at %s\n", l.name, l.count, began.UTC().Format(time.RFC3339Nano))
	if err := l.bucket.Upload(ctx, l.object(), strings.NewReader(text), int64(len(text))); err != nil {
		return err
	}
	l.renewed = began
	l.count++
	return nil
}

// keep renews the note until the work ends.
func (l *lease) keep(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := l.renew(ctx); errors.Is(err, errLockLost) {
				l.stop(err)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// renew writes the note again. An error that is no errLockLost may pass.
func (l *lease) renew(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away() > lostAfter {
		return errLockLost
	}
	if _, err := readNote(ctx, l.bucket, l.name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s is gone", errLockLost, l.object())
		}
		return err
	}
	if err := l.write(ctx); err != nil {
		return err
	}
	return nil
}

// away is how long ago the last renewal began. The monotonic clock stands still
// while the machine sleeps.
func (l *lease) away() time.Duration {
	now := time.Now()
	return max(now.Sub(l.renewed), now.Round(0).Sub(l.renewed.Round(0)))
}

// alone returns when no work is under way that this one cannot run beside.
func (l *lease) alone(ctx context.Context, p *Progress, excludes []string) error {
	type sighting struct {
		text  string
		since time.Time
	}
	seen := map[string]sighting{}
	for {
		names, err := l.bucket.List(ctx, locksDir)
		if err != nil {
			return err
		}
		waits := false
		for _, name := range names {
			if name == l.name || !excluded(name, excludes) {
				continue
			}
			text, err := readNote(ctx, l.bucket, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has ended
			}
			if err != nil {
				return fmt.Errorf("look at other work: %w", err)
			}
			before, known := seen[name]
			dead := known && before.text == text && time.Since(before.since) >= deadAfter
			if _, id, _ := strings.Cut(name, "-"); text == name { // of a build that did not renew it
				dead = time.Since(timeOf(id)) >= deafAge
			}
			switch {
			case dead:
				p.notice(fmt.Sprintf("%s was left behind by a process that is dead: it is removed", name))
				if err := l.bucket.Delete(ctx, path.Join(locksDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("remove what dead work left: %w", err)
				}
			case known && before.text != text, text == name:
				return fmt.Errorf("%w: %s goes on", ErrBusy, path.Join(l.bucket.String(), locksDir, name))
			case !known:
				seen[name] = sighting{text, time.Now()}
				p.notice(fmt.Sprintf("%s may be under way: watching for %v whether it is", path.Join(l.bucket.String(), locksDir, name), deadAfter))
				waits = true
			default:
				waits = true
			}
		}
		if !waits {
			return nil
		}
		if err := pause.For(ctx, watchEvery); err != nil {
			return err
		}
	}
}

func excluded(name string, kinds []string) bool {
	for _, kind := range kinds {
		if strings.HasPrefix(name, kind+"-") {
			return true
		}
	}
	return false
}

// readNote returns the text of a note; a missing one is an error that wraps
// fs.ErrNotExist.
func readNote(ctx context.Context, b Bucket, name string) (string, error) {
	r, err := b.Get(ctx, path.Join(locksDir, name))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxNote))
	return string(text), errors.Join(err, r.Close())
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
