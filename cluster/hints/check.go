package hints

import (
	"fmt"
	"path/filepath"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// Checked is what Check found of what one node is owed.
type Checked struct {
	Node             ring.NodeID
	Segments         int
	Samples, Deletes int
	// Lost are bytes behind the last whole record of a segment: the tail of a crash,
	// or damage. What they held the comparison of digests finds.
	Lost int
}

// Check reads all segments in a folder that no process has open and changes
// nothing. Faults are records that are whole and mean nothing.
func Check(filesystem vfs.FS, dir string) (found []Checked, faults []error, err error) {
	if names, listErr := filesystem.List(dir); listErr != nil || len(names) == 0 {
		return nil, nil, nil // a node that owed nobody anything has no folder
	}
	s := &Store{fs: filesystem, dir: dir, queues: map[ring.NodeID]*queue{}}
	if err := s.findAll(); err != nil {
		return nil, nil, err
	}
	for id, q := range s.queues {
		c := Checked{Node: id, Segments: len(q.segments)}
		for _, g := range q.segments {
			name := q.path(g.number)
			data, err := vfs.ReadFile(filesystem, name)
			if err != nil {
				return nil, nil, fmt.Errorf("read hints: %w", err)
			}
			if err := c.read(data); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", filepath.Join(id.String(), filepath.Base(name)), err))
			}
		}
		found = append(found, c)
	}
	return found, faults, nil
}

func (c *Checked) read(data []byte) error {
	records, ok := parse(data)
	if !ok {
		c.Lost += len(data)
		return nil
	}
	whole := len(magic)
	counter := &counting{c: c}
	refs := map[uint32]model.Ref{}
	var b model.Batch
	for _, payload := range records {
		whole += len(payload) + wire.FrameOverhead
		if err := replayRecord(payload, refs, &b, counter); err != nil {
			return err
		}
	}
	c.Lost += len(data) - whole
	return nil
}

// counting takes records and only counts them.
type counting struct {
	c    *Checked
	next model.Ref
}

// Intern implements Taker.
func (t *counting) Intern(labels.Labels) (model.Ref, error) {
	t.next++
	return t.next, nil
}

// Batch implements Taker.
func (t *counting) Batch(b *model.Batch, _ []frontier.Origin) error {
	t.c.Samples += b.Samples()
	return nil
}

// Delete implements Taker.
func (t *counting) Delete(model.Tombstone) error {
	t.c.Deletes++
	return nil
}

// Flush implements Taker.
func (t *counting) Flush() error { return nil }
