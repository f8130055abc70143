package node

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"testing"

	"github.com/go-kit/log"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/backup"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// TestRestoreOfForgottenDeletes: a delete is respected as long as the storage has
// it. When it is worked into the files and settled, a restore brings back what was
// deleted, also below the floor: it writes anew.
func TestRestoreOfForgottenDeletes(t *testing.T) {
	for _, versions := range []bool{false, true} {
		t.Run(fmt.Sprintf("versions %v", versions), func(t *testing.T) {
			ctx := context.Background()
			db := openAt(t, vfs.NewMem(), "/data", versions)
			gone := labels.FromStrings(labels.MetricName, "gone")
			old := db.Clock().Now()
			appendTo(t, db, gone, model.Batch{Version: old, Floats: []model.FloatSample{{T: 1000, V: 1}}})
			err := db.Delete(ctx, model.Tombstone{
				Version: db.Clock().Now(), MinT: 0, MaxT: math.MaxInt64,
				Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "gone")},
			})
			if err != nil {
				t.Fatal(err)
			}
			h := newRestores(db, &localStore{db: db}, &localAppender{db: db}, log.NewNopLogger())
			restore := func(want backup.Outcome) {
				t.Helper()
				e := backup.NewEncoder()
				e.Series(gone, &model.Columns{T: []int64{1000}, V: []float64{1}, Ver: []model.Version{old}})
				var got backup.Outcome
				w := ask(h, http.MethodPost, "/", e.Body())
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got != want {
					t.Errorf("%s %v, want %+v", w.Body, err, want)
				}
			}
			restore(backup.Outcome{Kept: 1})
			db.SetFloor(db.Clock().Now(), math.MinInt64)
			if err := db.CleanTombstones(ctx); err != nil {
				t.Fatal(err)
			}
			if left := db.Tombstones(math.MinInt64, math.MaxInt64); len(left) > 0 {
				t.Fatalf("%v is not forgotten", left)
			}
			restore(backup.Outcome{Written: 1})
			restore(backup.Outcome{Kept: 1})
			if got := contents(t, db); got[gone.String()] != "1000 3ff0000000000000 0\n" {
				t.Errorf("%q is there", got)
			}
		})
	}
}

// TestSnapshotOutlivesFiles: what a snapshot holds stays, whatever the storage does
// with its files meanwhile.
func TestSnapshotOutlivesFiles(t *testing.T) {
	ctx, mem := context.Background(), vfs.NewMem()
	db := openAt(t, mem, "/data", false)
	ls := labels.FromStrings(labels.MetricName, "a")
	for i := range 5 {
		appendTo(t, db, ls, model.Batch{Floats: []model.FloatSample{{T: int64(i) * 1000, V: float64(i)}}})
		if err := db.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	want := contents(t, db)
	b, err := newBackups(db, mem, "/data", 1, aloneSight{}, 0, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	var s backup.Snapshot
	if err := json.Unmarshal(ask(b, http.MethodPost, "/", nil).Body.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	everything := labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".*")
	if err := db.Delete(ctx, model.Tombstone{MinT: math.MinInt64, MaxT: math.MaxInt64, Matchers: []*labels.Matcher{everything}}); err != nil {
		t.Fatal(err)
	}
	if err := db.CleanTombstones(ctx); err != nil {
		t.Fatal(err)
	}
	if left := contents(t, db); len(left) > 0 {
		t.Fatalf("%v is not deleted", left)
	}
	for _, f := range s.Files {
		w := ask(b, http.MethodGet, "/?snapshot="+s.ID+"&file="+f.Name, nil)
		if w.Code != 200 || int64(w.Body.Len()) != f.Bytes {
			t.Fatalf("%s: %d with %d bytes, not %d", f.Name, w.Code, w.Body.Len(), f.Bytes)
		}
		if err := mem.MkdirAll("/copy/files"); err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFile(mem, "/copy/"+f.Name, w.Body.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	got := contents(t, openAt(t, mem, "/copy", false))
	for series, text := range want {
		if got[series] != text {
			t.Errorf("%s is %q, not %q", series, got[series], text)
		}
	}
}
