package hints

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// Taker takes what is handed over, record by record, in order. Flush returns
// when all that was taken before is durable at the other node; then the segment
// is removed.
type Taker interface {
	Intern(ls labels.Labels) (model.Ref, error)
	Batch(b *model.Batch, origins []frontier.Origin) error
	Delete(t model.Tombstone) error
	Flush() error
}

// errBusy means that a handover to the node runs already.
var errBusy = errors.New("a handover runs already")

// Handover gives a node everything it is owed, segment by segment, and returns
// how many segments it took. Only one handover to a node runs at a time.
func (s *Store) Handover(id ring.NodeID, to Taker) (segments int, err error) {
	q, err := s.claim(id)
	if err != nil || q == nil {
		return 0, err
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		q.handing = false
	}()
	for {
		number, ok, err := s.oldest(q)
		if err != nil || !ok {
			return segments, err
		}
		if err := s.replay(q.path(number), to); err != nil {
			return segments, fmt.Errorf("hand over to node %d: %w", id, err)
		}
		if err := to.Flush(); err != nil {
			return segments, fmt.Errorf("hand over to node %d: %w", id, err)
		}
		if err := s.took(q, number); err != nil {
			return segments, fmt.Errorf("remove hints for node %d: %w", id, err)
		}
		segments++
	}
}

func (s *Store) claim(id ring.NodeID) (*queue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[id]
	if q == nil || len(q.segments) == 0 {
		return nil, nil
	}
	if q.handing {
		return nil, errBusy
	}
	q.handing = true
	return q, nil
}

// oldest returns the first segment, ended if it was open.
func (s *Store) oldest(q *queue) (number uint64, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(q.segments) == 0 {
		return 0, false, nil
	}
	if len(q.segments) == 1 {
		err = s.endLocked(q)
	}
	return q.segments[0].number, true, err
}

func (s *Store) took(q *queue, number uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(q.segments) == 0 || q.segments[0].number != number {
		return nil // dropped meanwhile
	}
	if err := s.removeLocked(q, q.segments[:1]); err != nil {
		return err
	}
	q.segments = q.segments[1:]
	return nil
}

func (s *Store) replay(path string, to Taker) error {
	data, err := vfs.ReadFile(s.fs, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // taken before, and its removal was not known to be durable
	}
	if err != nil {
		return err
	}
	records, ok := parse(data)
	if !ok {
		return nil // not written to its head before a crash
	}
	refs := map[uint32]model.Ref{}
	var b model.Batch
	for _, payload := range records {
		if err := replayRecord(payload, refs, &b, to); err != nil {
			return err
		}
	}
	return nil
}

// parse returns the payloads of all records up to the first that is not whole.
func parse(data []byte) (records [][]byte, ok bool) {
	if len(data) < len(magic) || string(data[:len(magic)]) != magic {
		return nil, false
	}
	d := wire.NewDecoder(data[len(magic):])
	for d.Len() > 0 {
		payload := d.Frame(seed)
		if d.Err() != nil {
			break
		}
		records = append(records, payload)
	}
	return records, true
}

func replayRecord(payload []byte, refs map[uint32]model.Ref, b *model.Batch, to Taker) error {
	d := wire.NewDecoder(payload)
	switch kind := d.Byte(); kind {
	case recordBatch:
		origins := frontier.DecodeOrigins(&d, nil)
		for range d.Count(2) {
			sender, ls := d.Uint32Varint(), transport.DecodeLabels(&d)
			if d.Err() != nil {
				return d.Err()
			}
			if ls.IsEmpty() {
				// An earlier build noted it of a series that was forgotten meanwhile.
				// Nobody can tell whose samples these are; those that are owed them find
				// out by comparing.
				refs[sender] = 0
				continue
			}
			ref, err := to.Intern(ls)
			if err != nil {
				return fmt.Errorf("series %s: %w", ls, err)
			}
			refs[sender] = ref
		}
		b.Reset()
		nameless := false
		transport.DecodeBatch(&d, b, func(sender uint32) (model.Ref, bool) {
			ref, ok := refs[sender]
			nameless = nameless || ref == 0
			return ref, ok
		})
		if d.Err() != nil || nameless {
			return d.Err()
		}
		return to.Batch(b, origins)
	case recordDelete:
		for _, t := range transport.DecodeTombstones(&d) {
			if err := to.Delete(t); err != nil {
				return err
			}
		}
		return d.Err()
	default:
		return wire.Corruptf("hint of kind %d", kind)
	}
}
