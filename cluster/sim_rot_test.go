package cluster

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// Bits that flip on the disk of a node that runs, as engine/lost.go has it: nobody
// knows until they are read. Reads of damaged samples fail, the loss is noted
// durably and told, and only when others' copies are merged back what was damaged is
// given up. Until then readers find an error or everything.

// notAgain says that nothing was stored in the place of a damaged sample.
const notAgain = -1

// rotNow damages some of the samples.
func (l *simLocal) rotNow(rng *rand.Rand) string {
	damaged := 0
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memLocal.mu.Lock()
	defer l.memLocal.mu.Unlock()
	if len(l.damaged) > 0 {
		return ""
	}
	for _, s := range l.byRef {
		if rng.IntN(2) == 0 {
			continue
		}
		for _, t := range s.cols.T {
			if rng.IntN(2) == 0 {
				l.damageLocked(simKey{s.labels.Get(labels.MetricName), t})
				damaged++
			}
		}
	}
	if damaged == 0 {
		return ""
	}
	return fmt.Sprintf("%d samples are damaged", damaged)
}

func (l *simLocal) damageLocked(k simKey) {
	if l.damaged == nil {
		l.damaged = map[simKey]int{}
	}
	l.damaged[k] = notAgain
}

// whole says whether nothing is damaged or lost.
func (l *simLocal) whole() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memLocal.mu.Lock()
	defer l.memLocal.mu.Unlock()
	return len(l.damaged) == 0 && l.losses == 0
}

// rotten says whether anything is damaged.
func (l *simLocal) rotten() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.damaged) > 0
}

// Select implements Local: damaged samples cannot be read.
func (l *simLocal) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error) {
	sel, err := l.memLocal.Select(ctx, mint, maxt, ms...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || len(l.damaged) == 0 {
		return sel, err
	}
	return &rottenSelection{sel, maps.Clone(l.damaged), l.found}, nil
}

type rottenSelection struct {
	Selection
	damaged map[simKey]int
	found   func()
}

// Read implements Selection.
func (s *rottenSelection) Read(i int, mint, maxt int64, dst *model.Columns) error {
	name := s.Labels(i).Get(labels.MetricName)
	for k := range s.damaged {
		if k.name == name && mint <= k.at && k.at <= maxt {
			s.found()
			return wire.Corruptf("samples of %s", name)
		}
	}
	return s.Selection.Read(i, mint, maxt, dst)
}

// overwriteLocked makes room for samples in the place of damaged ones: they are
// stored elsewhere, and stay when what was damaged is given up. It says whether there were
// any. The caller holds mu.
func (l *simLocal) overwriteLocked(b *model.Batch) bool {
	if len(l.damaged) == 0 {
		return false
	}
	var over []simKey
	for _, f := range b.Floats {
		k := simKey{l.memLocal.Labels(f.Ref).Get(labels.MetricName), f.T}
		if entries, is := l.damaged[k]; is && entries == notAgain {
			over = append(over, k)
		}
	}
	if len(over) > 0 {
		number := l.do(func(to *memLocal) { to.drop(over) })
		for _, k := range over {
			l.damaged[k] = number + 1 // the batch comes next
		}
	}
	return len(over) > 0
}

// drop removes samples.
func (l *memLocal) drop(keys []simKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		s := l.series[metric(k.name).String()]
		if s == nil {
			continue
		}
		var left model.Columns
		for i, t := range s.cols.T {
			if t != k.at {
				left.T, left.V, left.Ver = append(left.T, t), append(left.V, s.cols.V[i]), append(left.Ver, s.cols.Ver[i])
			}
		}
		s.cols = left
	}
}

// noteLoss notes durably that what is damaged is lost.
func (l *simLocal) noteLoss() {
	l.mu.Lock()
	first, last := int64(math.MaxInt64), int64(0)
	for k := range l.damaged {
		first, last = min(first, k.at), max(last, k.at)
	}
	some := len(l.damaged) > 0 && l.noted == 0
	l.mu.Unlock()
	if !some {
		return
	}
	l.change(func(to *memLocal) { to.lose(timeRange{first, last}) })
	number, _, _ := l.Lost()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noted = number
}

// lose counts one more loss.
func (l *memLocal) lose(r timeRange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.losses++; l.losses > 1 {
		r = timeRange{min(r.mint, l.lost.mint), max(r.maxt, l.lost.maxt)}
	}
	l.lost = r
}

// mend gives up what was damaged when the loss of that number was noted, but for
// what is here again.
func (l *simLocal) mend(number uint64) {
	l.mu.Lock()
	var gone []simKey
	if l.noted > 0 && l.noted <= number {
		for k, entries := range l.damaged {
			if entries == notAgain {
				gone = append(gone, k)
			}
		}
		l.damaged, l.noted = nil, 0
	}
	l.mu.Unlock()
	if len(gone) > 0 {
		l.change(func(to *memLocal) { to.drop(gone) })
	}
}

// scrub reads everything back.
func (l *simLocal) scrub() {
	sel, err := l.Select(context.Background(), 0, math.MaxInt64, all())
	for i := 0; err == nil && i < sel.Len(); i++ {
		err = sel.Read(i, 0, math.MaxInt64, new(model.Columns))
	}
}

// rotNow damages the disk of a node that runs, when that can be survived.
func (s *simCluster) rotNow() bool {
	return s.onUp(func(s *simCluster, n *simNode) {
		if !s.mayLose(n) {
			return
		}
		if what := n.store.rotNow(s.rng); what != "" {
			n.lossy.Store(true)
			s.note("on the disk of node %d %s", n.id, what)
		}
	})
}

// watchDisk has a process note what is found to be damaged, a moment after that.
func (s *simCluster) watchDisk(store *simLocal, p *simProc) {
	found := make(chan struct{}, 1)
	store.mu.Lock()
	store.found = func() {
		select {
		case found <- struct{}{}:
		default:
		}
	}
	store.mu.Unlock()
	s.wg.Go(func() {
		for {
			select {
			case <-found:
				pause(time.Second)
			case <-p.over:
				return
			}
			if p.dead.Load() {
				return
			}
			store.noteLoss()
			p.NoteLost()
		}
	})
}
