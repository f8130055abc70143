package engine

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// TestAnyFlippedBit: E3. Whichever byte of a data file of any kind is damaged, in its
// header, its index or behind them, the directory opens, and readers find what was
// stored or an error, or the loss is told.
func TestAnyFlippedBit(t *testing.T) {
	for suffix, ahead := range map[string]time.Duration{".wide": 0, ".sealed": 3 * time.Hour, ".day": 48 * time.Hour} {
		whole, clock := vfs.NewMem(), newTestClock()
		db := mustOpen(t, whole, smallLimits(testOptions(clock)))
		put(t, db, series("a"), float64(testStart), 1, float64(testStart+1), 2)
		put(t, db, series("b"), float64(testStart), 3)
		clock.advance(ahead)
		mustFlush(t, db)
		mustClose(t, db)
		size := int64(0)
		damage(t, whole.CrashClone(rand.New(rand.NewPCG(1, 1)), 100), suffix, func(n int64) int64 { size = n; return 0 })
		if size == 0 {
			t.Fatalf("there is no file %s", suffix)
		}
		for at := range size {
			fsys := whole.CrashClone(rand.New(rand.NewPCG(1, 1)), 100)
			damage(t, fsys, suffix, func(int64) int64 { return at })
			db, err := Open(fsys, "data", smallLimits(testOptions(clock)))
			if err != nil {
				t.Errorf("%s of %d bytes, damaged at %d: %v", suffix, size, at, err)
				continue
			}
			found, err := countRight(db)
			if lost := db.Lost(); found < 0 || err == nil && found != 3 && lost.Number == 0 {
				t.Errorf("%s of %d bytes, damaged at %d: %d samples, lost %+v", suffix, size, at, found, lost)
			}
			mustClose(t, db)
		}
	}
}

// countRight counts the samples that TestAnyFlippedBit has stored; -1: there is
// another one.
func countRight(db *DB) (found int, err error) {
	want := map[string]map[int64]float64{"a": {testStart: 1, testStart + 1: 2}, "b": {testStart: 3}}
	sel, err := db.Select(context.Background(), 0, maxTime)
	if err != nil {
		return 0, err
	}
	defer sel.Close()
	for i := range sel.Len() {
		var cols model.Columns
		if readErr := sel.Read(i, 0, maxTime, &cols); readErr != nil {
			err = readErr
			continue
		}
		for j, at := range cols.T {
			if v, ok := want[sel.Labels(i).Get("__name__")][at]; !ok || v != cols.V[j] {
				return -1, err
			}
			found++
		}
	}
	return found, err
}
