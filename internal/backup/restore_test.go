package backup

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// snapshotOf is the snapshot of a node with some samples, open.
func snapshotOf(t *testing.T, id uint64, versioned bool, batches []model.Batch, key string, after func(*engine.DB)) opened {
	t.Helper()
	db, err := engine.Open(vfs.NewMem(), "/n", engine.Options{Versions: versioned, NoBackground: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	ls, err := model.ParseSeriesKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := db.Intern(ls)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		b.Floats = slices.Clone(b.Floats)
		for i := range b.Floats {
			b.Floats[i].Ref = ref
		}
		if _, err := db.Append(context.Background(), &b, engine.AppendOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if after != nil {
		after(db)
	}
	return opened{db, &Node{ID: id, Versioned: versioned, Version: 1000}}
}

func floats(v model.Version, pairs ...float64) model.Batch {
	b := model.Batch{Version: v}
	for i := 0; i < len(pairs); i += 2 {
		b.Floats = append(b.Floats, model.FloatSample{T: int64(pairs[i]), V: pairs[i+1]})
	}
	return b
}

// TestMerging: copies are merged by V1 and V3; what is of one node alone stays
// there.
func TestMerging(t *testing.T) {
	const key = `m{a="b"}`
	ctx := context.Background()
	matcher := labels.MustNewMatcher(labels.MatchEqual, "a", "b")
	deletes := func(db *engine.DB) {
		if err := db.Delete(ctx, model.Tombstone{Version: 15, MinT: 30, MaxT: 40, Matchers: []*labels.Matcher{matcher}}); err != nil {
			t.Fatal(err)
		}
	}
	purges := func(db *engine.DB) {
		if err := db.Delete(ctx, model.Tombstone{Version: 50, MinT: math.MinInt64, MaxT: math.MaxInt64}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		nodes []opened
		want  []float64 // timestamp and value
	}{
		"the later version wins": {[]opened{
			snapshotOf(t, 1, true, []model.Batch{floats(10, 1, 1, 2, 2), floats(20, 3, 3)}, key, nil),
			snapshotOf(t, 2, true, []model.Batch{floats(11, 1, 7), floats(9, 2, 8)}, key, nil),
		}, []float64{1, 7, 2, 2, 3, 3}},
		"a delete of another node": {[]opened{
			snapshotOf(t, 1, true, []model.Batch{floats(10, 29, 1, 30, 1, 40, 1, 41, 1), floats(16, 35, 1)}, key, nil),
			snapshotOf(t, 2, true, []model.Batch{floats(10, 30, 1)}, key, deletes),
		}, []float64{29, 1, 35, 1, 41, 1}},
		"a purge of another node": {[]opened{
			snapshotOf(t, 1, true, []model.Batch{floats(10, 1, 1)}, key, nil),
			snapshotOf(t, 2, true, []model.Batch{floats(9, 2, 2), floats(60, 3, 3)}, key, purges),
		}, []float64{1, 1, 3, 3}},
		"a node without versions": {[]opened{
			snapshotOf(t, 1, false, []model.Batch{floats(0, 1, 1, 2, 2)}, key, nil),
		}, []float64{1, 1, 2, 2}},
	} {
		r := &restoring{nodes: c.nodes}
		m, err := r.open(ctx, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		ls, cols, ok, err := m.next()
		if err != nil || !ok || model.SeriesKey(ls) != key || len(cols.Ver) != len(cols.T) {
			t.Fatalf("%s: %v %v %v %+v", name, ls, ok, err, cols)
		}
		var got []float64
		for i, at := range cols.T {
			got = append(got, float64(at), cols.V[i])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if _, _, ok, err := m.next(); ok || err != nil {
			t.Errorf("%s: more series: %v", name, err)
		}
		m.close()
	}
}
