package node

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/backup"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// aloneSight is what a node alone sees.
type aloneSight struct{}

func (aloneSight) RingRecord() *membership.RingRecord { return &membership.RingRecord{Number: 3} }
func (aloneSight) Health() cluster.Health             { return cluster.Health{} }

func openEngine(t *testing.T, fsys vfs.FS) *engine.DB {
	t.Helper()
	db, err := engine.Open(fsys, "/data", engine.Options{NoBackground: true})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func ask(h http.Handler, method, path string, body []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, bytes.NewReader(body)))
	return w
}

func put(t *testing.T, db *engine.DB, ls labels.Labels, at int64, v float64) {
	t.Helper()
	ref, err := db.Intern(ls)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Append(context.Background(), &model.Batch{Floats: []model.FloatSample{{T: at, V: v, Ref: ref}}}, engine.AppendOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestSnapshotsForBackups: a snapshot can be read until it is let go of or
// nobody reads from it; there are only so many; nothing is left of them.
func TestSnapshotsForBackups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		db := openEngine(t, mem)
		put(t, db, labels.FromStrings(labels.MetricName, "a"), 1, 2)
		b, err := newBackups(db, mem, "/data", 7, aloneSight{}, 0, log.NewNopLogger())
		if err != nil {
			t.Fatal(err)
		}
		var snapshots []backup.Snapshot
		for range mostSnapshots {
			w := ask(b, http.MethodPost, "/", nil)
			var s backup.Snapshot
			if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != 200 || s.Node != 7 || len(s.Files) < 3 || s.Version == 0 || s.Before.Ring != 3 || s.After != s.Before {
				t.Fatalf("%d %+v %v", w.Code, s, err)
			}
			snapshots = append(snapshots, s)
		}
		if w := ask(b, http.MethodPost, "/", nil); w.Code != http.StatusTooManyRequests {
			t.Errorf("one more than are held: %d", w.Code)
		}
		for _, f := range snapshots[0].Files {
			w := ask(b, http.MethodGet, "/?"+url.Values{"snapshot": {snapshots[0].ID}, "file": {f.Name}}.Encode(), nil)
			want, err := vfs.ReadFile(mem, filepath.Join("/data", backupDir, snapshots[0].ID, f.Name))
			if got, _ := io.ReadAll(w.Body); err != nil || w.Code != 200 || !bytes.Equal(got, want) || int64(len(got)) != f.Bytes {
				t.Errorf("%s: %d, %d bytes, %v", f.Name, w.Code, len(got), err)
			}
		}
		for _, query := range []string{"", "snapshot=x&file=MANIFEST", "file=../identity&snapshot=" + snapshots[0].ID} {
			if w := ask(b, http.MethodGet, "/?"+query, nil); w.Code != http.StatusNotFound {
				t.Errorf("%s: %d", query, w.Code)
			}
		}
		if w := ask(b, http.MethodDelete, "/?snapshot="+snapshots[0].ID, nil); w.Code != http.StatusNoContent {
			t.Errorf("let go: %d", w.Code)
		}
		if w := ask(b, http.MethodDelete, "/?snapshot="+snapshots[0].ID, nil); w.Code != http.StatusNotFound {
			t.Errorf("let go again: %d", w.Code)
		}
		time.Sleep(snapshotLife + time.Second) // virtual
		synctest.Wait()
		if names, err := mem.List(filepath.Join("/data", backupDir)); err != nil || len(names) > 0 {
			t.Errorf("%v is left: %v", names, err)
		}
		ask(b, http.MethodPost, "/", nil)
		if err := b.close(); err != nil {
			t.Error(err)
		}
		if _, err := mem.List(filepath.Join("/data", backupDir)); err == nil {
			t.Error("a snapshot is left when the node has stopped")
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestRestoreWritesWhatIsAbsent on a node alone; test/cluster has the same of a
// cluster.
func TestRestoreWritesWhatIsAbsent(t *testing.T) {
	mem := vfs.NewMem()
	db := openEngine(t, mem)
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	a, gone := labels.FromStrings(labels.MetricName, "a", "x", "1"), labels.FromStrings(labels.MetricName, "gone")
	put(t, db, a, 1000, 1)
	put(t, db, gone, 1000, 1)
	old := db.Clock().Last()
	if err := db.Delete(context.Background(), model.Tombstone{MinT: 0, MaxT: math.MaxInt64, Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "gone")}}); err != nil {
		t.Fatal(err)
	}
	h := newRestores(db, &localStore{db: db}, &localAppender{db: db}, log.NewNopLogger())
	body := func() []byte {
		e := backup.NewEncoder()
		e.Series(a, &model.Columns{
			T: []int64{1000, 2000}, V: []float64{10, 20}, Ver: []model.Version{old, old}, ST: []int64{0, 1500},
			Hist: []model.HistogramPoint{{T: 3000, H: tsdbutil.GenerateTestHistogram(1), Ver: old}},
		})
		e.Series(gone, &model.Columns{T: []int64{1000}, V: []float64{10}, Ver: []model.Version{old}})
		e.Metadata([]model.Metadata{{Family: "a"}})
		e.Exemplars(a, []model.Exemplar{{T: 1, V: 2, Labels: labels.FromStrings("t", "x")}})
		return bytes.Clone(e.Body())
	}
	check := func(query string, outcome backup.Outcome, want ...float64) {
		t.Helper()
		w := ask(h, http.MethodPost, "/?"+query, body())
		var got backup.Outcome
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got != outcome {
			t.Errorf("%d %s %v, want %+v", w.Code, w.Body, err, outcome)
		}
		sel, err := db.Select(context.Background(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, "a|gone"))
		if err != nil {
			t.Fatal(err)
		}
		defer sel.Close()
		var have []float64
		hists := 0
		for i := range sel.Len() {
			var cols model.Columns
			if err := sel.Read(i, 0, math.MaxInt64, &cols); err != nil {
				t.Fatal(err)
			}
			have = append(have, cols.V...)
			hists += len(cols.Hist)
		}
		if len(have) != len(want) || hists != 1 {
			t.Fatalf("%v and %d histograms, want %v", have, hists, want)
		}
		for i, v := range want {
			if have[i] != v {
				t.Errorf("%v, want %v", have, want)
			}
		}
	}
	check("", backup.Outcome{Written: 2, Kept: 2}, 1, 20)
	check("", backup.Outcome{Kept: 4}, 1, 20)
	check("overwrite=true", backup.Outcome{Written: 4}, 10, 20, 10)
	if w := ask(h, http.MethodPost, "/", []byte("nonsense")); w.Code != http.StatusBadRequest {
		t.Errorf("nonsense: %d", w.Code)
	}
	for range restoresAtOnce {
		h.slots <- struct{}{}
	}
	if w := ask(h, http.MethodPost, "/", body()); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("too many at once: %d", w.Code)
	}
}
