package engine

import (
	"fmt"

	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/internal/model"
)

// Settled is what a cluster has settled (V4), as far as Check looks at it.
type Settled struct {
	Floor model.Version // 0: nothing is settled
	From  int64         // ms; what is older does not count
}

// VersionCounts are samples in files by their versions: what is at or below the
// floor gets the floor's version when its file is written anew.
type VersionCounts struct {
	None  int64 // stored before versions were kept
	Floor int64 // settled, all with the floor's version
	Below int64 // settled, with versions of their own
	Above int64 // not settled, or in one chunk with such
}

// versions counts the samples of a file by their versions, and finds versions that
// cannot be: ranges the wrong way round, or above the mark that every change of
// the live set raises to the clock.
func (r *CheckReport) versions(reader *file.Reader, f *manifest.File, mark model.Version) error {
	c := reader.Cursor()
	defer c.Release()
	for i := range reader.Len() {
		chunks, err := c.Load(i)
		if err != nil {
			return err
		}
		for k := range chunks {
			chunk := &chunks[k]
			if f.SealedOut.Has(chunk.Window) {
				continue
			}
			switch lo, hi := chunk.MinVersion, chunk.MaxVersion; {
			case lo > hi:
				return fmt.Errorf("series %d in the file has versions from %d to %d", i, lo, hi)
			case hi > mark:
				return fmt.Errorf("series %d in the file has version %d, above the mark %d", i, hi, mark)
			}
			r.count(chunk)
		}
	}
	return nil
}

func (r *CheckReport) count(c *file.Chunk) {
	n := int64(c.Count)
	switch {
	case c.MaxVersion == 0:
		r.Versions.None += n
	case c.MaxVersion > r.settled.Floor, c.MinT < r.settled.From:
		r.Versions.Above += n
	case c.MinVersion == r.settled.Floor:
		r.Versions.Floor += n
	default:
		r.Versions.Below += n
	}
}
