package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/internal/model"
)

const simSeries = 6 // that clients write

func simName(i int) string { return fmt.Sprintf("%04d", i) }

// client writes, deletes and reads until stop is closed.
func (s *simCluster) client(rng *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-s.failed:
			return
		case <-time.NewTimer(time.Duration(rng.Int64N(s.gap.Load()) + 1)).C:
		}
		procs := s.running()
		if len(procs) == 0 {
			continue
		}
		p := procs[rng.IntN(len(procs))]
		switch n := rng.IntN(20); {
		case n < 9:
			_ = s.write(p, s.someKeys(rng)) // refused: it is in the history as tried
		case n < 10 && s.deletesOn:
			_ = s.delete(p, simName(rng.IntN(simSeries)), s.times[rng.IntN(len(s.times))], rng.IntN(2) == 0)
		case n < 15:
			_ = s.readSeries(p, simName(rng.IntN(simSeries)), quorum.Quorum)
		case n < 17:
			_ = s.readAll(p, []quorum.Level{quorum.Quorum, quorum.Quorum, quorum.All, quorum.One}[rng.IntN(4)])
		case n < 18:
			s.readCopy(p)
		default:
			_ = s.readSpread(p)
		}
	}
}

// someKeys returns samples of one to three series.
func (s *simCluster) someKeys(rng *rand.Rand) []simKey {
	first, n := rng.IntN(simSeries), 1+rng.IntN(3)
	var out []simKey
	for i := range n {
		out = append(out, simKey{simName((first + i) % simSeries), s.times[rng.IntN(len(s.times))]})
	}
	return out
}

var errSimKilled = errors.New("the node was killed")

// write writes the operation's number to the keys.
func (s *simCluster) write(p *simProc, keys []simKey) error {
	o := s.beginOp(int(p.id), false, keys)
	b := &model.Batch{}
	var err error
	for _, k := range keys {
		ref, internErr := p.data.Intern(metric(k.name))
		err = errors.Join(err, internErr)
		b.Floats = append(b.Floats, model.FloatSample{T: k.at, V: float64(o.number), Ref: ref})
	}
	if err == nil {
		err = p.Append(context.Background(), b)
	}
	if p.dead.Load() {
		err = errSimKilled // nobody heard the answer
	}
	s.endOp(o, err)
	return err
}

// delete deletes a series, or what it has until a time.
func (s *simCluster) delete(p *simProc, name string, until int64, whole bool) error {
	t := model.Tombstone{MaxT: until, Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name)}}
	if whole {
		t.MaxT = math.MaxInt64
	}
	var keys []simKey
	for _, at := range s.times {
		if at <= t.MaxT {
			keys = append(keys, simKey{name, at})
		}
	}
	o := s.beginOp(int(p.id), true, keys)
	err := p.Delete(context.Background(), t)
	if p.dead.Load() {
		err = errSimKilled
	}
	s.endOp(o, err)
	return err
}

// errSimMarked is a read that is not complete.
var errSimMarked = errors.New("the answer is marked")

// readSeries reads one series; nil: completely.
func (s *simCluster) readSeries(p *simProc, name string, level quorum.Level) error {
	r := s.beginRead(int(p.id), "a read of one series", name)
	return s.readSet(p, r, level, func(ctx context.Context) (*Set, error) {
		return p.SelectSeries(ctx, 0, math.MaxInt64, metric(name))
	})
}

// readAll reads everything.
func (s *simCluster) readAll(p *simProc, level quorum.Level) error {
	r := s.beginRead(int(p.id), fmt.Sprintf("a read at level %d", level))
	return s.readSet(p, r, level, func(ctx context.Context) (*Set, error) {
		return p.Select(ctx, 0, math.MaxInt64, all())
	})
}

func (s *simCluster) readSet(p *simProc, r simRead, level quorum.Level, open func(context.Context) (*Set, error)) error {
	ctx, cancel := context.WithTimeout(quorum.WithLevel(context.Background(), level), 30*time.Second)
	defer cancel()
	set, err := open(ctx)
	if err != nil {
		return err
	}
	defer set.Close()
	got := shown{Samples: map[string]map[int64]float64{}}
	for set.Next() {
		var cols model.Columns
		if err := set.At().Read(0, math.MaxInt64, &cols); err != nil {
			return err
		}
		got.add(set.At().Labels(), &cols)
	}
	if set.Err() != nil {
		return set.Err()
	}
	return s.judge(p, r, got.Samples, len(set.Warnings()) == 0 && level != quorum.One, fmt.Sprint(set.Warnings()))
}

// judge checks an answer, unless the node that gave it was dead by then.
func (s *simCluster) judge(p *simProc, r simRead, got map[string]map[int64]float64, complete bool, why string) error {
	if p.dead.Load() {
		return errSimKilled
	}
	s.endRead(r, got, complete)
	if !complete {
		return fmt.Errorf("%w: %s", errSimMarked, why)
	}
	return nil
}

// readCopy checks this node's own copy, when it is proved complete (C7).
func (s *simCluster) readCopy(p *simProc) {
	r := s.beginRead(int(p.id), "its own copy, proved complete,")
	if !p.CopyIsComplete(context.Background()) {
		return
	}
	got := shown{Samples: map[string]map[int64]float64{}}
	if addHeld(p.data.plain(), &got) != nil {
		return // it is damaged
	}
	_ = s.judge(p, r, got.Samples, true, "")
}

// addHeld adds all that a node itself holds.
func addHeld(by Reader, to *shown) error {
	sel, err := by.Select(context.Background(), 0, math.MaxInt64, all())
	if err != nil {
		return err
	}
	defer sel.Close()
	for i := range sel.Len() {
		var cols model.Columns
		if err := sel.Read(i, 0, math.MaxInt64, &cols); err != nil {
			return err
		}
		to.add(sel.Labels(i), &cols)
	}
	return nil
}

// readSpread reads everything by the owners' copies, each list from one (C7).
func (s *simCluster) readSpread(p *simProc) error {
	ctx, cancel := context.WithTimeout(quorum.WithLevel(context.Background(), quorum.Quorum), 30*time.Second)
	defer cancel()
	r := s.beginRead(int(p.id), "a spread read")
	parts, err := Spread(ctx, p.Cluster, p.job())
	if errors.Is(err, ErrNotSpread) {
		return nil // one copy has everything
	}
	if err != nil {
		return err
	}
	got := map[string]map[int64]float64{}
	complete, why := true, ""
	for _, part := range parts {
		for name, samples := range part.Samples {
			if got[name] != nil {
				s.fail("C7: series %s was computed twice through node %d", name, p.id)
			}
			got[name] = samples
		}
		if len(part.Warnings) > 0 {
			complete, why = false, fmt.Sprint(part.Warnings)
		}
	}
	return s.judge(p, r, got, complete, why)
}
