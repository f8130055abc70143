package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/vfs"
)

// progressName is the file in a restore's scratch directory that says how far it
// is, as JSON.
const progressName = "progress"

// progressEvery is how often it is written. What is sent again after a crash is
// there already, or is written again with the same values.
const progressEvery = 500 * time.Millisecond

// cursor is a place in what a restore writes: behind a series of a window.
type cursor struct {
	Window int64         `json:"window"` // number of the slice of time
	Series labels.Labels `json:"series"`
}

// journal is how far a restore is. It counts for the same backup, written in the
// same way into the same place.
type journal struct {
	Backup    string `json:"backup"`
	Target    string `json:"target"`
	Overwrite bool   `json:"overwrite"`
	// Done is the last series that was written, with all before it; nil: none.
	Done    *cursor `json:"done,omitempty"`
	Written int64   `json:"written"` // samples, by all runs
	Kept    int64   `json:"kept"`
}

// readJournal returns what an earlier run left for the same restore, or a new
// one.
func readJournal(fsys vfs.FS, scratch string, want journal) (journal, error) {
	data, err := vfs.ReadFile(fsys, filepath.Join(scratch, progressName))
	if errors.Is(err, fs.ErrNotExist) {
		return want, nil
	}
	if err != nil {
		return want, fmt.Errorf("read how far the restore is: %w", err)
	}
	var have journal
	if json.Unmarshal(data, &have) != nil || have.Backup != want.Backup || have.Target != want.Target || have.Overwrite != want.Overwrite {
		return want, nil // of another restore: this one begins at the beginning
	}
	return have, nil
}

// tracker learns which bodies were taken, in any order, and keeps the journal.
// Safe for concurrent use.
type tracker struct {
	fs      vfs.FS
	scratch string
	keeps   bool // a journal, in the file

	mu    sync.Mutex
	state journal         // guarded by mu
	next  int             // guarded by mu; all bodies before it are written
	ahead map[int]*cursor // guarded by mu; written, but not all before them
	saved time.Time       // guarded by mu
}

// wrote notes that the body of a number is written, that ends at a cursor: nil
// where no series ends in it.
func (t *tracker) wrote(number int, at *cursor, out Outcome) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state.Written += int64(out.Written)
	t.state.Kept += int64(out.Kept)
	t.ahead[number] = at
	for {
		at, ok := t.ahead[t.next]
		if !ok {
			break
		}
		delete(t.ahead, t.next)
		t.next++
		if at != nil {
			t.state.Done = at
		}
	}
	if time.Since(t.saved) < progressEvery {
		return nil
	}
	return t.saveLocked()
}

func (t *tracker) saveLocked() error {
	t.saved = time.Now()
	if !t.keeps {
		return nil
	}
	data, err := json.Marshal(&t.state)
	if err == nil {
		err = vfs.WriteFile(t.fs, filepath.Join(t.scratch, progressName), data)
	}
	if err != nil {
		return fmt.Errorf("note how far the restore is: %w", err)
	}
	return nil
}

// save writes the journal.
func (t *tracker) save() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.saveLocked()
}
