package engine

import (
	"sync"

	"github.com/count-db/count/internal/model"
)

const (
	maxLanes   = 4 // goroutines that apply the log
	laneLength = 4 // batches that wait for one of them
	// laneBits: series whose references differ only in so many low bits go the same
	// way, as they share a part of the buffer.
	laneBits = 8
)

// lanes apply replayed batches to a buffer on several cores: each series goes
// one way, so that its samples keep their order.
type lanes struct {
	all  []lane
	wg   sync.WaitGroup
	mu   sync.Mutex
	late uint64 // guarded by mu
}

// lane is one way. Its batches go round: filled by the reader of the log, which
// waits while all are full, and emptied by the lane.
type lane struct {
	full, free chan *model.Batch
}

// batchAppender is the buffer.
type batchAppender interface {
	appendReplayed(b *model.Batch) (late int)
}

// newLanes starts n goroutines; wait ends them.
func newLanes(n int, to batchAppender) *lanes {
	l := &lanes{all: make([]lane, n)}
	for i := range l.all {
		one := lane{full: make(chan *model.Batch, laneLength), free: make(chan *model.Batch, laneLength)}
		for range laneLength {
			one.free <- new(model.Batch)
		}
		l.all[i] = one
		l.wg.Go(func() {
			late := 0
			for b := range one.full {
				late += to.appendReplayed(b)
				b.Reset()
				one.free <- b
			}
			l.mu.Lock()
			l.late += uint64(late)
			l.mu.Unlock()
		})
	}
	return l
}

// send shares the samples of a batch out among the lanes. It keeps nothing of
// the batch but histograms.
func (l *lanes) send(b *model.Batch) {
	for i := range l.all {
		part := <-l.all[i].free
		part.Version = b.Version
		l.pick(part, b, model.Ref(i))
		if part.Samples() == 0 {
			l.all[i].free <- part
			continue
		}
		l.all[i].full <- part
	}
}

// pick appends to part the samples that go the way of a lane.
func (l *lanes) pick(part, b *model.Batch, way model.Ref) {
	n := model.Ref(len(l.all))
	goes := func(ref model.Ref) bool { return ref>>laneBits%n == way }
	for i := 0; i < len(b.Floats); {
		from := i
		for i < len(b.Floats) && goes(b.Floats[i].Ref) {
			i++
		}
		part.Floats = append(part.Floats, b.Floats[from:i]...)
		if len(b.STs) > 0 {
			part.STs = append(part.STs, b.STs[from:i]...)
		}
		for i < len(b.Floats) && !goes(b.Floats[i].Ref) {
			i++
		}
	}
	for i := range b.Hists {
		if goes(b.Hists[i].Ref) {
			part.Hists = append(part.Hists, b.Hists[i])
		}
	}
}

// wait returns when all is applied: the number of late samples.
func (l *lanes) wait() (late uint64) {
	for i := range l.all {
		close(l.all[i].full)
	}
	l.wg.Wait()
	return l.late
}

// appendReplayed adds a batch that came from the log.
func (b *epochBuffer) appendReplayed(batch *model.Batch) (late int) { return b.Append(batch).Late }
