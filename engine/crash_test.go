package engine_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

const (
	ledgerWriters = 3
	ledgerSeries  = 20 // of a writer
	ledgerStart   = int64(1_770_000_000_000)
)

// ledger counts what was acknowledged: writer w has written the samples 0 to
// acked[w]-1 of each of its series, at ledgerStart + 250 ms times the number.
type ledger struct {
	acked  [ledgerWriters]atomic.Int64
	issued [ledgerWriters]atomic.Int64
}

func ledgerLabels(writer, series int) labels.Labels {
	return labels.FromStrings("__name__", fmt.Sprint("w", writer), "i", fmt.Sprint(series))
}

// write appends rounds samples to each series of a writer.
func (l *ledger) write(db *engine.DB, writer, rounds int) error {
	var refs []model.Ref
	for s := range ledgerSeries {
		ref, err := db.Intern(ledgerLabels(writer, s))
		if err != nil {
			return err
		}
		refs = append(refs, ref)
	}
	b := &model.Batch{}
	for range rounds {
		n := l.issued[writer].Add(1) - 1
		b.Reset()
		for _, ref := range refs {
			b.Floats = append(b.Floats, model.FloatSample{T: ledgerStart + n*250, V: float64(n), Ref: ref})
		}
		if _, err := db.Append(context.Background(), b, engine.AppendOptions{}); err != nil {
			return err
		}
		l.acked[writer].Add(1)
	}
	return nil
}

func (l *ledger) counts(of *[ledgerWriters]atomic.Int64) (n [ledgerWriters]int64) {
	for w := range n {
		n[w] = of[w].Load()
	}
	return n
}

// verify reads everything: each series holds the samples 0 to n-1, with n
// at least what was acknowledged before and at most what was issued by now.
func (l *ledger) verify(db *engine.DB, acked [ledgerWriters]int64) error {
	sel, err := db.Select(context.Background(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchRegexp, "__name__", "w.*"))
	if err != nil {
		return err
	}
	defer sel.Close()
	found := map[string]int64{}
	var c model.Columns
	for i := range sel.Len() {
		if err := sel.Read(i, 0, math.MaxInt64, &c); err != nil {
			return err
		}
		for j := range c.T {
			if c.T[j] != ledgerStart+int64(j)*250 || c.V[j] != float64(j) {
				return fmt.Errorf("%s: sample %d is %v at %d", sel.Labels(i), j, c.V[j], c.T[j]-ledgerStart)
			}
		}
		found[sel.Labels(i).String()] = int64(len(c.T))
	}
	issued := l.counts(&l.issued)
	for w := range ledgerWriters {
		for s := range ledgerSeries {
			if n := found[ledgerLabels(w, s).String()]; n < acked[w] || n > issued[w] {
				return fmt.Errorf("%s: %d samples, %d acknowledged, %d issued", ledgerLabels(w, s), n, acked[w], issued[w])
			}
		}
	}
	return nil
}

// TestAcknowledgedSurvivesPowerCuts writes from several goroutines, with
// flushes and merges in the background, reads all the while, and cuts the power
// many times: what was acknowledged is there, in full batches, before and
// after.
func TestAcknowledgedSurvivesPowerCuts(t *testing.T) {
	disk := vfs.NewMem()
	opts := engine.Options{BufferSamples: 2000, LogBytes: 1 << 20}
	db, err := engine.Open(disk, "data", opts)
	if err != nil {
		t.Fatal(err)
	}
	var l ledger
	var wg sync.WaitGroup
	for w := range ledgerWriters {
		wg.Go(func() {
			if err := l.write(db, w, 400); err != nil {
				t.Errorf("write: %v", err)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	rng := rand.New(rand.NewPCG(1, 2))
	for cuts, writing := 0, true; writing; cuts++ {
		select {
		case <-done:
			writing = false
		default:
		}
		acked := l.counts(&l.acked)
		if err := l.verify(db, acked); err != nil {
			t.Fatalf("while it runs: %v", err)
		}
		if cuts >= 15 {
			continue
		}
		acked = l.counts(&l.acked)
		clone := disk.CrashClone(rng, []int{0, 50, 100}[cuts%3])
		again, err := engine.Open(clone, "data", opts)
		if err != nil {
			t.Fatalf("after a power cut: %v\n%s", err, clone.Tree())
		}
		if err := l.verify(again, acked); err != nil {
			t.Fatalf("after a power cut: %v\n%s", err, clone.Tree())
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.verify(db, l.counts(&l.acked)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
