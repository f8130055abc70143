package engine

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// Deletes that are there already, as refilling and repair bring them again and
// again, cost no write and are kept once.
func TestKnownDeletesAreKeptOnce(t *testing.T) {
	writes := 0
	count := func(op vfs.Op) vfs.Fault {
		if op.Kind == vfs.OpSync {
			writes++
		}
		return vfs.Fault{}
	}
	opts := testOptions(newTestClock())
	opts.Versions = true
	db := mustOpen(t, vfs.NewFault(vfs.NewMem(), count), opts)
	var all []model.Tombstone
	for i := range 50 {
		all = append(all, model.Tombstone{Version: model.Version(100 + i/2), MinT: 0, MaxT: testStart, Matchers: []*labels.Matcher{
			labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, fmt.Sprint("m", i)),
		}})
	}
	writes = 0
	for range 3 {
		if err := db.Delete(context.Background(), all...); err != nil {
			t.Fatal(err)
		}
	}
	if s := db.Stats(); s.Tombstones != 50 || s.Deletes != 50 {
		t.Fatalf("%d tombstones of %d deletes, want 50 of 50", s.Tombstones, s.Deletes)
	}
	if writes != 1 {
		t.Fatalf("50 deletes, three times: %d syncs, want 1", writes)
	}
	mustClose(t, db)
}

// A series is asked about the deletes of its metric and about those of no metric
// in particular, whatever their matchers say.
func TestSpansOf(t *testing.T) {
	match := func(kind labels.MatchType, name, value string) *labels.Matcher {
		return labels.MustNewMatcher(kind, name, value)
	}
	v := &view{}
	for i, ms := range [][]*labels.Matcher{
		{match(labels.MatchEqual, labels.MetricName, "up")},
		{match(labels.MatchEqual, "job", "a"), match(labels.MatchEqual, labels.MetricName, "up")},
		{match(labels.MatchEqual, labels.MetricName, "down")},
		{match(labels.MatchRegexp, labels.MetricName, "u.*")},
		{match(labels.MatchNotEqual, "job", "a")},
		{match(labels.MatchEqual, labels.MetricName, "")},
		{},
	} {
		v.tombs = append(v.tombs, tombstone{Tombstone: model.Tombstone{Version: 9, MaxT: 10, Matchers: ms}, seq: uint64(i)})
	}
	for _, c := range []struct {
		labels labels.Labels
		want   []uint64
	}{
		{labels.FromStrings(labels.MetricName, "up", "job", "a"), []uint64{0, 1, 3, 6}},
		{labels.FromStrings(labels.MetricName, "up", "job", "b"), []uint64{0, 3, 4, 6}},
		{labels.FromStrings("job", "a"), []uint64{5, 6}},
	} {
		var got []uint64
		for _, s := range v.spansOf(nil, c.labels, 5, 20) {
			got = append(got, s.seq)
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: deletes %v, want %v", c.labels, got, c.want)
		}
	}
}
