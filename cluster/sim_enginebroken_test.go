package cluster

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// FindBrokenOnEngine sees that lives on an engine that breaks a rule of Local fail.
func FindBrokenOnEngine(t *testing.T, engine func(*rand.Rand) *SimEngine) {
	findBroken(t, engineSabotages(), engine)
}

func engineSabotages() []sabotage {
	with := func(more func(*profile)) func(*profile) {
		return func(p *profile) { busy(p); more(p) }
	}
	return []sabotage{
		{name: "a batch is acknowledged before it is durable", events: "kill within, power cut", alter: busy, disk: func(l Local) Local { return hastyDisk{l} }},
		{
			name: "writes are not stamped anew", alter: with(func(p *profile) { p.skew = 3 * time.Minute }), events: "kill",
			disk: func(l Local) Local { return blindDisk{l} },
		},
		{name: "what is committed in bulk is not there", events: "kill, wipe", alter: with(func(p *profile) { p.rf = 2 }), disk: func(l Local) Local { return forgetfulDisk{l} }},
		{name: "more is purged than what is below the floor", events: "isolate, kill, wipe, copy a disk, restore a disk", alter: busy, disk: func(l Local) Local { return greedyDisk{l} }},
		{name: "what is owned is shed", events: "join, leave", alter: with(func(p *profile) { p.rf, p.leastFactor = 2, 2 }), disk: func(l Local) Local { return sheddingDisk{l} }},
		{name: "damage is not told", events: "rot while running, kill", alter: with(func(p *profile) { p.rf = 2 }), disk: func(l Local) Local { return deafDisk{l} }},
		{name: "deletes are not durable", events: "kill, power cut", alter: busy, disk: func(l Local) Local { return &lazyDisk{Local: l} }},
	}
}

// forgetfulDisk drops what comes in bulk.
type forgetfulDisk struct{ Local }

func (d forgetfulDisk) NewBulk() Bulk { return forgetfulBulk{d.Local.NewBulk()} }

type forgetfulBulk struct{ Bulk }

func (b forgetfulBulk) Append(context.Context, *model.Batch) error { return nil }

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

// deafDisk reads nothing of a series where it finds damage.
type deafDisk struct{ Local }

func (d deafDisk) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error) {
	sel, err := d.Local.Select(ctx, mint, maxt, ms...)
	return deafSelection{sel}, err
}

type deafSelection struct{ Selection }

func (s deafSelection) Read(i int, mint, maxt int64, dst *model.Columns) error {
	if s.Selection.Read(i, mint, maxt, dst) != nil {
		dst.Reset()
	}
	return nil
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
