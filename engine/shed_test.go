package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// shedModel is what a DB must hold: everything that arrived and is not shed, the
// highest version of each (series, timestamp).
type shedModel struct {
	arrivals []arrival
}

type arrival struct {
	name string
	t    int64
	v    float64
	ver  model.Version
	gone bool
}

func (m *shedModel) dump() []string {
	best := map[string]map[int64]arrival{}
	for _, a := range m.arrivals {
		if a.gone {
			continue
		}
		if best[a.name] == nil {
			best[a.name] = map[int64]arrival{}
		}
		if have, ok := best[a.name][a.t]; !ok || a.ver > have.ver {
			best[a.name][a.t] = a
		}
	}
	var out []string
	for name, samples := range best {
		var times []int64
		for t := range samples {
			times = append(times, t)
		}
		slices.Sort(times)
		line := name
		for _, t := range times {
			line += fmt.Sprintf(" %d=%v", t-testStart, samples[t].v)
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

func tokenOf(name string) uint64 { return model.SeriesIDOf(series(name)).Token() }

// shed marks what came before the mark as gone.
func (m *shedModel) shed(tokens model.TokenSet, before int) {
	for i := range m.arrivals[:before] {
		a := &m.arrivals[i]
		a.gone = a.gone || tokens.Has(tokenOf(a.name))
	}
}

// TestShedAgainstAModel: random appends of any age and version, flushes, seals,
// days, sheds, restarts and power cuts; what is read is always what arrived and is
// not shed.
func TestShedAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fsys, clock := vfs.NewMem(), newTestClock()
		opts := smallLimits(testOptions(clock))
		opts.Versions = true
		db := mustOpenRapid(t, fsys, opts)
		defer func() {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}()
		var m shedModel
		half := model.NewTokenSet([]model.TokenRange{{From: 1 << 63, To: 0}})
		rest := model.NewTokenSet([]model.TokenRange{{From: 0, To: 1 << 63}})
		number := 0
		put := func() {
			number++
			a := arrival{
				name: fmt.Sprintf("s%d", rapid.IntRange(0, 7).Draw(t, "series")),
				t:    testStart + rapid.Int64Range(0, 50).Draw(t, "time")*hourMs/2, v: float64(number),
				ver: model.VersionAt(testStart*1000) + model.Version(rapid.IntRange(0, 500).Draw(t, "version")*1000+number),
			}
			ref, err := db.Intern(series(a.name))
			if err != nil {
				t.Fatal(err)
			}
			b := &model.Batch{Version: a.ver, Floats: []model.FloatSample{{T: a.t, V: a.v, Ref: ref}}}
			if _, err := db.Append(context.Background(), b, AppendOptions{}); err != nil {
				t.Fatal(err)
			}
			m.arrivals = append(m.arrivals, a)
		}
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		ctx := context.Background()
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 11).Draw(t, "step") {
			default:
				put()
			case 6:
				must(db.Flush(ctx))
			case 7:
				must(db.Maintain(ctx))
			case 8:
				clock.advance(time.Duration(rapid.IntRange(1, 14).Draw(t, "hours")) * time.Hour)
			case 9:
				tokens := half
				if rapid.Bool().Draw(t, "other half") {
					tokens = rest
				}
				mark, err := db.Boundary(ctx)
				must(err)
				before := len(m.arrivals)
				for range rapid.IntRange(0, 3).Draw(t, "meanwhile") {
					put()
				}
				must(db.Shed(ctx, tokens, mark))
				m.shed(tokens, before)
			case 10:
				must(db.Close())
				db = mustOpenRapid(t, fsys, opts)
			case 11:
				// A power cut: what was acknowledged and shed is so afterwards.
				cut := fsys.CrashClone(rand.New(rand.NewPCG(uint64(number), 1)), rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "kept"))
				must(db.Close())
				fsys = cut
				db = mustOpenRapid(t, fsys, opts)
			}
			if got, want := dump(t, db), m.dump(); !slices.Equal(got, want) {
				t.Fatalf("holds\n%q\nwant\n%q", got, want)
			}
		}
		must(db.Maintain(ctx))
		if s := db.Stats(); s.ShedFiles > 0 {
			t.Fatalf("%d files still hold what is shed", s.ShedFiles)
		}
		if got, want := dump(t, db), m.dump(); !slices.Equal(got, want) {
			t.Fatalf("written anew, it holds\n%q\nwant\n%q", got, want)
		}
	})
}

const hourMs = int64(time.Hour / time.Millisecond)

func mustOpenRapid(t *rapid.T, fsys vfs.FS, opts Options) *DB {
	db, err := Open(fsys, "data", opts)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestShedThroughAllForms: what is shed goes from wide files, sealed windows and
// days; the directory is whole and smaller; the same samples with the same
// versions can come again; a snapshot knows of it.
func TestShedThroughAllForms(t *testing.T) {
	fsys, clock := vfs.NewMem(), newTestClock()
	opts := smallLimits(testOptions(clock))
	opts.Versions = true
	db := mustOpen(t, fsys, opts)
	ctx := context.Background()
	write := func(from, to int64) {
		t.Helper()
		for s := range 40 {
			ref, err := db.Intern(series(fmt.Sprintf("s%02d", s)))
			if err != nil {
				t.Fatal(err)
			}
			b := &model.Batch{Version: model.VersionAt(testStart * 1000)}
			for i := from; i < to; i++ {
				b.Floats = append(b.Floats, model.FloatSample{Ref: ref, T: testStart + i*hourMs/60, V: float64(s)})
			}
			if _, err := db.Append(ctx, b, AppendOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0, 24*60)
	clock.advance(25 * time.Hour)
	mustFlush(t, db) // a day
	write(24*60, 29*60)
	clock.advance(3 * time.Hour)
	mustFlush(t, db) // sealed windows, and a wide file of the open one
	write(29*60, 30*60)
	all := dump(t, db)
	tokens := model.NewTokenSet([]model.TokenRange{{From: 1 << 62, To: 1 << 63}, {From: 3 << 62, To: 1}})
	var kept []string
	for _, line := range all {
		if !tokens.Has(tokenOf(line[:3])) {
			kept = append(kept, line)
		}
	}
	if len(kept) < 5 || len(kept) > 35 {
		t.Fatalf("%d of %d are kept: nothing is tested", len(kept), len(all))
	}
	mark, err := db.Boundary(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Shed(ctx, tokens, mark); err != nil {
		t.Fatal(err)
	}
	wantDump(t, db, kept...)
	before := db.Stats()
	if before.ShedFiles == 0 {
		t.Fatal("nothing is to be written anew")
	}
	if err := db.Snapshot(ctx, "copy"); err != nil {
		t.Fatal(err)
	}
	other := mustOpen(t, fsys, opts, "copy")
	wantDump(t, other, kept...)
	mustClose(t, other)
	if err := db.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	wantDump(t, db, kept...)
	after := db.Stats()
	if after.ShedFiles != 0 || after.FileSamples != int64(len(kept))*30*60 || after.FileBytes >= before.FileBytes {
		t.Fatalf("%d files to go, %d samples of %d series, %d bytes of %d", after.ShedFiles, after.FileSamples, len(kept), after.FileBytes, before.FileBytes)
	}
	mustClose(t, db)
	report, err := Check(fsys, "data")
	if err != nil || len(report.Faults) > 0 {
		t.Fatalf("%v %v", report.Faults, err)
	}
	db = mustOpen(t, fsys, opts)
	defer func() { mustClose(t, db) }()
	wantDump(t, db, kept...)
	write(0, 30*60)
	wantDump(t, db, all...)
	mustFlush(t, db)
	wantDump(t, db, all...)
}

// TestShedIsBounded: sheds that wait for their files do not pile up.
func TestShedIsBounded(t *testing.T) {
	db := mustOpen(t, vfs.NewMem(), testOptions(newTestClock()))
	defer mustClose(t, db)
	ctx := context.Background()
	tokens := model.NewTokenSet([]model.TokenRange{{From: 0, To: 5}})
	for range maxSheds {
		if err := db.Shed(ctx, tokens, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Shed(ctx, tokens, 1); !errors.Is(err, ErrShedding) {
		t.Fatal(err)
	}
	if err := db.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.Shed(ctx, tokens, 1); err != nil {
		t.Fatal(err)
	}
}
