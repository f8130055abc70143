package cluster

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/count-db/count/internal/model"
)

// FindBrokenOnEngine sees that lives on an engine that breaks a rule of Local fail, and
// those on one that syncs late.
func FindBrokenOnEngine(t *testing.T, engine, late func(*rand.Rand) *SimEngine) {
	findBroken(t, engineSabotages(), engine)
	findBroken(t, []sabotage{{name: "a batch is acknowledged before it is durable", events: "kill, power cut", alter: busy}}, late)
}

func engineSabotages() []sabotage {
	with := func(more func(*profile)) func(*profile) {
		return func(p *profile) { busy(p); more(p) }
	}
	return []sabotage{
		{
			name: "writes are not stamped anew", alter: with(func(p *profile) { p.skew = 3 * time.Minute }), events: "kill",
			disk: func(l Local) Local { return blindDisk{l} },
		},
		{name: "more is purged than what is below the floor", events: "isolate, kill, wipe, copy a disk, restore a disk", alter: busy, disk: func(l Local) Local { return greedyDisk{l} }},
		{name: "what is owned is shed", events: "join, leave", alter: with(func(p *profile) { p.rf, p.leastFactor = 2, 2 }), disk: func(l Local) Local { return sheddingDisk{l} }},
		{name: "deletes are not durable", events: "kill, power cut", alter: busy, disk: func(l Local) Local { return &lazyDisk{Local: l} }},
	}
}

// greedyDisk purges what was written after the floor, too.
type greedyDisk struct{ Local }

func (d greedyDisk) Purge(ctx context.Context, _ model.Version, from int64) error {
	return d.Local.Purge(ctx, model.VersionAt(time.Now().Add(time.Hour).UnixMicro()), from)
}

// sheddingDisk sheds everything.
type sheddingDisk struct{ Local }

func (d sheddingDisk) Shed(ctx context.Context, _ model.TokenSet, mark uint64) error {
	return d.Local.Shed(ctx, model.NewTokenSet([]model.TokenRange{{From: 0, To: math.MaxUint64}}), mark)
}

// lazyDisk keeps deletes to itself for some seconds.
type lazyDisk struct{ Local }

func (d *lazyDisk) Delete(_ context.Context, ts ...model.Tombstone) error {
	go func() {
		pause(5 * time.Second)
		_ = d.Local.Delete(context.Background(), ts...) // the process may be gone
	}()
	return nil
}
