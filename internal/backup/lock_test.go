package backup

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/count-db/count/internal/vfs"
)

func memBucket(t *testing.T) *dirBucket {
	t.Helper()
	b, err := newDirBucket(vfs.NewMem(), "/backups")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustLock(t *testing.T, b Bucket, kind, id string, excludes ...string) (context.Context, *lease) {
	t.Helper()
	ctx, l, err := lock(context.Background(), b, &Progress{}, kind, id, excludes...)
	if err != nil {
		t.Fatal(err)
	}
	return ctx, l
}

func mustUnlock(t *testing.T, l *lease) {
	t.Helper()
	if err := l.unlock(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestLocks: a prune and a backup exclude one another, two backups do not.
func TestLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, b := context.Background(), memBucket(t)
		_, one := mustLock(t, b, takingWork, "20000101T000000Z-00000001", pruningWork)
		_, two := mustLock(t, b, takingWork, "20000101T000000Z-00000002", pruningWork)
		if _, err := Prune(ctx, b, 1, &Progress{}); !errors.Is(err, ErrBusy) {
			t.Errorf("a prune beside a backup: %v", err)
		}
		time.Sleep(time.Hour) // virtual: the notes are renewed
		if _, err := Prune(ctx, b, 1, &Progress{}); !errors.Is(err, ErrBusy) {
			t.Errorf("a prune beside a long backup: %v", err)
		}
		mustUnlock(t, one)
		mustUnlock(t, two)
		began := time.Now()
		if _, err := Prune(ctx, b, 1, &Progress{}); err != nil || time.Since(began) > time.Second {
			t.Errorf("a prune alone: %v after %v", err, time.Since(began))
		}
		_, prune := mustLock(t, b, pruningWork, "20000101T000000Z-00000003", takingWork, pruningWork)
		if _, err := Take(ctx, b, of(), TakeOptions{}, &Progress{}); !errors.Is(err, ErrBusy) {
			t.Errorf("a backup beside a prune: %v", err)
		}
		mustUnlock(t, prune)
		if names, err := b.List(ctx, locksDir); err != nil || len(names) > 0 {
			t.Errorf("%v is left: %v", names, err)
		}
	})
}

// TestDeadLock: what a killed process left is in the way for some minutes only,
// whatever its clock said.
func TestDeadLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, b := context.Background(), memBucket(t)
		dead := path.Join(locksDir, "take-20990101T000000Z-00000001")
		if err := b.Upload(ctx, dead, strings.NewReader("text"), 4); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := Prune(ctx, b, 1, &Progress{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < deadAfter || took > deadAfter+time.Minute {
			t.Errorf("the prune went on after %v", took)
		}
		if names, err := b.List(ctx, locksDir); err != nil || len(names) > 0 {
			t.Errorf("%v is left: %v", names, err)
		}
		// A build that did not renew its notes wrote nothing but the name.
		old := "take-" + time.Now().UTC().Format(idTime) + "-00000002"
		if err := b.Upload(ctx, path.Join(locksDir, old), strings.NewReader(old), int64(len(old))); err != nil {
			t.Fatal(err)
		}
		if _, err := Prune(ctx, b, 1, &Progress{}); !errors.Is(err, ErrBusy) {
			t.Errorf("a prune beside an older build's backup: %v", err)
		}
		time.Sleep(deafAge)
		if _, err := Prune(ctx, b, 1, &Progress{}); err != nil {
			t.Errorf("a day later: %v", err)
		}
	})
}

// failing is a bucket that can be out of reach.
type failing struct {
	*dirBucket
	away atomic.Bool
}

var errAway = errors.New("out of reach")

func (f *failing) Upload(ctx context.Context, name string, r io.Reader, size int64) error {
	if f.away.Load() {
		return errAway
	}
	return f.dirBucket.Upload(ctx, name, r, size)
}

// TestLostLock: work ends when its note cannot be renewed for so long that others
// may have gone on, or when they did.
func TestLostLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &failing{dirBucket: memBucket(t)}
		ctx, l := mustLock(t, b, takingWork, "20000101T000000Z-00000001", pruningWork)
		b.away.Store(true)
		time.Sleep(lostAfter - 2*renewEvery)
		synctest.Wait()
		if ctx.Err() != nil {
			t.Fatal("lost too early")
		}
		b.away.Store(false)
		time.Sleep(2 * renewEvery)
		synctest.Wait()
		if ctx.Err() != nil {
			t.Fatal("lost though it was renewed")
		}
		b.away.Store(true)
		time.Sleep(lostAfter + 2*renewEvery)
		synctest.Wait()
		if !errors.Is(context.Cause(ctx), errLockLost) {
			t.Errorf("not renewed for %v: %v", lostAfter+2*renewEvery, context.Cause(ctx))
		}
		mustUnlock(t, l)
		b.away.Store(false)
		ctx, l = mustLock(t, b, takingWork, "20000101T000000Z-00000002", pruningWork)
		if err := b.Delete(context.Background(), l.object()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * renewEvery)
		synctest.Wait()
		if !errors.Is(context.Cause(ctx), errLockLost) {
			t.Errorf("taken away by another: %v", context.Cause(ctx))
		}
		mustUnlock(t, l)
	})
}
