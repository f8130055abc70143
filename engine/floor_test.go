package engine

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// floorModel is what a DB must show: of each (series, timestamp) the highest
// version that no delete hides, and everything settled at the floor's.
type floorModel struct {
	arrivals []arrival
	deletes  []model.Tombstone // of whole series names
	floor    model.Version
	from     int64
}

func (m *floorModel) dump() []string {
	best := map[string]arrival{}
	for _, a := range m.arrivals {
		key := fmt.Sprintf("%s %d", a.name, a.t-testStart)
		if have, ok := best[key]; !ok || a.ver > have.ver || a.ver == have.ver && a.v > have.v {
			best[key] = a
		}
	}
	var out []string
	for key, a := range best {
		if slices.ContainsFunc(m.deletes, func(d model.Tombstone) bool {
			return a.ver < d.Version && a.t >= d.MinT && a.t <= d.MaxT && d.Matches(series(a.name))
		}) {
			continue
		}
		if a.ver <= m.floor && a.t >= m.from {
			a.ver = m.floor
		}
		out = append(out, fmt.Sprintf("%s = %v @ %d", key, a.v, a.ver))
	}
	slices.Sort(out)
	return out
}

// dumpVersions reads everything with versions; what is settled has the floor's.
func dumpVersions(t fataler, db *DB, floor model.Version, from int64) []string {
	t.Helper()
	sel, err := db.Select(context.Background(), -maxTime, maxTime, labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".*"))
	if err != nil {
		t.Fatal(err)
	}
	defer sel.Close()
	sel.WithVersions()
	var out []string
	var cols model.Columns
	for i := range sel.Len() {
		if err := sel.Read(i, -maxTime, maxTime, &cols); err != nil {
			t.Fatal(err)
		}
		for k, at := range cols.T {
			ver := cols.Ver[k]
			if ver <= floor && at >= from {
				ver = floor
			}
			out = append(out, fmt.Sprintf("%s %d = %v @ %d", sel.Labels(i).Get(labels.MetricName), at-testStart, cols.V[k], ver))
		}
	}
	slices.Sort(out)
	return out
}

// TestFloorAgainstAModel: random writes, bulk, deletes, floors, flushes, seals, days
// and restarts, where nothing arrives below a floor: what is read is what the
// versions say, with and without the deletes that were forgotten. What came in bulk
// is there from its Commit on, though floors and deletes came meanwhile.
func TestFloorAgainstAModel(t *testing.T) {
	forgotten := 0
	rapid.Check(t, func(t *rapid.T) {
		fsys, clock := vfs.NewMem(), newTestClock()
		opts := smallLimits(testOptions(clock))
		opts.Versions = true
		db := mustOpenRapid(t, fsys, opts)
		defer func() { _ = db.Close() }()
		ctx := context.Background()
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		bulk, inBulk := db.NewBulk(), []arrival{}
		m := floorModel{from: rapid.SampledFrom([]int64{0, testStart + 5*hourMs}).Draw(t, "from")}
		number := model.Version(1)
		version := func() model.Version {
			number++
			return m.floor + model.Version(rapid.IntRange(1, 500).Draw(t, "version"))*1000 + number%1000
		}
		put := func(a arrival) {
			ref, err := db.Intern(series(a.name))
			must(err)
			_, err = db.Append(ctx, &model.Batch{Version: a.ver, Floats: []model.FloatSample{{T: a.t, V: a.v, Ref: ref}}}, AppendOptions{})
			must(err)
			m.arrivals = append(m.arrivals, a)
		}
		putBulk := func(a arrival) {
			ref, err := db.Intern(series(a.name))
			must(err)
			must(bulk.Append(ctx, &model.Batch{Version: a.ver, Floats: []model.FloatSample{{T: a.t, V: a.v, Ref: ref}}}))
			inBulk = append(inBulk, a)
		}
		for range rapid.IntRange(5, 70).Draw(t, "steps") {
			name := fmt.Sprintf("s%d", rapid.IntRange(0, 3).Draw(t, "series"))
			at := testStart + rapid.Int64Range(0, 50).Draw(t, "time")*hourMs/2
			switch rapid.IntRange(0, 18).Draw(t, "step") {
			default:
				put(arrival{name: name, t: at, v: float64(number), ver: version()})
			case 5:
				must(db.Flush(ctx))
			case 6:
				must(db.Maintain(ctx))
			case 7, 8:
				clock.advance(time.Duration(rapid.IntRange(1, 14).Draw(t, "hours")) * time.Hour)
			case 9:
				d := model.Tombstone{Version: version(), MinT: at, MaxT: at + hourMs*rapid.Int64Range(0, 30).Draw(t, "hours"), Matchers: []*labels.Matcher{
					labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name),
				}}
				must(db.Delete(ctx, d))
				m.deletes = append(m.deletes, d)
			case 10, 11:
				m.floor += model.Version(rapid.IntRange(1, 600_000).Draw(t, "floor"))
				db.SetFloor(m.floor, m.from)
			case 12:
				must(db.Close())
				db = mustOpenRapid(t, fsys, opts)
				db.SetFloor(m.floor, m.from)
				bulk, inBulk = db.NewBulk(), nil
			case 14, 15, 16:
				putBulk(arrival{name: name, t: at, v: float64(number), ver: version()})
			case 17:
				must(bulk.Commit(ctx, nil))
				m.arrivals, inBulk = append(m.arrivals, inBulk...), nil
			case 18:
				must(bulk.Close())
				inBulk = nil
			case 13:
				before := db.Stats().Tombstones
				must(db.CleanTombstones(ctx))
				forgotten += before - db.Stats().Tombstones
			}
			if got, want := dumpVersions(t, db, m.floor, m.from), m.dump(); !slices.Equal(got, want) {
				t.Fatalf("read\n%q, want\n%q (floor %d from %d)", got, want, m.floor, m.from)
			}
		}
	})
	if forgotten == 0 {
		t.Error("no delete was forgotten: nothing is tested")
	}
}

// TestSettledDayHasOneVersion: what is settled when its day is built takes one
// version; deletes that are settled and worked in are forgotten; what a purge
// hides stays hidden and is not told to others.
func TestSettledDayHasOneVersion(t *testing.T) {
	fsys, clock := vfs.NewMem(), newTestClock()
	opts := testOptions(clock)
	opts.Versions = true
	ctx := context.Background()
	sizes := map[bool]int64{}
	for _, settled := range []bool{false, true} {
		db := mustOpen(t, fsys, opts, fmt.Sprint(settled))
		clock.now = time.UnixMilli(testStart)
		for i := range 24 * 60 {
			for k := range 20 {
				ref, err := db.Intern(series(fmt.Sprintf("s%02d", k)))
				if err != nil {
					t.Fatal(err)
				}
				b := &model.Batch{Version: db.Clock().Now(), Floats: []model.FloatSample{{T: clock.now.UnixMilli(), V: float64(i), Ref: ref}}}
				if _, err := db.Append(ctx, b, AppendOptions{Fresh: true}); err != nil {
					t.Fatal(err)
				}
			}
			if clock.advance(time.Minute); i%60 == 59 {
				if err := db.Maintain(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		d := model.Tombstone{MinT: testStart, MaxT: testStart + 5*hourMs, Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "s03")}}
		if err := db.Delete(ctx, d); err != nil {
			t.Fatal(err)
		}
		want := dump(t, db)
		clock.advance(15 * time.Minute)
		if err := db.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if settled {
			db.SetFloor(db.Clock().Now(), 0)
		}
		clock.advance(48 * time.Hour)
		if err := db.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		wantDump(t, db, want...)
		sizes[settled] = db.Stats().FileBytes
		if got := db.Stats().Tombstones; got != map[bool]int{false: 1, true: 0}[settled] {
			t.Errorf("settled %v: %d deletes are kept", settled, got)
		}
		for _, f := range db.views.current.files {
			if constant := f.MinVersion == f.MaxVersion; constant != settled {
				t.Errorf("settled %v: file %s has versions %d to %d", settled, f.Name(), f.MinVersion, f.MaxVersion)
			}
		}
		if err := db.Purge(ctx, db.Clock().Now(), 0); err != nil {
			t.Fatal(err)
		}
		wantDump(t, db)
		if got := db.Tombstones(0, maxTime); len(got) > 1 || settled && len(got) > 0 {
			t.Errorf("others are told of %v", got)
		}
		mustClose(t, db)
		report, err := Check(fsys, fmt.Sprint(settled))
		if err != nil || len(report.Faults) > 0 {
			t.Errorf("%v %v", report.Faults, err)
		}
	}
	t.Logf("a day of 28,800 samples: %d bytes with versions, %d settled", sizes[false], sizes[true])
	if sizes[true] >= sizes[false]*3/4 {
		t.Errorf("%d bytes with versions, %d settled", sizes[false], sizes[true])
	}
}
